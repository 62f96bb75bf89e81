"""What to set for a data set, by rules that a person can check."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from maskrcnn.config import fields
from maskrcnn.config.model import AnchorConfig, ImageConfig, ModelConfig
from maskrcnn.data.dataset import Dataset
from maskrcnn.data.imbalance import class_weights, count_images, count_objects, repeat_factors
from maskrcnn.doctor.object_sizes import ObjectSizes, cover, measure_objects

LEAST_SIDE = 16.0  # pixels of the frame: four places of P2, where the smallest objects are found
LARGEST_SHORT_SIDE = 1024  # time and memory grow with the square
SHAPE = 5 / 3  # long to short side, as `train` takes them from one image size
ENOUGH_ENLARGED, MOST_ENLARGED = 2.0, 4.0  # beyond, a larger image shows nothing more: of large objects, and of any
WORTH_RESIZING = 1.2  # times as large or as small: less changes little

SMALLEST_ANCHORS = (8, 12, 16, 24, 32, 48, 64)  # pixels, at P2; each level doubles it, as its stride does (FPN, section 4.1)
MIDDLE_RATIOS = (1 / 3, 0.5, 2 / 3, 1.0, 1.5, 2.0, 3.0)
RATIO_STEPS = (1.5, 2.0, 3.0)
WORTH_IOU = 0.05  # on average: less is no reason to leave the anchors that others have tried
COVERED = 0.95  # of the objects with an anchor of IoU 0.5 or more: enough, the RPN moves it the rest of the way
MOST_SIDES = 2000  # objects that anchors are tried on

PROPOSALS_AN_OBJECT = 3  # the RPN must find most objects of the fullest image, and it repeats itself
MOST_PROPOSALS = 2000  # Detectron's FPN settings
MOST_DETECTIONS = 1000
UNEVEN = 10.0  # times as many objects of the commonest class as of the rarest


@dataclass(frozen=True)
class Suggestion:
    """Something to set, and why.

    Attributes:
        changes: fields for `config.replace`; none where it is about the training, not the model.
        arguments: the same for the command line, ready to paste behind `maskrcnn train …`.
        reason: in a few words.
    """

    changes: dict[str, Any]
    arguments: str
    reason: str


def suggest(dataset: Dataset, model_config: ModelConfig) -> tuple[Suggestion, ...]:
    """What to set otherwise than `model_config` has it, to train on this data; nothing where it fits, or there is no object."""
    if not len(measure_objects(dataset).sides):
        return ()
    found = list(suggest_model(dataset, model_config))
    found += [suggestion for suggestion in (_class_weights(dataset), _repeats(dataset)) if suggestion is not None]
    return tuple(found)


def suggest_model(dataset: Dataset, model_config: ModelConfig, *, fixed: Collection[str] = ()) -> tuple[Suggestion, ...]:
    """The part of `suggest` that is about the model: image size, anchors, numbers of detections and of proposals.

    Each suggestion counts on those before it: anchors, for one, are chosen for the suggested image size.

    Args:
        fixed: fields of `ModelConfig`, `section__field`, that stay as they are. One of the image's or of the anchors' stands
            for all of them, which go together.
    """
    objects, found = measure_objects(dataset), []
    together = {name.partition("__")[0] for name in fixed}.intersection(("image", "anchors"))
    for rule in (_image_size, _long_side, _anchors, _detections, _proposals) if len(objects.sides) else ():
        suggestion = rule(objects, model_config)
        if suggestion is None or any(name in fixed or name.partition("__")[0] in together for name in suggestion.changes):
            continue
        found.append(suggestion)
        model_config = fields.replace(model_config, **suggestion.changes)
    return tuple(found)


def _image_size(objects: ObjectSizes, config: ModelConfig) -> Suggestion | None:
    """Small objects large enough to be found; small images not enlarged for nothing."""
    image = config.image
    images = float(np.median([min(size) for size in objects.image_sizes]))
    now = _tenth_side(objects, image)
    least = image.short_side + 1 if now < LEAST_SIDE else ENOUGH_ENLARGED * images
    most = min(LARGEST_SHORT_SIDE, MOST_ENLARGED * images) if now < LEAST_SIDE else image.short_side / WORTH_RESIZING
    sides = range(_up(least, image.stride), int(most) + 1, image.stride)
    if not sides:
        return None
    side = next((side for side in sides if _tenth_side(objects, _of_side(image, side)) >= LEAST_SIDE), sides[-1])
    then = _tenth_side(objects, _of_side(image, side))
    if now < LEAST_SIDE and then < WORTH_RESIZING * now:
        return None
    if now < LEAST_SIDE:
        more = "" if then >= LEAST_SIDE else f", still under {LEAST_SIDE:g}: tiles of the images would show more"
        reason = f"a tenth of the objects is smaller than {now:.0f} pixels; that becomes {then:.0f}{more}"
    else:
        reason = f"images of {images:.0f} pixels are enlarged {image.short_side / images:.1f} times"
    changes = {"image__short_side": side, "image__long_side": round(side * SHAPE)}
    return Suggestion(changes, f"--image-size {side}", f"{reason} (time × {(side / image.short_side) ** 2:.1f})")


def _tenth_side(objects: ObjectSizes, image: ImageConfig) -> float:
    """Square root of the area that a tenth of the objects stays below, pixels of the frame."""
    return float(np.sqrt(np.percentile(objects.in_frame(image).prod(axis=1), 10)))


def _of_side(image: ImageConfig, side: int) -> ImageConfig:
    return fields.replace(image, short_side=side, long_side=round(side * SHAPE))


def _long_side(objects: ObjectSizes, config: ModelConfig) -> Suggestion | None:
    """Long images not shrunk far below the short side that was asked for."""
    image = config.image
    shapes = np.array([max(size) / min(size) for size in objects.image_sizes])
    shrunk = float((shapes > 1.05 * image.long_side / image.short_side).mean())
    if shrunk < 0.1:
        return None
    wanted = min(float(np.percentile(shapes, 95)), 2.5)
    return _changed(
        {"image__long_side": max(_up(image.short_side * wanted, image.stride), image.long_side)},
        f"{shrunk:.0%} of the images are longer than {image.long_side / image.short_side:.2f} times their short side "
        "and would be shrunk below the image size",
    )


def _anchors(objects: ObjectSizes, config: ModelConfig) -> Suggestion | None:
    """Other sizes, else other sizes and ratios, where too few objects have a good anchor: those that fit best on average."""
    sides = objects.in_frame(config.image)
    sides = sides[:: -(-len(sides) // MOST_SIDES)]
    now = config.anchors
    smallest = sorted(SMALLEST_ANCHORS, key=lambda size: abs(math.log(size / now.sizes[0][0])))  # of equals the nearest one
    octaves = [tuple((size * 2**level,) for level in range(5)) for size in smallest]
    ratios = [
        tuple(round(ratio, 2) for ratio in (middle / step, middle, middle * step))
        for middle in MIDDLE_RATIOS
        for step in RATIO_STEPS
    ]
    best = _better(now, [fields.replace(now, sizes=sizes) for sizes in octaves], sides)
    best = _better(best, [fields.replace(now, sizes=sizes, ratios=triple) for sizes in octaves for triple in ratios], sides)
    changes = {
        f"anchors__{name}": getattr(best, name) for name in ("sizes", "ratios") if getattr(best, name) != getattr(now, name)
    }
    if not changes:
        return None
    before, after = cover(sides, now), cover(sides, best)
    return _changed(
        changes,
        f"the best anchor's IoU is at least 0.5 for {after.over_50:.0%} of the objects instead of {before.over_50:.0%}, on "
        f"average {after.mean_iou:.2f} instead of {before.mean_iou:.2f}; a whole model to start from knows its own anchors",
    )


def _better(now: AnchorConfig, others: list[AnchorConfig], sides: np.ndarray) -> AnchorConfig:
    """The best fitting of the others, where the present ones miss too many objects and it is clearly better; else these."""
    present = cover(sides, now)
    if present.over_50 >= COVERED:
        return now
    fits = [cover(sides, other) for other in others]
    best = max(range(len(others)), key=lambda number: fits[number].mean_iou)
    return others[best] if fits[best].mean_iou >= present.mean_iou + WORTH_IOU else now


def _detections(objects: ObjectSizes, config: ModelConfig) -> Suggestion | None:
    """Room for all objects of the fullest image, and a fifth more: images to come may hold more."""
    fullest = int(objects.per_image().max())
    wanted = min(_up(1.2 * fullest, 50), MOST_DETECTIONS)
    if fullest * 1.2 <= config.detect.max_detections or wanted <= config.detect.max_detections:
        return None
    changes = {"detect__max_detections": wanted}
    if config.detect.candidates < 2 * wanted:  # NMS takes some of them away
        changes["detect__candidates"] = 2 * wanted
    return _changed(changes, f"the fullest image holds {fullest} objects; at most {config.detect.max_detections} are found now")


def _proposals(objects: ObjectSizes, config: ModelConfig) -> Suggestion | None:
    fullest = int(objects.per_image().max())
    wanted = min(_up(PROPOSALS_AN_OBJECT * fullest, 100), MOST_PROPOSALS)
    names = ("train_top_k", "train_proposals", "top_k", "proposals")
    changes = {f"rpn__{name}": wanted for name in names if getattr(config.rpn, name) < wanted}
    return _changed(changes, f"{PROPOSALS_AN_OBJECT} proposals an object of the fullest image, {fullest}") if changes else None


def _class_weights(dataset: Dataset) -> Suggestion | None:
    counts = count_objects(dataset)
    names = [category.name for category in dataset.categories]
    present = np.flatnonzero(counts)
    rarest, commonest = (present[choose(counts[present])] for choose in (np.argmin, np.argmax))
    if counts[commonest] <= UNEVEN * counts[rarest]:
        return None
    weights = tuple(float(f"{weight:.3g}") for weight in class_weights(dataset, "balanced"))
    return Suggestion(
        {"box_head__class_weights": weights},
        "--class-weights balanced",
        f"{names[commonest]!r} has {counts[commonest]} objects, {names[rarest]!r} {counts[rarest]}",
    )


def _repeats(dataset: Dataset) -> Suggestion | None:
    """Half of the classes come more often, where the rarest is in far fewer images than the commonest."""
    counts = count_images(dataset)
    counts = counts[counts > 0]
    threshold = float(f"{np.median(counts) / len(dataset):.2g}")
    most = repeat_factors(dataset, threshold).max()
    if counts.max() <= UNEVEN * counts.min() or most < 1.2:
        return None
    return Suggestion(
        {},
        f"--repeat-threshold {threshold:g}",
        f"the rarest class is in {counts.min()} of {len(dataset)} images, the commonest in {counts.max()}; classes in under "
        f"{threshold:.1%} of them come up to {most:.1f} times as often; try this or class weights before both",
    )


def _changed(changes: Mapping[str, Any], reason: str) -> Suggestion:
    return Suggestion(dict(changes), " ".join(_argument(name, value) for name, value in changes.items()), reason)


def _argument(name: str, value: Any) -> str:
    """`detect__max_detections`, 400 → `--set detect.max_detections=400`, quoted for the shell where it must be."""
    written = json.dumps(value, separators=(",", ":"))
    return f"--set {shlex.quote(name.replace('__', '.') + '=' + written)}"


def _up(value: float, step: int) -> int:
    """The next multiple of the step."""
    return math.ceil(value / step) * step
