"""How much memory a training or a prediction will take, and a word before it begins where there isn't so much.

What a network holds at its peak is a sum of parts that its numbers give: maps of the backbone and the pyramid, rows of the
heads, weights and what the optimizer keeps beside them. Each part's factor was fitted to peaks that were measured
(bench/memory_estimate.py; docs/measurements.md shows both side by side). They hold for TensorFlow on processors: nothing is
checked on other backends, whose peaks were not measured, and on accelerators, whose own memory is what runs out.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator

import keras
import psutil
from keras import ops

from maskrcnn.config.augment import AugmentConfig
from maskrcnn.config.backbones import CONVNEXTS, REGNETS, SWINS, VITDETS
from maskrcnn.config.fields import replace as replace_config
from maskrcnn.config.model import ImageConfig, ModelConfig
from maskrcnn.data.batch import num_rows
from maskrcnn.data.resize import choose_frame, fitted_size
from maskrcnn.resources import SHARE, SWITCH, available, gigabytes, is_checked

_FAMILIES: dict[str, Collection[str]] = {"convnext": CONVNEXTS, "swin": SWINS, "regnet": REGNETS, "vitdet": VITDETS}
# What of these backbones weighs is their many blocks, not their narrow first maps: counted for a training step whose first two
# stages are frozen, and given as channels that a MobileNet would have to have early to hold as much.
_MANY_BLOCKS = {"efficientnet_v2_s": 212, "efficientnet_v2_m": 380}
BASE = 600_000_000  # bytes of a process with a backend and this package, before anything is computed

# The factors of `inference_parts` and `training_parts`.
INFERENCE = {
    "fixed": 59.7,
    "weights": 0.0,
    "backbone mobilenet": 3.1,
    "backbone resnet": 6.1,
    "backbone convnext": 4.0,
    "backbone swin": 5.7,
    "backbone regnet": 7.3,
    "backbone vitdet": 1.8,
    "pyramid": 0.5,
    "boxes": 3.0,
    "masks": 1.98,
}
TRAINING = {
    "fixed": 510.0,
    "weights": 1.0,
    "backbone mobilenet, frozen": 7.0,
    "backbone mobilenet, learning": 9.0,
    "backbone resnet, frozen": 6.0,
    "backbone resnet, learning": 14.0,
    "backbone convnext, frozen": 30.4,
    "backbone convnext, learning": 52.6,
    "backbone swin, frozen": 29.4,
    "backbone swin, learning": 50.9,
    "backbone regnet, frozen": 7.2,
    "backbone regnet, learning": 16.8,
    "backbone vitdet, frozen": 2.3,
    "backbone vitdet, learning": 3.1,
    "pyramid": 4.0,
    "boxes": 2.5,
    "masks": 2.0,
    "matching": 2.0,
}


def inference_bytes(config: ModelConfig, num_weights: int, frame: tuple[int, int], batch_size: int) -> int:
    """What a call of the model takes at its peak, beside the weights that are there already.

    Args:
        config: of the model.
        num_weights: of all its layers.
        frame: (height, width) of the padded images.
        batch_size: images of a call.
    """
    return inference_sum(INFERENCE, inference_parts(config, num_weights, frame, batch_size))


def training_bytes(
    config: ModelConfig,
    num_weights: int,
    frame: tuple[int, int],
    batch_size: int,
    num_objects: int,
    *,
    slots: float = 2.0,
    bytes_a_number: int = 4,
) -> int:
    """What a training step takes at its peak, beside the weights that are there already.

    Args:
        config, frame, batch_size: as in `inference_bytes`.
        num_weights: those that learn.
        num_objects: the most objects of an image.
        slots: numbers that the optimizer keeps for each weight: Adam's two moments, SGD's momentum.
        bytes_a_number: in which layers compute, 4 for float32.
    """
    parts = training_parts(config, num_weights, frame, batch_size, num_objects, slots=slots, bytes_a_number=bytes_a_number)
    return round(sum(TRAINING[name] * part for name, part in parts.items()))


def inference_parts(config: ModelConfig, num_weights: int, frame: tuple[int, int], batch_size: int) -> dict[str, float]:
    """Bytes of what is held in inference, each to be multiplied by a factor."""
    pixels, channels = batch_size * frame[0] * frame[1], config.fpn.channels
    box_rows, mask_rows = batch_size * config.rpn.proposals, batch_size * config.detect.max_detections
    return {
        "fixed": 1e6,
        "weights": 4.0 * num_weights,
        f"backbone {_family(config)}": 4.0 * _backbone_numbers(config, frame, batch_size, for_each_pair=44),
        "pyramid": 4.0 * pixels * channels / 16,  # P2
        "boxes": 4.0 * box_rows * (config.box_head.pool_size**2 * channels + 5 * (config.num_classes + 1)),
        "masks": 4.0 * mask_rows * _mask_places(config) * config.mask_head.channels,
    }


def inference_sum(factors: dict[str, float], parts: dict[str, float]) -> int:
    """What is held together: the backbone's maps are gone when the heads have their rows, beside which the pyramid stays."""
    held = {name: factors[name] * part for name, part in parts.items()}
    backbone = sum(part for name, part in held.items() if name.startswith("backbone"))
    return round(held["fixed"] + held["weights"] + max(backbone, held["pyramid"] + held["boxes"] + held["masks"]))


def training_parts(
    config: ModelConfig,
    num_weights: int,
    frame: tuple[int, int],
    batch_size: int,
    num_objects: int,
    *,
    slots: float,
    bytes_a_number: int,
) -> dict[str, float]:
    """Bytes of what is held in a training step, each to be multiplied by a factor."""
    pixels, channels = batch_size * frame[0] * frame[1], config.fpn.channels
    sampler, rows = config.roi_sampler, batch_size * num_rows(num_objects)
    box_rows = batch_size * sampler.num_sampled * (1 + len(config.cascade.positive_ious))
    mask_rows = batch_size * sampler.num_sampled * sampler.positive_fraction
    if config.cascade.mask_heads:
        mask_rows *= 1 + len(config.cascade.positive_ious)
    num_anchors = frame[0] * frame[1] / 16 * 4 / 3 * config.anchors.num_per_place  # of all levels
    learning = "frozen" if config.backbone.frozen_stages else "learning"
    return {
        "fixed": 1e6,
        "weights": 4.0 * num_weights * (1 + slots),
        f"backbone {_family(config)}, {learning}": bytes_a_number
        * _backbone_numbers(config, frame, batch_size, for_each_pair=190),
        "pyramid": bytes_a_number * pixels * channels / 16,
        "boxes": bytes_a_number * box_rows * config.box_head.pool_size**2 * channels,
        "masks": bytes_a_number * mask_rows * _mask_places(config) * config.mask_head.channels,
        "matching": 4.0 * num_anchors * rows,
    }


def check_inference(config: ModelConfig, num_weights: int, frame: tuple[int, int], batch_size: int) -> None:
    """Whether a call of the model fits in what is free. The arguments are those of `inference_bytes`.

    Raises:
        MemoryError: it does not fit; one line with a setting that would.
    """

    def smaller() -> Iterator[tuple[str, int]]:
        for batch in range(batch_size - 1, 0, -1):
            yield f"batch_size={batch}", inference_bytes(config, num_weights, frame, batch)
        for side, less, small in _smaller_sides(config, frame):
            yield f"batch_size=1 and image.short_side={side}", inference_bytes(less, num_weights, small, 1)
        for share in (2, 4, 8, 16, 32):
            rows = config.detect.max_detections // share
            less = replace_config(config, detect__max_detections=rows)
            yield f"batch_size=1 and detect.max_detections={rows}", inference_bytes(less, num_weights, frame, 1)

    needed = inference_bytes(config, num_weights, frame, batch_size)
    _check("Looking at", needed, num_weights, frame, batch_size, smaller())


def check_training(
    config: ModelConfig,
    num_weights: int,
    frame: tuple[int, int],
    batch_size: int,
    num_objects: int,
    *,
    slots: float = 2.0,
    bytes_a_number: int = 4,
) -> None:
    """Whether a training step fits in what is free. The arguments are those of `training_bytes`.

    Raises:
        MemoryError: it does not fit; one line with a setting that would.
    """

    def needed(config: ModelConfig, frame: tuple[int, int], batch: int) -> int:
        return training_bytes(config, num_weights, frame, batch, num_objects, slots=slots, bytes_a_number=bytes_a_number)

    def smaller() -> Iterator[tuple[str, int]]:
        for batch in range(batch_size - 1, 0, -1):
            yield f"batch_size={batch}", needed(config, frame, batch)
        for side, less, small in _smaller_sides(config, frame):
            yield f"batch_size=1 and image_size={side}", needed(less, small, 1)

    _check("Training on", needed(config, frame, batch_size), num_weights, frame, batch_size, smaller())


def largest_frame(
    sizes: Iterable[tuple[int, int]], image_config: ImageConfig, batch_size: int, augment: AugmentConfig | None = None
) -> tuple[int, int]:
    """The largest frame (height, width) that batches of these images can have.

    Args:
        sizes: (height, width) of the images on disk.
        image_config: of the model.
        batch_size: images of a batch; those of several may be upright and lying.
        augment: how images are cropped and scaled.
    """
    if augment is not None and augment.jitter:
        side = -(-(augment.crop or image_config.short_side) // image_config.stride) * image_config.stride
        return side, side
    if augment is not None and augment.short_sides:
        image_config = replace_config(image_config, short_side=max(augment.short_sides))
    fitted = {fitted_size(*size, image_config)[0] for size in set(sizes)}
    frames = [choose_frame(batch, image_config) for batch in ([fitted] if batch_size > 1 else [[size] for size in fitted])]
    return max(frames, key=lambda frame: frame[0] * frame[1])


def fits(needed: int, num_weights: int) -> bool:
    """Whether what takes so many bytes, see `training_bytes`, is expected to fit in what is free; True where nobody knows."""
    return not is_checked() or not _is_known() or needed - _kept(num_weights) <= SHARE * available()


def _kept(num_weights: int) -> float:
    """What earlier calls took stays with the process, and the next ones take it from there."""
    return max(psutil.Process().memory_info().rss - BASE - 4 * num_weights, 0)


def _check(
    what: str, needed: int, num_weights: int, frame: tuple[int, int], batch_size: int, smaller: Iterator[tuple[str, int]]
) -> None:
    if fits(needed, num_weights):
        return
    kept, free = _kept(num_weights), available()
    smaller_one = next((setting for setting, less in smaller if less - kept <= SHARE * free), None)
    images = "an image" if batch_size == 1 else f"{batch_size} images"
    raise MemoryError(
        f"{what} {images} in a frame of {frame[0]}×{frame[1]} takes about {gigabytes(needed - kept)} more memory, and "
        f"{gigabytes(free)} are free; {f'{smaller_one} would fit' if smaller_one else 'no smaller setting would fit'}. "
        f"{SWITCH}=off tries all the same."
    )


def _smaller_sides(config: ModelConfig, frame: tuple[int, int]) -> Iterator[tuple[int, ModelConfig, tuple[int, int]]]:
    """Shorter short sides, with the configuration and the frame that belong to them."""
    image = config.image
    for side in range((image.short_side - 1) // image.stride * image.stride, 63, -image.stride):
        long = round(side * image.long_side / image.short_side)
        height, width = (math.ceil(each * side / image.short_side / image.stride) * image.stride for each in frame)
        yield side, replace_config(config, image__short_side=side, image__long_side=long), (height, width)


def _is_known() -> bool:
    """Whether the factors hold here: they were measured on TensorFlow, on processors."""
    return keras.backend.backend() == "tensorflow" and "cpu" in str(ops.zeros(()).device).lower()


def _family(config: ModelConfig) -> str:
    """Whose factors count. A model that was handed in as a backbone counts as a ResNet."""
    name = config.backbone.name
    if name.startswith(("mobilenet", "efficientnet")):
        return "mobilenet"
    return next((family for family, names in _FAMILIES.items() if name in names), "resnet")


def _backbone_numbers(config: ModelConfig, frame: tuple[int, int], batch_size: int, *, for_each_pair: float) -> float:
    """Of what is largest in the backbone: its first maps, or of a plain transformer how its patches attend to each other.

    Args:
        config, frame, batch_size: as in `inference_bytes`.
        for_each_pair: of a plain transformer, numbers of a patch and channel that are held for each one of a pair of patches
            and head; fitted to what was measured of two frames.
    """
    pixels = frame[0] * frame[1]
    if config.backbone.name in VITDETS:
        numbers = VITDETS[config.backbone.name]
        patches = pixels / numbers.patch**2
        return batch_size * (numbers.heads * patches**2 + for_each_pair * patches * numbers.channels)
    return batch_size * pixels * _stem_channels(config) / 4


def _mask_places(config: ModelConfig) -> int:
    """How many places of a mask are computed together; of PointRend, whose factor was not measured, a step's points."""
    head = config.mask_head
    return {"point_rend": config.point_rend.subdivision_points, "none": 0}.get(head.kind, head.mask_size**2)


def _stem_channels(config: ModelConfig) -> int:
    """Of the backbone's widest early maps, at half the image's side; a fourth of those at a fourth of it."""
    name = config.backbone.name
    if name in CONVNEXTS:
        return CONVNEXTS[name].channels[0] * CONVNEXTS[name].expansion // 4
    if name in SWINS:
        return SWINS[name].channels * SWINS[name].expansion // 4
    if name in _MANY_BLOCKS:
        return _MANY_BLOCKS[name]
    if name in REGNETS:
        return REGNETS[name].channels[0]  # its first convolution of 1×1 comes before the stride
    return 96 if _family(config) == "mobilenet" else 64
