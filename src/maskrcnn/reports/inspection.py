"""One image's way through the network as an HTML page: every stage plotted, and why objects were missed."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from html import escape

import cv2
import numpy as np

from maskrcnn.geometry.boxes import box_iou
from maskrcnn.inference.explanation import Explanation
from maskrcnn.inference.inspection import Boxes, Inspection
from maskrcnn.reports.crops import GREEN, ORANGE, Outline, crop
from maskrcnn.reports.document import Section, document, image_tag, number, paragraph, table, tiles, write_page
from maskrcnn.reports.error_images import legend
from maskrcnn.results.draw import as_rgb, colour_of, draw_truth, resized

_SIDE = 840  # pixels of a stage's image
_MAP_SIDE = 360  # of a level's map of scores
_MOST_MASKS = 24  # detections whose masks are shown
_MOST_EXPLAINED = 24  # missed objects that are shown with all stages
_MOST_SCORES = 40  # proposals whose class scores are listed
_MOST_CLASSES = 12  # columns of that table
_MOST_BOXES = 40  # drawn of a stage
_SURE = 0.5  # RPN score of anchors that are counted as sure


def write_inspection(path: str | os.PathLike[str], inspection: Inspection, *, title: str) -> tuple[Explanation, ...]:
    """Writes the page, whole or not at all.

    Args:
        path: of the HTML file; its folder is made where it is not there.
        inspection: of one image, as `model.inspect` gives it.
        title: the page's heading.

    Returns:
        What became of each object of the ground truth, crowd regions left out; none without ground truth.
    """
    explanations = explain_all(inspection)
    write_page(path, inspection_page(inspection, explanations, title=title))
    return explanations


def explain_all(inspection: Inspection) -> tuple[Explanation, ...]:
    """What became of each object of the ground truth, crowd regions left out; none without ground truth."""
    if inspection.truth is None:
        return ()
    return tuple(inspection.explain(row) for row in np.flatnonzero(~inspection.truth.crowd).tolist())


def inspection_page(inspection: Inspection, explanations: Sequence[Explanation], *, title: str) -> str:
    """The page as HTML; see `write_inspection`."""
    missed = [explanation for explanation in explanations if explanation.lost_at is not None]
    sections = [
        Section("answer", "Answer", _answer(inspection, explanations)),
        Section("missed", "Missed objects", _missed(inspection, missed)),
        Section("input", "Input", _input(inspection)),
        Section("anchors", "Anchors and their scores", _anchors(inspection)),
        Section("proposals", "Proposals before and after NMS", _proposals(inspection)),
        Section("levels", "RoI levels", _levels(inspection)),
        Section("classes", "Class scores", _classes(inspection)),
        Section("refined", "Refined boxes", _refined(inspection)),
        Section("masks", "Masks", _masks(inspection)),
        Section("matching", "Matching with the ground truth", _matching(inspection, explanations)),
    ]
    height, width = inspection.image.shape[:2]
    lead = f"An image of {width} × {height} pixels on its way through {inspection.config.backbone.name}, stage by stage."
    return document(title, [lead, "Boxes and masks are in pixels of the image, whatever size the network saw."], sections)


def _answer(inspection: Inspection, explanations: Sequence[Explanation]) -> str:
    found = inspection.detections
    numbers = [(str(len(inspection.proposals)), "proposals"), (str(len(found)), "detections")]
    if inspection.truth is not None:
        lost = sum(explanation.lost_at is not None for explanation in explanations)
        numbers += [(str(len(explanations)), "objects in the ground truth"), (str(lost), "of them missed")]
    figures = _figure(
        np.asarray(found.plot()), "Detections", f"all {len(found)}, from score {inspection.config.detect.score:g} up"
    )
    if inspection.truth is not None:
        truth = draw_truth(inspection.image, inspection.truth, inspection.config.categories)
        figures += _figure(truth, "Ground truth", f"{len(inspection.truth.labels)} objects")
    return tiles(numbers) + _stages(figures)


def _missed(inspection: Inspection, missed: Sequence[Explanation]) -> str:
    if not missed or inspection.truth is None:
        return ""
    truth, image, found = inspection.truth, as_rgb(inspection.image), inspection.detections
    counts = Counter(str(explanation.lost_at) for explanation in missed)
    reasons = table(["lost at", "objects"], [[name, str(count)] for name, count in counts.most_common()], name="Reasons")
    outlines = [Outline(rle, ORANGE) for rle in reversed(found.rle())]
    figures = ""
    for explanation in missed[:_MOST_EXPLAINED]:
        row = explanation.object
        shown = crop(image, truth.boxes[row].tolist(), [*outlines, Outline(truth.rles[row], GREEN, True)])
        what = f"Object {row}, {explanation.class_name}: lost at {explanation.lost_at}"
        steps = "".join(
            f'<li class="{"passed" if stage.passed else "lost"}"><b>{escape(stage.name)}</b> {escape(stage.text)}</li>'
            for stage in explanation.stages
        )
        figures += (
            f'<figure id="object-{row}">{image_tag(shown, what)}'
            f"<figcaption><b>{escape(what)}</b><ol>{steps}</ol></figcaption></figure>\n"
        )
    text = "Each object is followed to the first stage that lost it; the numbers there say what to change."
    if len(missed) > _MOST_EXPLAINED:
        text += f" {_MOST_EXPLAINED} of {len(missed)} are shown; the table of matches has all."
    keys = legend(("missed object", GREEN), ("detection", ORANGE))
    return paragraph(text) + reasons + keys + f'<div class="crops">{figures}</div>\n'


def _input(inspection: Inspection) -> str:
    placed, image = inspection.frame, inspection.config.image
    rows = [
        ["image", _size(placed.original), "as it is in the file"],
        ["resized", _size(placed.size), f"shorter side {image.short_side}, longer at most {image.long_side}"],
        ["frame", _size(placed.frame), "padded to multiples of 32"],
        ["channels", str(image.channels), f"mean {_few(image.mean)}, standard deviation {_few(image.std)} (0 to 255)"],
    ]
    pixels = as_rgb(np.clip(np.rint(inspection.input), 0, 255).astype(np.uint8))
    caption = "with its padding, before mean and standard deviation are taken off"
    return table(["", "pixels, width × height", ""], rows, name="Sizes") + _stages(
        _figure(pixels, "What the network saw", caption)
    )


def _anchors(inspection: Inspection) -> str:
    trace, rpn = inspection.trace, inspection.config.anchors
    placed = inspection.anchors_as_placed
    sides = np.sqrt(np.prod(placed[:, 2:] - placed[:, :2], axis=1))
    rows, maps = [], ""
    for level in np.unique(trace.anchor_levels).tolist():
        own = trace.anchor_levels == level
        scores = trace.objectness[0, own]
        sure = int((scores >= _SURE).sum())
        rows.append([f"P{level}", str(int(own.sum())), _span(sides[own]), number(float(scores.max())), str(sure)])
        maps += _figure(_score_map(inspection, level), f"P{level}", f"highest score {scores.max():.3f}", side=_MAP_SIDE)
    heads = ["level", "anchors", "side on the image, pixels", "highest score", f"from {_SURE:g} up"]
    text = (
        f"Anchors have the ratios {', '.join(f'{ratio:g}' for ratio in rpn.ratios)} of height to width. The maps show the best "
        "score of the anchors at each place, black for 0 and yellow for 1."
    )
    return (
        paragraph(text)
        + table(heads, rows, name="Anchors")
        + f'<div class="crops">{maps}</div>\n'
        + _stages(_boxes(inspection.anchors, "as they lie, before they are moved"))
        + _level_legend(inspection.anchors)
    )


def _score_map(inspection: Inspection, level: int) -> np.ndarray:
    """(h, w, 3) the image in gray under the best RPN score at each place of a level."""
    trace = inspection.trace
    own = trace.anchor_levels == level
    centres = (trace.anchors[own, :2] + trace.anchors[own, 2:]) / 2
    x, columns = np.unique(np.round(centres[:, 0], 3), return_inverse=True)
    y, rows = np.unique(np.round(centres[:, 1], 3), return_inverse=True)
    scores = np.zeros((len(y), len(x)), np.float32)
    np.maximum.at(scores, (rows.ravel(), columns.ravel()), trace.objectness[0, own])
    frame_height, frame_width = inspection.frame.frame
    scores = cv2.resize(scores, (frame_width, frame_height), interpolation=cv2.INTER_NEAREST)
    left, top, right, bottom = np.rint(trace.regions[0]).astype(int).tolist()
    image = as_rgb(inspection.image)
    image = resized(image, min(1.0, _MAP_SIDE / max(image.shape[:2])))
    size = (image.shape[1], image.shape[0])
    scores = cv2.resize(scores[top:bottom, left:right], size, interpolation=cv2.INTER_NEAREST)
    heat = cv2.applyColorMap(np.rint(scores * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[:, :, ::-1]
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return cv2.addWeighted(grey, 0.35, heat, 0.65, 0)


def _proposals(inspection: Inspection) -> str:
    before, after, config = inspection.before_nms, inspection.proposals, inspection.config.rpn
    text = (
        f"The best {config.top_k} anchors are moved by their deltas and cut to the image: {len(before)} boxes. Of boxes "
        f"with IoU above {config.nms_iou:g} the one with the highest score stays, and of those at most {config.proposals}: "
        f"{len(after)} proposals."
    )
    rows = [[stage.name, str(len(stage)), *(number(value) for value in _quantiles(stage.scores))] for stage in (before, after)]
    figures = _boxes(before, "before NMS") + _boxes(after, "after NMS")
    heads = ["", "boxes", "highest score", "median", "lowest"]
    return paragraph(text) + table(heads, rows, name="Proposals") + _stages(figures) + _level_legend(before)


def _levels(inspection: Inspection) -> str:
    proposals = inspection.proposals
    assert proposals.levels is not None
    sides = np.sqrt(np.prod(proposals.boxes[:, 2:] - proposals.boxes[:, :2], axis=1).clip(0))
    rows, figures = [], ""
    for level in (2, 3, 4, 5):
        own = proposals.levels == level
        rows.append([f"P{level}", str(int(own.sum())), _span(sides[own])])
        if own.any():
            part = Boxes(
                f"pooled from P{level}", proposals.image, proposals.boxes[own], proposals.scores[own], proposals.levels[own]
            )
            figures += _boxes(part, f"{int(own.sum())} proposals", side=_SIDE // 2)
    text = "Each proposal is pooled from the level that fits its size: small ones from fine maps, large ones from coarse ones."
    return (
        paragraph(text)
        + table(["level", "proposals", "side on the image, pixels"], rows, name="RoI levels")
        + f'<div class="crops">{figures}</div>\n'
    )


def _classes(inspection: Inspection) -> str:
    scores, names = inspection.class_scores, inspection.config.class_names
    if not len(scores):
        return ""
    best = np.argsort(-scores[:, 1:].max(axis=1), kind="stable")
    best = best[_evenly(len(best), _MOST_SCORES)]
    columns = np.argsort(-scores[:, 1:].max(axis=0), kind="stable")[:_MOST_CLASSES]
    rows = [
        [f"proposal {row}", number(float(inspection.proposals.scores[row])), number(float(scores[row, 0]))]
        + [number(float(scores[row, 1 + column])) for column in columns]
        for row in best.tolist()
    ]
    heads = ["", "RPN score", "background", *(names[column] for column in columns)]
    text = f"What the box head says of {len(rows)} of {len(scores)} proposals, evenly from the surest to the least sure"
    text += f", in the {len(columns)} of {len(names)} classes with the highest scores." if len(columns) < len(names) else "."
    return paragraph(text) + table(heads, rows, name="Class scores")


def _refined(inspection: Inspection) -> str:
    refined, config, names = inspection.refined, inspection.config.detect, inspection.config.class_names
    sure = refined.scores > config.score
    assert refined.labels is not None
    among = "within each class" if config.nms == "per_class" else "among all classes"
    text = (
        f"{int(sure.sum())} of {len(refined)} refined boxes have a score above {config.score:g} (detect.score). NMS {among} at "
        f"IoU {config.nms_iou:g} and the limit of {config.max_detections} leave {len(inspection.detections)} detections."
    )
    kept = Boxes("refined boxes", refined.image, refined.boxes[sure], refined.scores[sure], labels=refined.labels[sure])
    shown = np.unique(refined.labels[sure])[:_MOST_CLASSES].tolist()
    keys = legend(*((names[label], colour_of(label)) for label in shown)) if shown else ""
    return paragraph(text) + _stages(_boxes(kept, "each proposal as its best class moves it")) + keys


def _masks(inspection: Inspection) -> str:
    found, image = inspection.detections, as_rgb(inspection.image)
    if not len(found):
        return ""
    figures, rles = "", found.rle()
    shown = _evenly(len(found), _MOST_MASKS)
    for row in shown.tolist():
        name = f"{found.names[row]} {found.scores[row]:.2f}"
        small = np.rint(found.small_masks[row].clip(0, 1) * 255).astype(np.uint8)
        small = cv2.resize(small, (_MAP_SIDE // 2, _MAP_SIDE // 2), interpolation=cv2.INTER_NEAREST)
        pasted = crop(image, found.boxes[row].tolist(), [Outline(rles[row], ORANGE, True)], side=_MAP_SIDE // 2)
        sides = image_tag(np.repeat(small[:, :, None], 3, axis=2), f"{name}: probabilities") + image_tag(
            pasted, f"{name}: pasted"
        )
        figures += f"<figure><div>{sides}</div><figcaption><b>{escape(name)}</b></figcaption></figure>\n"
    side = found.small_masks.shape[1]
    text = (
        f"Left: the mask head's {side} × {side} probabilities, black for 0 and white for 1. Right: pasted into the box, "
        "from 0.5 up."
    )
    if len(found) > _MOST_MASKS:
        text += f" {len(shown)} of {len(found)} detections, evenly from the surest to the least sure."
    return paragraph(text) + f'<div class="pairs small">{figures}</div>\n'


def _matching(inspection: Inspection, explanations: Sequence[Explanation]) -> str:
    if not explanations or inspection.truth is None:
        return ""
    anchors, proposals = inspection.matching["anchors"], inspection.matching["proposals"]
    found = box_iou(inspection.detections.boxes, inspection.truth.boxes)
    levels = inspection.trace.anchor_levels
    rows = []
    for explanation in explanations:
        row = explanation.object
        best = int(anchors[:, row].argmax())
        values = [anchors[best, row], proposals[:, row].max(initial=0.0), found[:, row].max(initial=0.0)]
        end = "found" if explanation.lost_at is None else f"lost at {explanation.lost_at}"
        ious = [number(float(value), 2) for value in values]
        rows.append([f"{row}", explanation.class_name, f"{ious[0]} on P{levels[best]}", *ious[1:], end])
    heads = ["object", "class", "best anchor", "best proposal", "best detection", "end"]
    text = "The largest box IoU of each object with anchors, proposals and detections."
    sampled = inspection.sampled
    assert sampled.labels is not None
    positive = sampled.labels >= 0
    objects = Boxes(
        "sampled RoIs", sampled.image, sampled.boxes[positive], sampled.scores[positive], labels=sampled.labels[positive]
    )
    rest = Boxes("sampled background", sampled.image, sampled.boxes[~positive], sampled.scores[~positive])
    figures = _boxes(objects, "that training would count as objects") + _boxes(rest, "that training would count as background")
    training = (
        f"Of this image training would sample {len(sampled)} RoIs, {int(positive.sum())} of them objects and "
        f"{int((~positive).sum())} background."
    )
    return paragraph(text) + table(heads, rows, name="Matches") + paragraph(training) + _stages(figures)


def _boxes(boxes: Boxes, what: str, *, side: int = _SIDE) -> str:
    """A stage's figure, with how many of its boxes are drawn."""
    drawn = f"the best {_MOST_BOXES} of {len(boxes)}" if len(boxes) > _MOST_BOXES else f"all {len(boxes)}"
    return _figure(np.asarray(boxes.plot(most=_MOST_BOXES, side=side)), boxes.name.capitalize(), f"{what}; {drawn}", side=side)


def _figure(image: np.ndarray, name: str, text: str, *, side: int = _SIDE) -> str:
    image = resized(image, min(1.0, side / max(image.shape[:2])))
    shown = image_tag(image, f"{name}: {text}")
    return f"<figure>{shown}<figcaption><b>{escape(name)}</b>: {escape(text)}</figcaption></figure>\n"


def _stages(figures: str) -> str:
    return f'<div class="stages">{figures}</div>\n'


def _level_legend(boxes: Boxes) -> str:
    assert boxes.levels is not None
    return legend(*((f"P{level}", colour_of(int(level))) for level in np.unique(boxes.levels).tolist()))


def _evenly(count: int, most: int) -> np.ndarray:
    """At most so many places of a list, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(most, count)).round().astype(int))


def _span(values: np.ndarray) -> str:
    if not len(values):
        return "–"
    low, high = f"{values.min():.0f}", f"{values.max():.0f}"
    return low if low == high else f"{low} to {high}"


def _quantiles(scores: np.ndarray) -> list[float | None]:
    return [float(value(scores)) for value in (np.max, np.median, np.min)] if len(scores) else [None] * 3


def _size(size: tuple[int, int]) -> str:
    return f"{size[1]} × {size[0]}"


def _few(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)
