"""Several answers about one image become one: weighted boxes fusion (Solovyev et al. 2021), with masks.

The answers are those of several models, or of one model that saw the image flipped and at other scales.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from maskrcnn.config.keypoints import mirror_of
from maskrcnn.geometry.boxes import box_iou, flip_boxes
from maskrcnn.geometry.keypoints import flip_keypoints
from maskrcnn.inference.detections import Detections

IOU = 0.55  # Solovyev et al. 2021, section 3


def fuse(answers: Sequence[Detections], *, iou: float = IOU, most: int | None = None) -> Detections:
    """One answer from several about the same image.

    Detections of one class whose boxes overlap are one object: its box is their mean, weighted by score, its mask the mean of
    their probabilities, weighted by score too, and its score the mean over all answers, where one that does not see the object
    counts 0. An answer gives each object one detection at most, so objects that touch stay apart.

    Args:
        answers: at least one; of one image, with the same names of classes, and with small masks.
        iou: the least overlap of a detection's box with what was fused so far.
        most: as many objects at most, the best; None keeps all.

    Returns:
        The fused detections, best first. Of one answer alone they are that answer.

    Raises:
        ValueError: no answers, or answers about images of several sizes.
    """
    if not answers or len({tuple(answer.size) for answer in answers}) != 1:
        sizes = ", ".join(f"{height} × {width}" for height, width in (answer.size for answer in answers)) or "none"
        raise ValueError(f"Answers about one image are fused; received answers about images of {sizes}.")
    first = answers[0]
    if len(answers) == 1:
        return first if most is None else first[np.arange(min(most, len(first)))]
    boxes, scores, labels = (
        np.concatenate([getattr(answer, name) for answer in answers]) for name in ("boxes", "scores", "labels")
    )
    origin = np.repeat(np.arange(len(answers)), [len(answer) for answer in answers])
    masks = [mask for answer in answers for mask in answer.small_masks]
    groups = _groups(boxes.astype(np.float64), scores.astype(np.float64), labels, origin, iou)
    fused_scores = np.array([scores[group].sum() / len(answers) for group in groups])
    order = np.argsort(-fused_scores, kind="stable")[:most]
    side = first.small_masks.shape[-1] or 28
    fused_boxes, fused_masks = np.zeros((len(order), 4)), np.zeros((len(order), side, side), np.float32)
    for row, number in enumerate(order):
        group = groups[number]
        weights = scores[group].astype(np.float64) / scores[group].sum()
        fused_boxes[row] = weights @ boxes[group]
        for weight, member in zip(weights, group, strict=True):
            fused_masks[row] += weight * mask_in_box(masks[member], boxes[member], fused_boxes[row], side)
    return replace(
        first,
        boxes=fused_boxes.astype(np.float32),
        scores=fused_scores[order].astype(np.float32),
        labels=np.array([labels[groups[number][0]] for number in order], np.int32),
        small_masks=fused_masks,
        keypoints=_surest_keypoints(answers, [groups[number] for number in order]),
    )


def mask_in_box(mask: np.ndarray, box: np.ndarray, other: np.ndarray, side: int) -> np.ndarray:
    """What a mask of one box says on the grid of another box, read bilinearly.

    Args:
        mask: (M, M) probabilities, stretched over `box`.
        box, other: (4,) xyxy, in the same frame.
        side: of the answer's grid.

    Returns:
        (side, side) float32 probabilities over `other`, 0 beyond `box`.
    """
    x1, y1, x2, y2 = box.astype(np.float64)
    rows = _readings(mask.shape[0], (y1, y2), (other[1], other[3]), side)
    columns = _readings(mask.shape[1], (x1, x2), (other[0], other[2]), side)
    return (rows @ mask @ columns.T).astype(np.float32)


def flipped(detections: Detections, axis: int) -> Detections:
    """The detections of an image in the image mirrored.

    Args:
        detections: with small masks.
        axis: 0 turns the image upside down, 1 swaps left and right.
    """
    boxes = flip_boxes(detections.boxes, detections.size[axis], axis)
    image = None if detections.image is None else np.flip(detections.image, axis)
    keypoints = detections.keypoints
    if keypoints is not None:
        keypoints = flip_keypoints(keypoints, detections.size[axis], mirror_of(detections.keypoint_names), axis)
    return replace(
        detections, boxes=boxes, small_masks=np.flip(detections.small_masks, axis + 1), image=image, keypoints=keypoints
    )


def _surest_keypoints(answers: Sequence[Detections], groups: Sequence[np.ndarray]) -> np.ndarray | None:
    """(N, K, 3), each keypoint of each group of rows as the answer has it that is surest of it; None where there are none."""
    given = [answer.keypoints for answer in answers]
    if any(keypoints is None or keypoints.shape[1:] != given[0].shape[1:] for keypoints in given):  # type: ignore[union-attr]
        return None
    rows: np.ndarray = np.concatenate(given)  # type: ignore[arg-type]
    fused = np.zeros((len(groups), *rows.shape[1:]), np.float32)
    for number, group in enumerate(groups):
        best = rows[group, :, 2].argmax(axis=0)  # (K,)
        fused[number] = rows[group][best, np.arange(rows.shape[1])]
    return fused


def _groups(boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, origin: np.ndarray, iou: float) -> list[np.ndarray]:
    """Rows that are one object, (n,) each: each detection, best first, joins the object it overlaps most, or begins one."""
    members: list[list[int]] = []
    fused, weighted = np.zeros((len(boxes), 4)), np.zeros((len(boxes), 4))  # (N, 4) mean boxes; sums of score × box
    weight, label = np.zeros(len(boxes)), np.full(len(boxes), -1)
    taken = np.zeros((len(boxes), int(origin.max(initial=0)) + 1), bool)  # (N, answers): which have a member in it
    for row in np.argsort(-scores, kind="stable"):
        count = len(members)
        overlaps = box_iou(boxes[row : row + 1], fused[:count])[0]
        overlaps[(label[:count] != labels[row]) | taken[:count, origin[row]]] = 0.0
        best = int(overlaps.argmax()) if count else 0
        if not count or overlaps[best] <= iou:
            best = count
            members.append([])
        members[best].append(int(row))
        weighted[best] += scores[row] * boxes[row]
        weight[best] += scores[row]
        fused[best] = weighted[best] / weight[best] if weight[best] else boxes[row]
        label[best], taken[best, origin[row]] = labels[row], True
    return [np.array(group) for group in members]


def _readings(cells: int, span: tuple[float, float], other: tuple[float, float], side: int) -> np.ndarray:
    """(side, cells): what each cell of one span counts at the centers of the cells of another."""
    centres = other[0] + (np.arange(side) + 0.5) / side * (other[1] - other[0])
    places = (centres - span[0]) / max(span[1] - span[0], 1e-6) * cells  # 0 to `cells` inside the span
    inside = (places >= 0) & (places <= cells)
    nearest = np.clip(places - 0.5, 0, cells - 1)  # the outer half cells hold the outer value
    return np.maximum(1 - np.abs(nearest[:, None] - np.arange(cells)), 0) * inside[:, None]
