"""A report of a run as one HTML file: curves, scores, and truth beside prediction. Needs no network and no JavaScript."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from maskrcnn.atomic import write_text
from maskrcnn.reports.charts import chart, loss_charts
from maskrcnn.reports.document import Section, document, image_tag, number, table, tiles
from maskrcnn.results.draw import resized

_LONGEST_SIDE = 1000  # of an image in the report, pixels; larger ones are scaled down


def write_report(
    path: str | os.PathLike[str],
    *,
    title: str,
    text: str,
    curves: Mapping[str, Sequence[float]],
    images: Iterable[tuple[np.ndarray, np.ndarray, str]],
    scores: Mapping[str, Any],
    before: Mapping[str, Iterable[tuple[np.ndarray, np.ndarray, str]]] | None = None,
) -> None:
    """Writes the report, whole or not at all.

    Args:
        path: the HTML file.
        title: its heading.
        text: what to say under the heading; an empty line parts paragraphs.
        curves: one value an epoch under each name. `val_x` is drawn into the chart of `x`. NaN leaves a gap.
        images: (truth, prediction, caption): two (H, W, 3) uint8 RGB images and what they show.
        scores: as `evaluate` returns them; {} for none.
        before: other images, above all of these, under headings of their own: (image, prediction, caption).
    """
    sections = [
        *(
            Section(f"before-{place}", heading, _grid("pairs", (_pair(*pair, left="image") for pair in pairs)))
            for place, (heading, pairs) in enumerate((before or {}).items())
        ),
        Section(
            "images",
            "Truth on the left, prediction on the right",
            _grid("pairs", (_pair(*image, left="truth") for image in images)),
        ),
        Section("scores", "Scores", _scores(scores) if scores else ""),
        Section("training", "Training", _grid("charts", (chart(name, lines) for name, lines in loss_charts(curves)))),
    ]
    write_text(path, document(title, text.split("\n\n"), sections))


def _grid(kind: str, figures: Iterable[str]) -> str:
    content = "".join(figures)
    return f'<div class="{kind}">{content}</div>\n' if content else ""


def _pair(truth: np.ndarray, prediction: np.ndarray, caption: str, *, left: str) -> str:
    sides = "".join(
        image_tag(resized(image, min(1.0, _LONGEST_SIDE / max(image.shape[:2]))), f"{caption}: {what}")
        for image, what in ((truth, left), (prediction, "prediction"))
    )
    return f"<figure><div>{sides}</div><figcaption>{escape(caption)}</figcaption></figure>\n"


def _scores(scores: Mapping[str, Any]) -> str:
    mask, box, classes = scores["mask"], scores["box"], scores["per_class"]
    shown = tiles(
        [
            (number(overall[name]), f"{kind} {name}")
            for kind, overall in (("mask", mask), ("box", box))
            for name in ("AP50", "AP")
        ]
    )
    heads = ["", *(name.replace("_", " ") for name in mask)]
    rows = [[kind, *map(number, overall.values())] for kind, overall in (("mask", mask), ("box", box))]
    columns = ("mask_AP", "mask_AP50", "box_AP", "box_AP50")
    by_class = [[name, str(row["num_objects"]), *(number(row[column]) for column in columns)] for name, row in classes.items()]
    return (
        shown
        + table(heads, rows, name="COCO scores")
        + table(["class", "objects", *(column.replace("_", " ") for column in columns)], by_class, name="Scores by class")
    )
