"""A report of a run as one HTML file: curves, scores, and truth beside prediction. Needs no network and no JavaScript."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from maskrcnn.atomic import write_text
from maskrcnn.reports.charts import chart, loss_charts
from maskrcnn.reports.page import STYLE, image_pair, section, shown_number, table_of


def write_report(
    path: str | os.PathLike[str],
    *,
    title: str,
    text: str,
    curves: Mapping[str, Sequence[float]],
    images: Iterable[tuple[np.ndarray, np.ndarray, str]],
    scores: Mapping[str, Any],
    more: Mapping[str, Iterable[tuple[np.ndarray, np.ndarray, str]]] | None = None,
) -> None:
    """Writes the report, whole or not at all.

    Args:
        path: the HTML file.
        title: its heading.
        text: what to say under the heading; an empty line parts paragraphs.
        curves: one value an epoch under each name. `val_x` is drawn into the chart of `x`. NaN leaves a gap.
        images: (truth, prediction, caption): two (H, W, 3) uint8 RGB images and what they show.
        scores: as `evaluate` returns them; {} for none.
        more: further images under a heading of their own: (image, prediction, caption).
    """
    sections = [
        section("Scores", _scores(scores) if scores else ""),
        section("Training", "".join(chart(name, lines) for name, lines in loss_charts(curves)), kind="charts"),
        section("Truth on the left, prediction on the right", "".join(image_pair(*image) for image in images), kind="pairs"),
        *(
            section(escape(heading), "".join(image_pair(*pair, left="image") for pair in pairs), kind="pairs")
            for heading, pairs in (more or {}).items()
        ),
    ]
    paragraphs = "".join(f"<p>{escape(paragraph)}</p>\n" for paragraph in text.split("\n\n") if paragraph.strip())
    write_text(
        path,
        f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>{escape(title)}</h1>
{paragraphs}{"".join(sections)}</main>
</body>
</html>
""",
    )


def _scores(scores: Mapping[str, Any]) -> str:
    mask, box, classes = scores["mask"], scores["box"], scores["per_class"]
    tiles = "".join(
        f'<div class="tile"><b>{shown_number(value)}</b><span>{name}</span></div>'
        for kind, overall in (("mask", mask), ("box", box))
        for name, value in ((f"{kind} AP50", overall["AP50"]), (f"{kind} AP", overall["AP"]))
    )
    table = table_of(["", *mask], [["mask", *map(shown_number, mask.values())], ["box", *map(shown_number, box.values())]])
    columns = ("mask_AP", "mask_AP50", "box_AP", "box_AP50")
    rows = [
        [name, str(row["num_objects"]), *(shown_number(row[column]) for column in columns)] for name, row in classes.items()
    ]
    per_class = table_of(["class", "objects", *(column.replace("_", " ") for column in columns)], rows)
    return f'<div class="tiles">{tiles}</div>\n{table}{per_class}'
