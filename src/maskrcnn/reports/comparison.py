"""Two results on the same images, side by side: what changed, and whether chance explains it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from maskrcnn.atomic import write_json, write_text
from maskrcnn.metrics.curves import best_scores
from maskrcnn.metrics.errors import Status, status_at
from maskrcnn.metrics.rows import Evaluation
from maskrcnn.reports.crops import GREEN, ORANGE, WHITE, Outline, crop
from maskrcnn.reports.document import Section, document, image_tag, number, paragraph, table, tiles
from maskrcnn.reports.error_images import Reader, image_link, legend, read_or_black
from maskrcnn.reports.plots import bar_table
from maskrcnn.reports.tables import signed, verdict

PAGE, NUMBERS = "comparison.html", "comparison.json"
_SIDE = 640  # pixels of an image in the page


def write_comparison(
    folder: str | os.PathLike[str],
    first: Evaluation,
    second: Evaluation,
    comparison: Mapping[str, Any],
    *,
    names: tuple[str, str],
    read: Reader,
) -> Path:
    """Writes `comparison.html` and `comparison.json` into a folder, each whole or not at all.

    Args:
        folder: made where it is not there.
        first, second: the results and their ground truth.
        comparison: as `metrics.bootstrap.compare` gives it.
        names: what the two are called.
        read: gives the image of a sample, (H, W, 3) uint8 RGB.

    Returns:
        The page's path.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / NUMBERS, {"names": list(names), **comparison})
    sections = [
        Section("scores", "Difference", _scores(comparison, names)),
        Section("classes", "Classes", _classes(comparison, names)),
        Section("images", "Images that differ most", _images(first, second, comparison, names, read)),
    ]
    lead = f"{names[1]} against {names[0]} on {len(first.samples)} images. Masks are compared; numbers are in {NUMBERS}."
    write_text(folder / PAGE, document(f"{names[0]} and {names[1]} compared", [lead], sections))
    return folder / PAGE


def _scores(comparison: Mapping[str, Any], names: tuple[str, str]) -> str:
    difference = comparison["difference"]
    shown = tiles(
        [(signed(difference[name]["value"]), f"mask {name}: {verdict(difference[name])}") for name in ("AP", "AP50", "AP75")]
    )
    rows = [
        [
            f"mask {name}",
            number(comparison["first"][name]),
            number(comparison["second"][name]),
            signed(difference[name]["value"]),
            f"{signed(difference[name]['low'])} to {signed(difference[name]['high'])}",
            number(difference[name].get("better"), 2),
        ]
        for name in ("AP", "AP50", "AP75")
    ]
    heads = ["", names[0], names[1], "difference", f"{difference['confidence']:.0%} interval", "better in"]
    text = (
        f"The interval holds {difference['confidence']:.0%} of {difference['resamples']} resamples of the images, the same "
        f"for both. The last column is the part of them in which the second is better. An interval that holds 0 may be chance."
    )
    return shown + table(heads, rows, name="Difference") + paragraph(text)


def _classes(comparison: Mapping[str, Any], names: tuple[str, str]) -> str:
    known = {name: row for name, row in comparison["per_class"].items() if row["difference"] is not None}
    rows = [
        (name, abs(row["difference"]), [number(row["first"]), number(row["second"]), signed(row["difference"])])
        for name, row in sorted(known.items(), key=lambda item: item[1]["difference"])
    ]
    largest = max([row[1] or 0.0 for row in rows], default=0.0)
    return paragraph("Mask AP of each class, the largest loss first.") + bar_table(
        ["class", names[0], names[1], "difference"], rows, largest=max(largest, 0.01)
    )


def _images(first: Evaluation, second: Evaluation, comparison: Mapping[str, Any], names: tuple[str, str], read: Reader) -> str:
    places = {sample.image_id: place for place, sample in enumerate(first.samples)}
    statuses = [status_at(evaluation, best_scores(evaluation)) for evaluation in (first, second)]
    figures = ""
    for row in comparison["images"]:
        place = places[row["image_id"]]
        sample = first.samples[place]
        image = read_or_black(read, sample)
        sides = "".join(
            image_tag(_drawn(evaluation, status, place, image), f"{sample.file_name}: {name}")
            for evaluation, status, name in zip((first, second), statuses, names)
        )
        text = f"F1 {row['first']:.2f} and {row['second']:.2f}, {signed(row['difference'], 2)}"
        figures += f"<figure><div>{sides}</div><figcaption><b>{image_link(sample)}</b>: {escape(text)}</figcaption></figure>\n"
    if not figures:
        return ""
    keys = legend(("missed", GREEN), ("wrong", ORANGE), ("right", WHITE))
    text = f"Left {names[0]}, right {names[1]}, each from its classes' best scores up."
    return paragraph(text) + keys + f'<div class="pairs">{figures}</div>\n'


def _drawn(evaluation: Evaluation, status: Status, place: int, image: np.ndarray) -> np.ndarray:
    """Right results in white, false positives and missed objects filled."""
    here = evaluation.rows.images == place
    objects = np.flatnonzero((evaluation.objects.images == place) & status.missed).tolist()
    outlines = [
        *(Outline(evaluation.rows.rle(k, evaluation.samples), WHITE) for k in np.flatnonzero(here & status.correct).tolist()),
        *(Outline(evaluation.objects.rles[k], GREEN, True) for k in objects),
        *(
            Outline(evaluation.rows.rle(k, evaluation.samples), ORANGE, True)
            for k in np.flatnonzero(here & status.wrong).tolist()
        ),
    ]
    height, width = image.shape[:2]
    return crop(image, (0.0, 0.0, float(width), float(height)), outlines, side=_SIDE)
