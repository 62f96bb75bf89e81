"""Charts as inline SVG and plain HTML: no script, no request, readable by eye, keyboard and screen reader."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

_WIDTH, _HEIGHT = 340, 240  # of a chart, in its own units
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 10, 10, 36  # room around the plot for its labels
_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)


class Line(NamedTuple):
    """One line of a chart: y over x, both in [0, 1]; None leaves a gap."""

    name: str
    x: Sequence[float]
    y: Sequence[float | None]


def unit_chart(
    title: str,
    lines: Sequence[Line],
    *,
    x_label: str,
    y_label: str,
    columns: Sequence[tuple[float, float, float | None]] = (),
    diagonal: bool = False,
    marks: Sequence[tuple[float, float, str]] = (),
) -> str:
    """A chart whose axes both go from 0 to 1, as a figure with its legend.

    Args:
        title: above the chart.
        lines: what is drawn; their names are the legend.
        x_label, y_label: of the axes.
        columns: (from, to, height) of columns behind the lines; a height of None leaves a gap.
        diagonal: whether the line of equal x and y is drawn.
        marks: (x, y, text) of points; the text is shown where a mouse rests on it, and read out.
    """
    grid = "".join(
        f'<line x1="{_x(0):.1f}" x2="{_x(1):.1f}" y1="{_y(tick):.1f}" y2="{_y(tick):.1f}"/>'
        f'<text x="{_LEFT - 6}" y="{_y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>'
        f'<text x="{_x(tick):.1f}" y="{_HEIGHT - 20}" text-anchor="middle">{tick:g}</text>'
        for tick in _TICKS
    )
    labels = (
        f'<text x="{(_x(0) + _x(1)) / 2:.1f}" y="{_HEIGHT - 4}" text-anchor="middle">{escape(x_label)}</text>'
        f'<text transform="translate(9 {(_y(0) + _y(1)) / 2:.1f}) rotate(-90)" text-anchor="middle">{escape(y_label)}</text>'
    )
    boxes = "".join(
        f'<rect class="column" x="{_x(start) + 1:.1f}" width="{_x(stop) - _x(start) - 2:.1f}" '
        f'y="{_y(height):.1f}" height="{_y(0) - _y(height):.1f}"><title>{start:.1f} to {stop:.1f}: {height:.3f}</title></rect>'
        for start, stop, height in columns
        if height is not None
    )
    straight = (
        f'<line class="diagonal" x1="{_x(0):.1f}" y1="{_y(0):.1f}" x2="{_x(1):.1f}" y2="{_y(1):.1f}"/>' if diagonal else ""
    )
    drawn = "".join(_polylines(line, f"line-{number % 8}") for number, line in enumerate(lines))
    points = "".join(
        f'<circle class="mark" cx="{_x(x):.1f}" cy="{_y(y):.1f}" r="4"><title>{escape(text)}</title></circle>'
        for x, y, text in marks
    )
    legend = "".join(
        f'<span class="line-{number % 8}">{escape(line.name)}</span>' for number, line in enumerate(lines) if len(lines) > 1
    )
    return (
        f'<figure class="chart"><figcaption><b>{escape(title)}</b>{legend}</figcaption>\n'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(f"{title}: {y_label} by {x_label}")}">'
        f'<g class="grid">{grid}{labels}</g>{boxes}{straight}{drawn}{points}</svg></figure>\n'
    )


def _x(value: float) -> float:
    return _LEFT + value * (_WIDTH - _LEFT - _RIGHT)


def _y(value: float) -> float:
    return _TOP + (1 - value) * (_HEIGHT - _TOP - _BOTTOM)


def _polylines(line: Line, kind: str) -> str:
    runs: list[list[str]] = [[]]
    for x, y in zip(line.x, line.y):
        if y is None:
            runs.append([])
        else:
            runs[-1].append(f"{_x(x):.1f},{_y(y):.1f}")
    title = f"<title>{escape(line.name)}</title>"
    return "".join(f'<polyline class="{kind}" points="{" ".join(run)}">{title}</polyline>' for run in runs if run)


def bar_table(heads: Sequence[str], rows: Sequence[tuple[str, float | None, Sequence[str]]], *, largest: float = 1.0) -> str:
    """A table with a bar in each row.

    Args:
        heads: of the name's column and of the texts' columns.
        rows: (name, the bar's length or None, further cells).
        largest: what a bar of full length means.
    """
    first = rows[0][2] if rows else []
    kinds = ["", "", *("" if _kind(cell) else ' class="text"' for cell in first)]
    names = (*heads[:1], "", *heads[1:])
    head = "".join(
        f'<th scope="col"{kinds[place] if place < len(kinds) else ""}>{escape(name)}</th>' for place, name in enumerate(names)
    )
    body = ""
    for name, value, cells in rows:
        share = 0.0 if value is None or not largest else min(max(value / largest, 0.0), 1.0)
        bar = f'<td class="bar" aria-hidden="true"><span style="width:{100 * share:.1f}%"></span></td>'
        texts = "".join(f"<td{_kind(cell)}>{escape(cell)}</td>" for cell in cells)
        body += f'<tr><th scope="row">{escape(name)}</th>{bar}{texts}</tr>\n'
    return (
        f'<div class="card" tabindex="0" role="region" aria-label="{escape(heads[0] or "Groups")}">'
        f'<table class="bars">\n<tr>{head}</tr>\n{body}</table></div>\n'
    )


def _kind(cell: str) -> str:
    """Numbers stand to the right, texts to the left."""
    return ' class="number"' if cell[:1].isdigit() or cell in ("–", "") or cell[:1] in "+-" else ""


def confusion_table(names: Sequence[str], matrix: Sequence[Sequence[int]]) -> str:
    """Counts with the share of their row as the cell's shade; background comes last.

    Args:
        names: of the K classes.
        matrix: (K + 1) rows of K + 1 counts.
    """
    columns = [*names, "nothing"]
    head = "".join(f'<th scope="col"><span>{escape(name)}</span></th>' for name in columns)
    body = ""
    for number, row in enumerate(matrix):
        total = max(sum(row), 1)
        name = names[number] if number < len(names) else "no object"
        cells = "".join(
            f'<td class="{"hit" if column == number else "miss"}" style="--share:{count / total:.3f}">{count or ""}</td>'
            if number < len(names) or column < len(names)
            else "<td></td>"
            for column, count in enumerate(row)
        )
        body += f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>\n'
    return (
        '<div class="card scroll" tabindex="0" role="region" aria-label="Confusion matrix">'
        f'<table class="confusion">\n<tr><td></td>{head}</tr>\n{body}</table></div>\n'
    )
