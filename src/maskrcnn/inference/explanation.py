"""Why an object was missed: the first stage of the network at which it was lost, with the numbers that say so."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from maskrcnn.geometry.boxes import box_iou
from maskrcnn.geometry.rle import mask_iou

if TYPE_CHECKING:
    from maskrcnn.inference.inspection import Inspection

FITS = 0.5  # IoU from which on a box or a mask stands for an object, as COCO's AP50 counts


@dataclass(frozen=True)
class Stage:
    """One stage's answer to where the object went.

    Attributes:
        name: anchors, rpn_score, rpn_nms, class_score, wrong_class, box, detection_nms or mask.
        passed: whether the object is still there after it.
        text: what happened, in one sentence.
        numbers: what the sentence rests on.
    """

    name: str
    passed: bool
    text: str
    numbers: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Explanation:
    """An object's way through the stages, up to the first that lost it."""

    object: int
    class_name: str
    stages: tuple[Stage, ...]

    @property
    def lost_at(self) -> str | None:
        """The name of the stage that lost the object; None where it was found."""
        return next((stage.name for stage in self.stages if not stage.passed), None)

    def __str__(self) -> str:
        end = "found" if self.lost_at is None else f"lost at {self.lost_at}"
        head = f"Object {self.object} ({self.class_name}) was {end}."
        return "\n".join([head, *(f"  {'+' if stage.passed else '-'} {stage.name}: {stage.text}" for stage in self.stages)])


def explain(inspection: Inspection, row: int) -> Explanation:
    """Follows one object of the ground truth through the stages.

    Args:
        inspection: with its ground truth.
        row: which object of the sample.

    Raises:
        ValueError: no ground truth, or no such object.
        IndexError: no such object.
    """
    truth = inspection.objects()
    if not -len(truth.labels) <= row < len(truth.labels):
        raise IndexError(f"The ground truth has objects 0 to {len(truth.labels) - 1}; received {row}.")
    row %= len(truth.labels)
    box, label = truth.boxes[row : row + 1], int(truth.labels[row])
    stages: list[Stage] = []
    for stage in (_anchors, _rpn_score, _rpn_nms, _class, _box, _detection_nms, _mask):
        stages.append(stage(inspection, box, label, truth.rles[row]))
        if not stages[-1].passed:
            break
    return Explanation(row, inspection.config.class_names[label], tuple(stages))


def _anchors(inspection: Inspection, box: np.ndarray, label: int, rle: dict[str, Any]) -> Stage:
    """Training makes the nearest anchor a positive however far it is; below the RPN's negative IoU it fits badly."""
    overlaps = box_iou(inspection.anchors_as_placed, box)[:, 0]
    best = int(overlaps.argmax())
    iou, level = float(overlaps[best]), int(inspection.trace.anchor_levels[best])
    wanted = inspection.config.rpn.negative_iou
    passed = iou >= wanted
    text = f"the nearest anchor, on P{level}, has IoU {iou:.2f}"
    if not passed:
        text += f", below {wanted:g}: no anchor has its size or form. Change anchors.sizes, anchors.ratios or the image's size"
    return Stage("anchors", passed, text, {"iou": iou, "level": level, "wanted": wanted})


def _rpn_score(inspection: Inspection, box: np.ndarray, label: int, rle: dict[str, Any]) -> Stage:
    """Whether a box that fits is among the best of its level."""
    trace = inspection.trace
    overlaps = box_iou(inspection.frame.to_original(trace.anchor_boxes[0]), box)[:, 0]
    fitting = np.flatnonzero(overlaps >= FITS)
    if not len(fitting):
        numbers = {"iou": float(overlaps.max())}
        return Stage("rpn_score", False, f"no anchor is moved onto it; the nearest box has IoU {numbers['iou']:.2f}", numbers)
    best = int(fitting[trace.objectness[0, fitting].argmax()])
    score = float(trace.objectness[0, best])
    rank = int((trace.objectness[0, trace.anchor_levels == trace.anchor_levels[best]] > score).sum()) + 1
    passed = bool((box_iou(inspection.before_nms.boxes, box)[:, 0] >= FITS).any())
    text = f"the best box that fits has score {score:.3f}, rank {rank} of its level"
    if not passed:
        text += f"; the best {inspection.config.rpn.top_k} go on (rpn.top_k)"
    return Stage("rpn_score", passed, text, {"score": score, "rank": rank, "top_k": inspection.config.rpn.top_k})


def _rpn_nms(inspection: Inspection, box: np.ndarray, label: int, rle: dict[str, Any]) -> Stage:
    overlaps = box_iou(inspection.proposals.boxes, box)[:, 0]
    iou = float(overlaps.max(initial=0.0))
    count = int((overlaps >= FITS).sum())
    if count:
        return Stage("rpn_nms", True, f"{count} proposals fit, the best with IoU {iou:.2f}", {"iou": iou, "proposals": count})
    text = f"no proposal fits; the nearest has IoU {iou:.2f}. A better box suppressed it (rpn.nms_iou), or rpn.proposals ended"
    return Stage("rpn_nms", False, text, {"iou": iou, "proposals": 0})


def _class(inspection: Inspection, box: np.ndarray, label: int, rle: dict[str, Any]) -> Stage:
    fitting = np.flatnonzero(box_iou(inspection.proposals.boxes, box)[:, 0] >= FITS)
    scores = inspection.class_scores[fitting]  # (n, K + 1)
    own = float(scores[:, label + 1].max())
    best = int(scores[:, 1:].max(axis=0).argmax())
    other, least = float(scores[:, best + 1].max()), inspection.config.detect.score
    names = inspection.config.class_names
    numbers = {"score": own, "wanted": least, "best_class": names[best], "best_score": other}
    if own > least:
        text = f"its class has score {own:.3f}"
        return Stage("class_score", True, text + (f"; {names[best]} has {other:.3f}" if best != label else ""), numbers)
    if best != label and other > least:
        return Stage("wrong_class", False, f"taken for {names[best]} with {other:.3f}; its class has {own:.3f}", numbers)
    return Stage("class_score", False, f"its class has score {own:.3f}, not above {least:g} (detect.score)", numbers)


def _box(inspection: Inspection, box: np.ndarray, label: int, rle: dict[str, Any]) -> Stage:
    """The boxes as the box head moves them for the object's class."""
    valid = inspection.trace.proposals.valid[0]
    kept = inspection.trace.scores[0][valid][:, label + 1] > inspection.config.detect.score
    moved = inspection.frame.to_original(inspection.trace.refined[0][valid][kept, label])
    iou = float(box_iou(moved, box).max(initial=0.0))
    return Stage("box", iou >= FITS, f"the box head's nearest box has IoU {iou:.2f}", {"iou": iou})


def _detection_nms(inspection: Inspection, box: np.ndarray, label: int, rle: dict[str, Any]) -> Stage:
    own = inspection.detections.labels == label
    iou = float(box_iou(inspection.detections.boxes[own], box).max(initial=0.0))
    if iou >= FITS:
        return Stage("detection_nms", True, f"a detection of its class has box IoU {iou:.2f}", {"iou": iou})
    most = inspection.config.detect.max_detections
    reason = (
        f"the image has as many detections as it may have, {most} (detect.max_detections)"
        if len(inspection.detections) >= most
        else "a box with a higher score suppressed it (detect.nms_iou)"
    )
    text = f"no detection of its class fits, the nearest has box IoU {iou:.2f}: {reason}"
    return Stage("detection_nms", False, text, {"iou": iou})


def _mask(inspection: Inspection, box: np.ndarray, label: int, rle: dict[str, Any]) -> Stage:
    rows = np.flatnonzero(inspection.detections.labels == label)
    overlaps = mask_iou([inspection.detections.rle()[k] for k in rows.tolist()], [rle])[:, 0]
    best = int(rows[overlaps.argmax()])
    iou, score = float(overlaps.max()), float(inspection.detections.scores[best])
    text = f"detection {best} with score {score:.3f} has mask IoU {iou:.2f}"
    return Stage("mask", iou >= FITS, text, {"iou": iou, "score": score})
