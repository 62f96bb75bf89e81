"""Between what every number of a model lies. A file says what to build: it must not ask for what no machine has.

The bounds are wide: all that was ever published lies well inside, and what lies outside would take the memory or the time of
a machine, or means nothing. Literal fields, names and switches are checked by their annotations.
"""

from __future__ import annotations

import math
from typing import Any

from maskrcnn.config.keypoints import MOST_KEYPOINTS

_FRACTION = (0, 1)
_POSITIVE = (1e-6, 1e6)
_EPSILON = (0, 1)
_CHANNELS = (1, 8192)
_ROWS = (1, 100_000)
_SCALE = (0, math.inf)

# By section and field of `ModelConfig`: the least and the greatest value, of each number where there are several.
BOUNDS: dict[str, dict[str, tuple[float, float]]] = {
    "image": {
        "short_side": (1, 65_536),
        "long_side": (1, 65_536),
        "min_scale": (0, 1000),
        "channels": (1, 4096),
        "mean": (-1e6, 1e6),
        "std": _POSITIVE,
        "stride": (1, 1024),
    },
    "backbone": {
        "groups": (1, 4096),
        "width_per_group": (1, 4096),
        "epsilon": _EPSILON,
        "frozen_stages": (0, 5),
        "stochastic_depth": _FRACTION,
    },
    "fpn": {"channels": _CHANNELS, "epsilon": _EPSILON},
    "anchors": {"sizes": (1e-3, 65_536), "ratios": (1e-3, 1e3)},
    "rpn": {
        "num_convs": (1, 64),
        "channels": (0, 8192),
        "delta_weights": _POSITIVE,
        "max_scale": _SCALE,
        "min_scale": _FRACTION,
        "positive_iou": _FRACTION,
        "negative_iou": _FRACTION,
        "num_sampled": _ROWS,
        "positive_fraction": _FRACTION,
        "train_top_k": _ROWS,
        "train_proposals": _ROWS,
        "top_k": _ROWS,
        "proposals": _ROWS,
        "nms_iou": _FRACTION,
        "min_size": (0, 65_536),
        "box_beta": (0, 1e6),
    },
    "roi_sampler": {
        "num_sampled": _ROWS,
        "positive_fraction": _FRACTION,
        "positive_iou": _FRACTION,
        "crowd_overlap": (0, 2),  # above 1: no crowd is ever looked at
    },
    "roi_align": {
        "sampling_ratio": (0, 16),
        "canonical_size": (1e-3, 65_536),
        "canonical_level": (0, 16),
        "level_epsilon": (0, 1),
        "level_shift": (-16, 16),
    },
    "box_head": {
        "hidden": (1, 65_536),
        "conv_channels": _CHANNELS,
        "pool_size": (2, 64),
        "epsilon": _EPSILON,
        "delta_weights": _POSITIVE,
        "max_scale": _SCALE,
        "min_scale": _FRACTION,
        "box_beta": (0, 1e6),
        "dropout": _FRACTION,
        "class_weights": (0, 1e6),
        "class_counts": (0, 1e12),
        "federated_classes": _ROWS,
        "cosine_temperature": (0, 1e4),
        "focal_gamma": (0, 1e3),
        "label_smoothing": _FRACTION,
    },
    "cascade": {"positive_ious": _FRACTION, "delta_weights": _POSITIVE},
    "mask_head": {
        "mask_size": (2, 1024),
        "num_convs": (0, 64),
        "channels": _CHANNELS,
        "pool_size": (2, 112),
        "epsilon": _EPSILON,
        "truth_size": (2, 2048),
        "cosine_temperature": (0, 1e4),
    },
    "mask_scoring": {"num_convs": (1, 64), "channels": _CHANNELS, "hidden": (1, 65_536)},
    "point_rend": {
        "coarse_size": (2, 112),
        "hidden": (1, 65_536),
        "num_layers": (1, 64),
        "channels": _CHANNELS,
        "num_points": _ROWS,
        "oversampling": (1, 100),
        "importance": _FRACTION,
        "first_size": (2, 128),
        "subdivision_points": _ROWS,
    },
    "keypoint_head": {
        "num_keypoints": (0, MOST_KEYPOINTS),
        "num_convs": (1, 64),
        "channels": _CHANNELS,
        "pool_size": (2, 112),
    },
    "detect": {
        "score": (-1, 1),  # below 0 every score will do
        "min_side": (0, 65_536),
        "nms_iou": _FRACTION,
        "soft_nms_sigma": _POSITIVE,
        "max_detections": _ROWS,
        "candidates": _ROWS,
        "best_scores": _FRACTION,
    },
}
MOST_CLASSES = 100_000
MOST_ANCHORS = 1000  # a place, sizes times ratios


def check(config: Any) -> None:
    """Refuses a `ModelConfig` with a number out of bounds.

    Raises:
        ValueError: naming the field, the bounds and what was received.
    """
    if len(config.categories) > MOST_CLASSES:
        raise ValueError(f"A model has at most {MOST_CLASSES:,} classes; received {len(config.categories):,}.")
    for section, of_fields in BOUNDS.items():
        part = getattr(config, section)
        for name, (low, high) in of_fields.items():
            for value in _numbers(getattr(part, name)):
                if not low <= value <= high:  # NaN is in no bounds
                    raise ValueError(f"{section}.{name} is {low:g} to {high:g}; received {value!r:.100}.")
    if not config.anchors.ratios or not config.anchors.sizes or config.anchors.num_per_place > MOST_ANCHORS:
        raise ValueError(
            f"anchors.sizes and anchors.ratios give 1 to {MOST_ANCHORS} anchors a place; received "
            f"{len(config.anchors.ratios)} ratios for each size."
        )


def _numbers(value: Any) -> list[float]:
    """All numbers of a field, however deep its tuples are."""
    if isinstance(value, (tuple, list)):
        return [number for item in value for number in _numbers(item)]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"A configuration has numbers here; received {value!r:.100}.")
    return [value]
