"""Slow, obvious twins of `maskrcnn.metrics`' error analysis: one bitmap, one pair, one error at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

THRESHOLDS = [0.5 + 0.05 * k for k in range(10)]


@dataclass
class Thing:
    """An object of the ground truth, or a result with its score."""

    mask: np.ndarray
    label: int
    box: tuple[float, ...] = ()
    crowd: bool = False
    score: float = 0.0
    image: int = 0
    row: int = 0
    edge: np.ndarray | None = None  # its boundary, where one is asked for


@dataclass
class Image:
    objects: list[Thing] = field(default_factory=list)
    results: list[Thing] = field(default_factory=list)


@dataclass
class Matched:
    """What became of one class's results, best score first, and of its objects that count."""

    results: list[Thing]
    right: list[bool]
    counts: list[bool]
    objects: list[Thing]
    found: list[bool]


Overlap = Callable[[Thing, Thing], float]


def mask_iou(result: Thing, thing: Thing) -> float:
    shared = np.logical_and(result.mask, thing.mask).sum()
    union = result.mask.sum() if thing.crowd else np.logical_or(result.mask, thing.mask).sum()
    return float(shared / union) if union else 0.0


def box_iou(one: Thing, other: Thing) -> float:
    left, top = max(one.box[0], other.box[0]), max(one.box[1], other.box[1])
    right, bottom = min(one.box[2], other.box[2]), min(one.box[3], other.box[3])
    shared = max(right - left, 0.0) * max(bottom - top, 0.0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one.box, other.box)]
    union = sum(areas) - shared
    return shared / union if union > 0 else 0.0


def match(
    images: list[Image],
    label: int,
    threshold: float,
    *,
    overlap: Overlap = mask_iou,
    limit: int = 100,
    outside: Callable[[Thing], bool] = lambda thing: False,
) -> Matched:
    """COCO's matching; objects `outside` are treated as crowds that take one result each, results `outside` don't count."""
    outcome: dict[int, tuple[Thing, bool, bool]] = {}
    objects, found = [], []
    for image in images:
        results = sorted((thing for thing in image.results if thing.label == label), key=lambda thing: -thing.score)[:limit]
        truth = [thing for thing in image.objects if thing.label == label]
        ignored = [thing.crowd or outside(thing) for thing in truth]
        order = sorted(range(len(truth)), key=lambda k: ignored[k])
        taken = [False] * len(truth)
        for result in results:
            best, chosen = threshold, None
            for k in order:
                if taken[k] and not truth[k].crowd:
                    continue
                if chosen is not None and not ignored[chosen] and ignored[k]:
                    break
                if overlap(result, truth[k]) >= best:
                    best, chosen = overlap(result, truth[k]), k
            if chosen is None:
                outcome[result.row] = (result, False, not outside(result))
            else:
                taken[chosen] = True
                outcome[result.row] = (result, not ignored[chosen], not ignored[chosen])
        for k, thing in enumerate(truth):
            if not ignored[k]:
                objects.append(thing)
                found.append(taken[k])
    ranked = sorted(outcome.values(), key=lambda item: -item[0].score)
    return Matched([item[0] for item in ranked], [item[1] for item in ranked], [item[2] for item in ranked], objects, found)


def precision_at_recalls(right: list[bool], num_objects: int) -> list[float]:
    """COCO's 101 precisions of results, best first, that all count."""
    points, hits = [], 0
    for number, one in enumerate(right, start=1):
        hits += one
        points.append((hits / num_objects, hits / number))
    grid = np.linspace(0.0, 1.0, 101).tolist()
    return [max((precision for recall, precision in points if recall >= wanted), default=0.0) for wanted in grid]


def ap(matched: Matched) -> float | None:
    if not matched.objects:
        return None
    right = [one for one, counts in zip(matched.right, matched.counts) if counts]
    return float(np.mean(precision_at_recalls(right, len(matched.objects))))


def mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def uninterpolated_ap(right: list[bool], num_objects: int) -> float:
    hits, total = 0, 0.0
    for number, one in enumerate(right, start=1):
        hits += one
        total += hits / number if one else 0.0
    return total / num_objects


def confusion(images: list[Image], num_classes: int) -> list[list[int]]:
    """Greedy over all classes together, at IoU 0.5; crowds are no objects here."""
    matrix = [[0] * (num_classes + 1) for _ in range(num_classes + 1)]
    for image in images:
        free = sorted((thing for thing in image.objects if not thing.crowd), key=lambda thing: thing.label)
        for result in sorted(image.results, key=lambda thing: -thing.score):
            best, chosen = 0.5, None
            for thing in free:
                if mask_iou(result, thing) >= best:
                    best, chosen = mask_iou(result, thing), thing
            matrix[num_classes if chosen is None else chosen.label][result.label] += 1
            free = [thing for thing in free if thing is not chosen]
        for thing in free:
            matrix[thing.label][num_classes] += 1
    return matrix


def boundary(mask: np.ndarray) -> np.ndarray:
    """The pixels of a mask that have one outside of it, or of the image, in the square of the boundary's width around them."""
    height, width = mask.shape
    distance = max(1, round(0.02 * math.hypot(height, width)))
    padded = np.pad(mask, distance)
    edge = np.zeros_like(mask)
    for y in range(height):
        for x in range(width):
            around = padded[y : y + 2 * distance + 1, x : x + 2 * distance + 1]
            edge[y, x] = mask[y, x] and not around.all()
    return edge


def edge_iou(result: Thing, thing: Thing) -> float:
    return mask_iou(replace(result, mask=result.edge), replace(thing, mask=thing.edge))


def boundary_iou(result: Thing, thing: Thing) -> float:
    return min(mask_iou(result, thing), edge_iou(result, thing))


def pairs(images: list[Image], label: int) -> list[tuple[Thing, Thing]]:
    """Each result and the object that it found at mask IoU 0.5, in any order."""
    answer = []
    for image in images:
        free = [thing for thing in image.objects if thing.label == label and not thing.crowd]
        for result in sorted((one for one in image.results if one.label == label), key=lambda one: -one.score):
            best, chosen = 0.5, None
            for thing in free:
                if mask_iou(result, thing) >= best:
                    best, chosen = mask_iou(result, thing), thing
            if chosen is not None:
                answer.append((result, chosen))
                free = [thing for thing in free if thing is not chosen]
    return answer


@dataclass
class Tide:
    counts: dict[str, int]
    lost: dict[str, float]
    base: float


def tide(images: list[Image], num_classes: int) -> Tide:
    """Bolya et al. 2020 with the precedence of their code: localisation, class, duplicate, background, both."""
    counts = dict.fromkeys(("localisation", "class", "duplicate", "background", "class_and_localisation", "missed"), 0)
    kinds: dict[int, str] = {}
    targets: dict[int, Thing] = {}  # of an error in place or class, the object that it meant
    matched = [match(images, label, 0.5) for label in range(num_classes)]
    found = {id(thing) for own in matched for thing, hit in zip(own.objects, own.found) if hit}
    for own in matched:
        for result, right, counted in zip(own.results, own.right, own.counts):
            if not right and counted:
                kinds[result.row], target = _kind(result, images[result.image].objects, found)
                counts[kinds[result.row]] += 1
                if target is not None:
                    targets[result.row] = target
    missed = [
        [thing for thing, hit in zip(own.objects, own.found) if not hit and not any(thing is t for t in targets.values())]
        for own in matched
    ]
    counts["missed"] = sum(map(len, missed))
    base = _mended(matched, {}, kinds, set(), found)
    lost = {}
    for kind in counts:
        numbers = [len(things) if kind == "missed" else 0 for things in missed]
        lost[kind] = _mended(matched, targets, kinds, {kind}, found, numbers) - base
    return Tide(counts, lost, base)


def _kind(result: Thing, truth: list[Thing], found: set[int]) -> tuple[str, Thing | None]:
    same = [(mask_iou(result, thing), thing) for thing in truth if thing.label == result.label]
    other = [(mask_iou(result, thing), thing) for thing in truth if thing.label != result.label and not thing.crowd]
    near_same, near_other = (max(pairs, key=lambda pair: pair[0], default=(0.0, None)) for pairs in (same, other))
    if 0.1 <= near_same[0] <= 0.5:
        return "localisation", near_same[1]
    if near_other[0] >= 0.5:
        return "class", near_other[1]
    if any(iou >= 0.5 and id(thing) in found for iou, thing in same):
        return "duplicate", None
    return ("background" if near_other[0] <= 0.1 else "class_and_localisation"), None


def _mended(
    matched: list[Matched],
    targets: dict[int, Thing],
    kinds: dict[int, str],
    mended: set[str],
    found: set[int],
    fewer: list[int] | None = None,
) -> float:
    """Mean AP once errors of some kinds are mended.

    Of errors in place or class that mean the same object, which nothing found, the one of the highest score becomes a hit of
    the object's class; all others vanish, and so do duplicates and background. Missed objects are no longer asked for.
    """
    everything = [result for own in matched for result, counts in zip(own.results, own.counts) if counts]
    best: dict[int, Thing] = {}
    for result in everything:
        target = targets.get(result.row)
        if target is None or target.crowd or id(target) in found:
            continue
        if id(target) not in best or result.score > best[id(target)].score:
            best[id(target)] = result
    aps = []
    for label, own in enumerate(matched):
        hits = {result.row: right for result, right in zip(own.results, own.right)}
        number = len(own.objects) - (fewer[label] if fewer else 0)
        if not own.objects:
            continue
        ranked: list[bool] = []
        for result in sorted(everything, key=lambda thing: -thing.score):
            if kinds.get(result.row) in mended:
                target = targets.get(result.row)
                if target is not None and best.get(id(target)) is result and target.label == label:
                    ranked.append(True)
            elif result.label == label:
                ranked.append(hits[result.row])
        aps.append(float(np.mean(precision_at_recalls(ranked, number))) if number else 0.0)
    return sum(aps) / len(aps) if aps else 0.0


def counted(matched: Matched) -> list[bool]:
    return [one for one, counts in zip(matched.right, matched.counts) if counts]


def at_score(images: list[Image], label: int, score: float) -> tuple[float | None, float, float]:
    """Precision, recall and F1 of the results of at least a score."""
    fewer = [Image(image.objects, [result for result in image.results if result.score >= score]) for image in images]
    matched = match(fewer, label, 0.5)
    right, number = counted(matched), len(matched.objects)
    precision = sum(right) / len(right) if right else None
    return precision, sum(right) / number, 2 * sum(right) / (len(right) + number)


def calibration(results: list[tuple[float, bool]]) -> tuple[float, float, list[tuple[int, float, float]]]:
    """Expected and largest error, and of each tenth the count, the mean score and the part that is right."""
    bins = []
    for k in range(10):
        own = [(score, right) for score, right in results if min(int(score * 10), 9) == k]
        mean_of = [sum(part) / len(own) if own else 0.0 for part in ([s for s, _ in own], [r for _, r in own])]
        bins.append((len(own), mean_of[0], mean_of[1]))
    gaps = [(count, abs(score - right)) for count, score, right in bins if count]
    total = sum(count for count, _ in gaps)
    return sum(c * gap for c, gap in gaps) / max(total, 1), max((gap for _, gap in gaps), default=0.0), bins
