"""A report of a run as one HTML file: curves, scores, and truth beside prediction. Needs no network and no JavaScript."""

from __future__ import annotations

import base64
import io
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from PIL import Image

from maskrcnn.results.files import write_text

_LONGEST_SIDE = 1000  # of a picture in the report, pixels; larger ones are scaled down
_WIDTH, _HEIGHT = 320, 180  # of a chart, in its own units
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 10, 10, 24  # room around the plot for its labels


def write_report(
    path: str | os.PathLike[str],
    *,
    title: str,
    text: str,
    curves: Mapping[str, Sequence[float]],
    pictures: Iterable[tuple[np.ndarray, np.ndarray, str]],
    scores: Mapping[str, Any],
    more: Mapping[str, Iterable[tuple[np.ndarray, np.ndarray, str]]] | None = None,
) -> None:
    """Writes the report, whole or not at all.

    Args:
        path: the HTML file.
        title: its heading.
        text: what to say under the heading; an empty line parts paragraphs.
        curves: one value an epoch under each name. `val_x` is drawn into the chart of `x`. NaN leaves a gap.
        pictures: (truth, prediction, caption): two (H, W, 3) uint8 RGB pictures and what they show.
        scores: as `evaluate` returns them; {} for none.
        more: further pictures under a heading of their own: (picture, prediction, caption).
    """
    sections = [
        _section("Scores", _scores(scores) if scores else ""),
        _section("Training", "".join(_chart(name, lines) for name, lines in _charts(curves)), kind="charts"),
        _section("Truth on the left, prediction on the right", "".join(_pair(*picture) for picture in pictures), kind="pairs"),
        *(
            _section(escape(heading), "".join(_pair(*pair, left="picture") for pair in pairs), kind="pairs")
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
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>{escape(title)}</h1>
{paragraphs}{"".join(sections)}</main>
</body>
</html>
""",
    )


def _section(heading: str, content: str, *, kind: str = "") -> str:
    return f'<section>\n<h2>{heading}</h2>\n<div class="{kind}">\n{content}</div>\n</section>\n' if content else ""


# Scores


def _scores(scores: Mapping[str, Any]) -> str:
    mask, box, classes = scores["mask"], scores["box"], scores["per_class"]
    tiles = "".join(
        f'<div class="tile"><b>{_number(value)}</b><span>{name}</span></div>'
        for kind, overall in (("mask", mask), ("box", box))
        for name, value in ((f"{kind} AP50", overall["AP50"]), (f"{kind} AP", overall["AP"]))
    )
    table = _table(["", *mask], [["mask", *map(_number, mask.values())], ["box", *map(_number, box.values())]])
    columns = ("mask_AP", "mask_AP50", "box_AP", "box_AP50")
    rows = [[name, str(row["num_objects"]), *(_number(row[column]) for column in columns)] for name, row in classes.items()]
    per_class = _table(["class", "objects", *(column.replace("_", " ") for column in columns)], rows)
    return f'<div class="tiles">{tiles}</div>\n{table}{per_class}'


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(name.replace('_', ' '))}</th>" for name in heads)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>\n" for row in rows)
    return f'<div class="scroll"><table>\n<tr>{head}</tr>\n{body}</table></div>\n'


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


# Curves


def _charts(curves: Mapping[str, Sequence[float]]) -> list[tuple[str, dict[str, Sequence[float]]]]:
    """Which lines share a chart: `x` with `val_x`, in the order of `curves`."""
    charts: dict[str, dict[str, Sequence[float]]] = {}
    for name, values in curves.items():
        kind = "validation" if name.startswith("val_") else "training"
        charts.setdefault(name.removeprefix("val_"), {})[kind] = values
    return list(charts.items())


def _chart(name: str, lines: Mapping[str, Sequence[float]]) -> str:
    """One chart as inline SVG: epochs to the right, with the last value of each line written into the legend."""
    finite = [value for values in lines.values() for value in values if math.isfinite(value)]
    if not finite:
        return ""
    epochs = max(len(values) for values in lines.values())
    ticks = _ticks(min(finite), max(finite))
    low, high = ticks[0], ticks[-1]

    def x(epoch: float) -> float:
        return _LEFT + (epoch - 1) / max(epochs - 1, 1) * (_WIDTH - _LEFT - _RIGHT)

    def y(value: float) -> float:
        return _TOP + (high - value) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)

    grid = "".join(
        f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>'
        f'<text x="{_LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>'
        for tick in ticks
    )
    foot = "".join(
        f'<text x="{x(epoch):.1f}" y="{_HEIGHT - 6}" text-anchor="{anchor}">{label}</text>'
        for epoch, anchor, label in ((1, "start", "epoch 1"), (epochs, "end", str(epochs)))
        if epoch == 1 or epochs > 1
    )
    drawn, legend = "", ""
    for kind, values in lines.items():
        for run in _runs(values):
            points = " ".join(f"{x(epoch):.1f},{y(value):.1f}" for epoch, value in run)
            if len(run) > 1:
                drawn += f'<polyline class="{kind}" points="{points}"/>'
            else:
                drawn += f'<circle class="{kind}" cx="{x(run[0][0]):.1f}" cy="{y(run[0][1]):.1f}" r="2.5"/>'
        last = next((value for value in reversed(values) if math.isfinite(value)), math.nan)
        legend += f'<span class="{kind}">{kind} {last:.3g}</span>'
    return (
        f"<figure><figcaption><b>{escape(name.replace('_', ' '))}</b>{legend}</figcaption>\n"
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(name)} by epoch">'
        f'<g class="grid">{grid}{foot}</g>{drawn}</svg></figure>\n'
    )


def _runs(values: Sequence[float]) -> list[list[tuple[int, float]]]:
    """The (epoch, value) of each unbroken stretch of finite values; epochs from 1."""
    runs: list[list[tuple[int, float]]] = [[]]
    for epoch, value in enumerate(values, start=1):
        if math.isfinite(value):
            runs[-1].append((epoch, value))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers, three to seven of them, from at or below `low` to at or above `high`."""
    spread = high - low or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(spread / 4))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if spread / (factor * power) <= 5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(k * step, 12) for k in range(first, max(last, first + 1) + 1)]


# Pictures


def _pair(truth: np.ndarray, prediction: np.ndarray, caption: str, *, left: str = "truth") -> str:
    return (
        f'<figure class="pair"><div>{_image(truth, f"{caption}: {left}")}{_image(prediction, f"{caption}: prediction")}</div>'
        f"<figcaption>{escape(caption)}</figcaption></figure>\n"
    )


def _image(image: np.ndarray, description: str) -> str:
    picture = Image.fromarray(image)
    picture.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    file = io.BytesIO()
    picture.save(file, format="PNG", optimize=True)
    data = base64.b64encode(file.getvalue()).decode("ascii")
    width, height = picture.size
    return f'<img alt="{escape(description)}" width="{width}" height="{height}" src="data:image/png;base64,{data}">'


_STYLE = """
:root { color-scheme: light dark; --ground: #f6f7f9; --card: #fff; --ink: #1b2330; --quiet: #667085; --line: #e3e7ee;
  --training: #7a8699; --validation: #1668dc; }
@media (prefers-color-scheme: dark) { :root { --ground: #10141b; --card: #191f29; --ink: #e8ecf2; --quiet: #94a0b4;
  --line: #2b3442; --training: #8793a7; --validation: #5aa2ff; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 40px 20px 60px; }
h1 { font-size: 30px; line-height: 1.2; letter-spacing: -0.02em; margin: 0 0 12px; }
h2 { font-size: 19px; margin: 40px 0 14px; }
p { max-width: 68ch; margin: 0 0 10px; color: var(--quiet); }
figure, .tile, .scroll { margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: 12px; }
.tiles { display: grid; grid-template-columns: repeat(4, 1fr); gap: 14px; }
@media (max-width: 600px) { .tiles { grid-template-columns: repeat(2, 1fr); } }
.tile { padding: 14px 18px; }
.tile b { display: block; font-size: 28px; line-height: 1.2; letter-spacing: -0.02em; }
.tile span, figcaption { color: var(--quiet); font-size: 14px; }
.scroll { margin-top: 14px; padding: 6px 8px; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { padding: 7px 10px; text-align: right; white-space: nowrap; }
th { color: var(--quiet); font-weight: 500; }
th:first-child, td:first-child { text-align: left; }
td { border-top: 1px solid var(--line); }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(300px, 100%), 1fr)); gap: 14px; }
.charts figure { padding: 14px 14px 8px; }
.charts figcaption { display: flex; flex-wrap: wrap; gap: 2px 12px; margin-bottom: 6px; }
.charts b { color: var(--ink); font-weight: 600; margin-right: auto; }
span.training { color: var(--training); } span.validation { color: var(--validation); }
svg { display: block; width: 100%; height: auto; }
.grid line { stroke: var(--line); } .grid text { fill: var(--quiet); font-size: 11px; }
polyline { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
polyline.training { stroke: var(--training); } polyline.validation { stroke: var(--validation); }
circle.training { fill: var(--training); } circle.validation { fill: var(--validation); }
.pairs { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(440px, 100%), 1fr)); gap: 14px; }
.pair { padding: 10px; }
.pair div { display: grid; grid-template-columns: 1fr 1fr; gap: 8px; }
.pair img { display: block; width: 100%; height: auto; border-radius: 6px; }
.pair figcaption { padding: 8px 4px 0; }
"""
