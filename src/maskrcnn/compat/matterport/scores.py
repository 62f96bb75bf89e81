"""Boxes, overlaps and average precision of one image as matterport/Mask_RCNN counts them, under its names.

Boxes are (N, 4) y1, x1, y2, x2 in pixels, y2 and x2 one past the last; masks (H, W, N).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from maskrcnn.geometry.boxes import box_iou
from maskrcnn.geometry.masks import mask_to_box


def extract_bboxes(mask: np.ndarray) -> np.ndarray:
    """The boxes (N, 4) int32 around masks (H, W, N); zeros where a mask is empty."""
    boxes = np.zeros((mask.shape[-1], 4), np.int32)
    for number in range(mask.shape[-1]):
        own = mask[:, :, number] != 0
        if own.any():
            boxes[number] = mask_to_box(own)[[1, 0, 3, 2]]
    return boxes


def compute_iou(box: np.ndarray, boxes: np.ndarray, box_area: Any = None, boxes_area: Any = None) -> np.ndarray:
    """(N,) overlaps of one box (4,) with boxes (N, 4). The areas follow from the boxes and may be left out."""
    del box_area, boxes_area
    return compute_overlaps(np.asarray(box)[None], boxes)[0]


def compute_overlaps(boxes1: np.ndarray, boxes2: np.ndarray) -> np.ndarray:
    """(N, M) overlaps (IoU) of boxes (N, 4) and (M, 4)."""
    first, second = (np.asarray(boxes, np.float64).reshape(-1, 4) for boxes in (boxes1, boxes2))
    return box_iou(first, second)  # y and x may change places


def compute_overlaps_masks(masks1: np.ndarray, masks2: np.ndarray) -> np.ndarray:
    """(N, M) overlaps (IoU) of masks (H, W, N) and (H, W, M), of which more than 0.5 counts."""
    if 0 in (masks1.shape[-1], masks2.shape[-1]):
        return np.zeros((masks1.shape[-1], masks2.shape[-1]))
    first, second = ((masks > 0.5).reshape(-1, masks.shape[-1]).astype(np.float32) for masks in (masks1, masks2))
    shared = first.T.astype(np.float64) @ second
    union = first.sum(axis=0, dtype=np.float64)[:, None] + second.sum(axis=0, dtype=np.float64) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def non_max_suppression(boxes: np.ndarray, scores: np.ndarray, threshold: float) -> np.ndarray:
    """Indices (int32), best first, of boxes (N, 4) that overlap no better one by more than the threshold."""
    overlaps, kept = compute_overlaps(boxes, boxes), list[int]()
    for row in np.argsort(-np.asarray(scores), kind="stable").tolist():
        if not kept or overlaps[row, kept].max() <= threshold:
            kept.append(row)
    return np.array(kept, np.int32)


def trim_zeros(x: np.ndarray) -> np.ndarray:
    """(N, …) without rows that are all zeros, with which matterport fills up."""
    return x[np.any(x != 0, axis=tuple(range(1, x.ndim)))]


def norm_boxes(boxes: np.ndarray, shape: Any) -> np.ndarray:
    """Boxes in pixels of an image of `shape` (height, width) as parts of it, float32; the last pixel is 1."""
    return ((np.asarray(boxes) - (0, 0, 1, 1)) / _sides(shape)).astype(np.float32)


def denorm_boxes(boxes: np.ndarray, shape: Any) -> np.ndarray:
    """Undoes `norm_boxes`: int32."""
    return np.around(np.asarray(boxes) * _sides(shape) + (0, 0, 1, 1)).astype(np.int32)


def _sides(shape: Any) -> np.ndarray:
    """(4,) what coordinates y1, x1, y2, x2 are parts of."""
    return np.array([shape[0] - 1, shape[1] - 1] * 2, np.float64)


def compute_matches(
    gt_boxes: np.ndarray,
    gt_class_ids: np.ndarray,
    gt_masks: np.ndarray,
    pred_boxes: np.ndarray,
    pred_class_ids: np.ndarray,
    pred_scores: np.ndarray,
    pred_masks: np.ndarray,
    iou_threshold: float = 0.5,
    score_threshold: float = 0.0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which prediction found which object of an image, the best scores first; rows of zeros at the end do not count.

    A prediction goes to the object that its mask overlaps most, of those that are free, have its class and overlap it by at
    least both thresholds (`score_threshold` too is one of overlaps, in matterport as well).

    Returns:
        gt_match (G,) the prediction of each object and pred_match (N,) the object of each prediction, -1 for none, the latter
        in the order of the scores as the overlaps (N, G) are.
    """
    num_true, num_found = len(trim_zeros(np.asarray(gt_boxes))), len(trim_zeros(np.asarray(pred_boxes)))
    order = np.argsort(-np.asarray(pred_scores)[:num_found], kind="stable")
    labels, truth = np.asarray(pred_class_ids)[order], np.asarray(gt_class_ids)
    overlaps = compute_overlaps_masks(pred_masks[..., order], gt_masks[..., :num_true])  # (N, G)
    gt_match, pred_match = np.full(num_true, -1.0), np.full(num_found, -1.0)
    for row in range(num_found):
        for column in np.argsort(-overlaps[row], kind="stable"):
            overlap = overlaps[row, column]
            if overlap < max(iou_threshold, score_threshold):
                break
            if gt_match[column] < 0 and labels[row] == truth[column]:
                gt_match[column], pred_match[row] = row, column
                break
    return gt_match, pred_match, overlaps


def compute_ap(
    gt_boxes: np.ndarray,
    gt_class_ids: np.ndarray,
    gt_masks: np.ndarray,
    pred_boxes: np.ndarray,
    pred_class_ids: np.ndarray,
    pred_scores: np.ndarray,
    pred_masks: np.ndarray,
    iou_threshold: float = 0.5,
) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    """Average precision of one image, over all its classes together. `maskrcnn evaluate` gives COCO's, of a whole data set.

    Args:
        gt_boxes, …, iou_threshold: as for `compute_matches`.

    Returns:
        The area under the precision, made to fall, over the recall; NaN of an image without objects. Then the precisions and
        recalls, from recall 0 to 1, and the overlaps (N, G).
    """
    truth, found = (gt_boxes, gt_class_ids, gt_masks), (pred_boxes, pred_class_ids, pred_scores, pred_masks)
    gt_match, pred_match, overlaps = compute_matches(*truth, *found, iou_threshold)
    correct = np.cumsum(pred_match > -1)
    precisions = np.concatenate([[0.0], correct / np.arange(1, len(correct) + 1), [0.0]])
    recalls = np.concatenate([[0.0], correct / len(gt_match) if len(gt_match) else np.full(len(correct), np.nan), [1.0]])
    precisions = np.maximum.accumulate(precisions[::-1])[::-1]
    area = float(np.sum(np.diff(recalls) * precisions[1:])) if len(gt_match) else float("nan")
    return area, precisions, recalls, overlaps


def compute_ap_range(
    gt_box: np.ndarray,
    gt_class_id: np.ndarray,
    gt_mask: np.ndarray,
    pred_box: np.ndarray,
    pred_class_id: np.ndarray,
    pred_score: np.ndarray,
    pred_mask: np.ndarray,
    iou_thresholds: Sequence[float] | None = None,
    verbose: int = 1,
) -> float:
    """The mean of `compute_ap` over IoU thresholds, 0.5 to 0.95 in steps of 0.05; `verbose` prints each."""
    thresholds = np.arange(0.5, 1.0, 0.05) if iou_thresholds is None else np.asarray(iou_thresholds)
    given = (gt_box, gt_class_id, gt_mask, pred_box, pred_class_id, pred_score, pred_mask)
    scores = [compute_ap(*given, iou_threshold=threshold)[0] for threshold in thresholds]
    if verbose:
        lines = [f"AP @{threshold:.2f}:\t {score:.3f}\n" for threshold, score in zip(thresholds, scores)]
        sys.stdout.write("".join(lines))
        sys.stdout.write(f"AP @{thresholds[0]:.2f}-{thresholds[-1]:.2f}:\t {np.mean(scores):.3f}\n")
    return float(np.mean(scores))


def compute_recall(pred_boxes: np.ndarray, gt_boxes: np.ndarray, iou: float) -> tuple[float, np.ndarray]:
    """The part of the true boxes that are some predicted box's best with at least this overlap, and those predictions."""
    overlaps = compute_overlaps(pred_boxes, gt_boxes)
    if 0 in overlaps.shape:
        return (0.0 if len(gt_boxes) else float("nan")), np.zeros(0, np.int64)
    positive = np.where(overlaps.max(axis=1) >= iou)[0]
    return len(set(overlaps.argmax(axis=1)[positive].tolist())) / len(gt_boxes), positive
