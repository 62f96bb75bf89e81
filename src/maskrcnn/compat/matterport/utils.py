"""`mrcnn.utils`: the names that scripts import from there."""

from __future__ import annotations

import os
from pathlib import Path

from maskrcnn.atomic import write_whole
from maskrcnn.compat.matterport.dataset import Dataset
from maskrcnn.compat.matterport.resizing import expand_mask, minimize_mask, resize_image, resize_mask, unmold_mask
from maskrcnn.compat.matterport.scores import (
    compute_ap,
    compute_ap_range,
    compute_iou,
    compute_matches,
    compute_overlaps,
    compute_overlaps_masks,
    compute_recall,
    denorm_boxes,
    extract_bboxes,
    non_max_suppression,
    norm_boxes,
    trim_zeros,
)
from maskrcnn.compat.matterport.successors import successors
from maskrcnn.weights import finding

__all__ = [
    "Dataset",
    "compute_ap",
    "compute_ap_range",
    "compute_iou",
    "compute_matches",
    "compute_overlaps",
    "compute_overlaps_masks",
    "compute_recall",
    "denorm_boxes",
    "download_trained_weights",
    "expand_mask",
    "extract_bboxes",
    "minimize_mask",
    "non_max_suppression",
    "norm_boxes",
    "resize_image",
    "resize_mask",
    "trim_zeros",
    "unmold_mask",
]

__getattr__ = successors(
    "utils",
    {
        "apply_box_deltas": "maskrcnn.ops.boxes.decode does that, on boxes x1 y1 x2 y2.",
        "batch_slice": "the network of this package takes batches of any size.",
        "box_refinement": "maskrcnn.ops.boxes.encode does that, on boxes x1 y1 x2 y2.",
        "box_refinement_graph": "maskrcnn.ops.boxes.encode does that, on boxes x1 y1 x2 y2.",
        "generate_anchors": "maskrcnn.ops.anchors makes anchors.",
        "generate_pyramid_anchors": "maskrcnn.ops.anchors makes anchors.",
        "resize": "cv2.resize or skimage.transform.resize does that.",
    },
)


def download_trained_weights(coco_model_path: str | os.PathLike[str], verbose: int = 1) -> None:
    """Puts matterport's COCO weights where they are wanted, from the package's cache or by a download.

    Raises:
        ConnectionError: they are not in the cache and cannot be downloaded.
    """
    del verbose
    source = finding.resolve("matterport-coco")
    write_whole(Path(coco_model_path), lambda file: file.write(source.read_bytes()))
