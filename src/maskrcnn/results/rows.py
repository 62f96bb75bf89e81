"""Detections as rows of COCO results and as label maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from maskrcnn.config.model import Category
from maskrcnn.geometry.rle import rle_to_json
from maskrcnn.structures import Detections


def label_map(detections: Detections) -> np.ndarray:
    """All masks in one image: 0 = background, k = the k-th detection. Where masks overlap, the higher score wins.

    Returns:
        (H, W) uint16, original pixels.

    Raises:
        ValueError: for more than 65535 detections, which 16 bits cannot tell apart.
    """
    if len(detections) > 65535:
        raise ValueError(
            f"A label map holds up to 65535 objects; received {len(detections)} detections. Ask for a higher score."
        )
    labels = np.zeros(detections.size, np.uint16)
    order = np.argsort(-detections.scores, kind="stable")
    for k, (mask, (left, top)) in zip(order.tolist(), detections[order].cutouts()):  # the best first, one in memory at a time
        region = labels[top : top + mask.shape[0], left : left + mask.shape[1]]
        region[mask & (region == 0)] = k + 1
    return labels


def coco_results(
    detections: Detections, *, image_id: int, file_name: str, categories: Sequence[Category]
) -> list[dict[str, Any]]:
    """The detections as rows of a COCO result file.

    Args:
        detections: what was found in one image.
        image_id: the image's id.
        file_name: the image's file.
        categories: what the detections' labels mean.

    Returns:
        For each detection `file_name`, `image_id`, `category_id`, `category_name`, `bbox` (x, y, width, height), `score` and
        `segmentation` (RLE with `counts` as str), in original pixels; `keypoints` (x, y, score of each) where the model finds
        some. Numbers are not rounded, so that the rows score the same
        as the detections.
    """
    rows = []
    for number, (box, score, label, rle) in enumerate(
        zip(detections.boxes, detections.scores, detections.labels, detections.rle())
    ):
        left, top, right, bottom = box.tolist()
        rows.append(
            {
                "file_name": file_name,
                "image_id": image_id,
                "category_id": categories[label].id,
                "category_name": categories[label].name,
                "bbox": [left, top, right - left, bottom - top],
                "score": float(score),
                "segmentation": rle_to_json(rle),
                **detections.keypoint_row(number),
            }
        )
    return rows
