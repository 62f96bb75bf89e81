"""The images of the error report: crops of single errors, and the worst images whole, ground truth beside result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from maskrcnn.images.images import read_image, read_values
from maskrcnn.images.values import to_channels
from maskrcnn.metrics.errors import status_at
from maskrcnn.metrics.rows import Evaluation
from maskrcnn.reports.crops import GREEN, ORANGE, WHITE, Outline, crop
from maskrcnn.reports.document import image_tag
from maskrcnn.results.draw import as_rgb
from maskrcnn.structures import Sample

Reader = Callable[[Sample], np.ndarray]  # gives (H, W, 3) uint8 RGB

_LONGEST_SIDE = 640  # of a whole image in the page, pixels
_KINDS = {
    "localisation": "outline too far off",
    "class": "wrong class",
    "class_and_localisation": "wrong class, outline too far off",
    "duplicate": "found a second time",
    "background": "nothing annotated there",
}


def legend(*keys: tuple[str, tuple[int, int, int]]) -> str:
    """What the colors of outlines mean."""
    spans = "".join(f'<span class="key" style="background:rgb{colour}"></span>{escape(name)}' for name, colour in keys)
    return f"<p>{spans}</p>\n"


def false_positives(evaluation: Evaluation, rows: Sequence[Mapping[str, Any]], read: Reader) -> str:
    """A crop of each, the result filled, all ground truth around it in outline."""

    def draw(row: Mapping[str, Any], image: np.ndarray) -> np.ndarray:
        place, result = int(evaluation.rows.images[row["row"]]), row["row"]
        truth = [Outline(rle, GREEN) for rle in evaluation.samples[place].rles]
        return crop(image, row["box"], [*truth, Outline(evaluation.rows.rle(result, evaluation.samples), ORANGE, True)])

    def caption(row: Mapping[str, Any]) -> tuple[str, str]:
        near = "" if row["near"] is None else f" (IoU {row['iou']:.2f} with {row['near']})"
        return f"{row['class']} {row['score']:.2f}", f"{_KINDS[row['kind']]}{near}"

    return _crops(evaluation, rows, read, draw, caption)


def missed(evaluation: Evaluation, rows: Sequence[Mapping[str, Any]], read: Reader) -> str:
    """A crop of each, the missed object filled, all results around it in outline."""

    def draw(row: Mapping[str, Any], image: np.ndarray) -> np.ndarray:
        place = int(evaluation.objects.images[row["object"]])
        found = np.flatnonzero(evaluation.rows.images == place)[::-1].tolist()  # the best on top
        results = [Outline(evaluation.rows.rle(result, evaluation.samples), ORANGE) for result in found]
        return crop(image, row["box"], [*results, Outline(evaluation.objects.rles[row["object"]], GREEN, True)])

    def caption(row: Mapping[str, Any]) -> tuple[str, str]:
        near = (
            "no result touches it"
            if row["near"] is None
            else f"nearest: {row['near']} {row['score']:.2f} with IoU {row['iou']:.2f}"
        )
        return row["class"], f"{row['area']:.0f} pixels; {near}"

    return _crops(evaluation, rows, read, draw, caption)


def suspected_labels(kept: Evaluation, rows: Sequence[Mapping[str, Any]], read: Reader) -> str:
    """A crop of each result that contradicts the ground truth."""
    marked = [dict(row, box=kept.rows.boxes[row["row"]].tolist()) for row in rows]

    def caption(row: Mapping[str, Any]) -> tuple[str, str]:
        said = (
            "nothing is annotated here"
            if row["annotated_class"] is None
            else f"annotated as {row['annotated_class']} (annotation {row['annotation_id']})"
        )
        return f"{row['class']} {row['score']:.2f}", said

    def draw(row: Mapping[str, Any], image: np.ndarray) -> np.ndarray:
        place, result = int(kept.rows.images[row["row"]]), row["row"]
        truth = [Outline(rle, GREEN) for rle in kept.samples[place].rles]
        return crop(image, row["box"], [*truth, Outline(kept.rows.rle(result, kept.samples), ORANGE, True)])

    return _crops(kept, marked, read, draw, caption)


def worst_images(evaluation: Evaluation, thresholds: np.ndarray, rows: Sequence[Mapping[str, Any]], read: Reader) -> str:
    """Whole images: on the left what was missed and on the right what is wrong, all else in white."""
    status = status_at(evaluation, thresholds)
    places = {sample.image_id: place for place, sample in enumerate(evaluation.samples)}
    figures = ""
    for row in rows:
        place = places[row["image_id"]]
        sample = evaluation.samples[place]
        image = read_or_black(read, sample)
        objects = np.flatnonzero(evaluation.objects.images == place).tolist()
        results = np.flatnonzero((evaluation.rows.images == place) & (status.correct | status.wrong)).tolist()
        truth = [(evaluation.objects.rles[k], bool(status.missed[k]), GREEN) for k in objects]
        found = [(evaluation.rows.rle(k, evaluation.samples), bool(status.wrong[k]), ORANGE) for k in results]
        sides = "".join(
            image_tag(_whole(image, outlines), f"{sample.file_name}: {what}")
            for outlines, what in ((truth, "ground truth"), (found, "results"))
        )
        text = f"{row['missed']} missed, {row['false_positives']} wrong, {row['correct']} right; costs {row['cost']:.4f} AP50"
        figures += (
            f'<figure id="image-{row["image_id"]}"><div>{sides}</div>'
            f"<figcaption><b>{image_link(sample)}</b>: {escape(text)}</figcaption></figure>\n"
        )
    return f'<div class="pairs">{figures}</div>\n' if figures else ""


def _whole(image: np.ndarray, outlines: Sequence[tuple[dict[str, Any], bool, tuple[int, int, int]]]) -> np.ndarray:
    """An image, reduced, with errors filled in color and all other masks in white."""
    height, width = image.shape[:2]
    errors = [Outline(rle, colour, True) for rle, wrong, colour in outlines if wrong]
    others = [Outline(rle, WHITE) for rle, wrong, _ in outlines if not wrong]
    return crop(image, (0.0, 0.0, float(width), float(height)), [*others, *errors], side=_LONGEST_SIDE)


def _crops(
    evaluation: Evaluation,
    rows: Sequence[Mapping[str, Any]],
    read: Reader,
    draw: Callable[[Mapping[str, Any], np.ndarray], np.ndarray],
    caption: Callable[[Mapping[str, Any]], tuple[str, str]],
) -> str:
    samples = {sample.image_id: sample for sample in evaluation.samples}
    drawn: dict[int, np.ndarray] = {}
    for image_id, own in _by_image(rows):  # each image is read once
        image = read_or_black(read, samples[image_id])
        for number in own:
            drawn[number] = draw(rows[number], image)
    figures = ""
    for number, row in enumerate(rows):
        cost = f"; costs {row['cost']:.4f} AP50" if "cost" in row else ""
        what, why = caption(row)
        text = f"<b>{escape(what)}</b>: {escape(why + cost)}<br>{image_link(samples[row['image_id']])}"
        figures += f"<figure>{image_tag(drawn[number], f'{what}: {why}')}<figcaption>{text}</figcaption></figure>\n"
    return f'<div class="crops">{figures}</div>\n' if figures else ""


def _by_image(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, list[int]]]:
    numbers: dict[int, list[int]] = {}
    for number, row in enumerate(rows):
        numbers.setdefault(row["image_id"], []).append(number)
    yield from numbers.items()


def read_rgb(sample: Sample) -> np.ndarray:
    """(H, W, 3) uint8 of a sample, as people see it; of other channels than gray and RGB in false colors.

    Raises:
        ValueError, OSError: its file cannot be read.
    """
    if sample.image is not None:
        return as_rgb(sample.image)
    try:
        return read_image(sample.path)
    except ValueError:  # of other channels, or it cannot be read at all: then this says so
        values = read_values(sample.path, channels=None)
        return as_rgb(to_channels(values, values.shape[2] if values.ndim == 3 else 1))


def read_or_black(read: Reader, sample: Sample) -> np.ndarray:
    """The image, or black where its file cannot be read any more: the masks say something without it."""
    try:
        return read(sample)
    except (OSError, ValueError):
        return np.zeros((*sample.size, 3), np.uint8)


def image_link(sample: Sample) -> str:
    """To the image's own file, which a browser shows where it lies on the same machine."""
    path = Path(sample.path)
    name = escape(sample.file_name)
    return f'<a href="{escape(path.resolve().as_uri())}">{name}</a>' if sample.path and path.exists() else name
