"""Charts as SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

_WIDTH, _HEIGHT = 320, 180  # of a chart, in its own units
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 10, 10, 24  # room around the plot for its labels; to the left, more for long ones
_DIGIT = 7  # the width of one at 11 pixels, in wide fonts


def loss_charts(curves: Mapping[str, Sequence[float]]) -> list[tuple[str, dict[str, Sequence[float]]]]:
    """Which lines share a chart: `x` with `val_x`, in the order of `curves`."""
    charts: dict[str, dict[str, Sequence[float]]] = {}
    for name, values in curves.items():
        kind = "validation" if name.startswith("val_") else "training"
        charts.setdefault(name.removeprefix("val_"), {})[kind] = values
    return list(charts.items())


def chart(name: str, lines: Mapping[str, Sequence[float]]) -> str:
    """One chart as inline SVG: epochs to the right, with the last value of each line written into the legend."""
    finite = [value for values in lines.values() for value in values if math.isfinite(value)]
    if not finite:
        return ""
    epochs = max(len(values) for values in lines.values())
    ticks = _ticks(min(finite), max(finite))
    low, high = ticks[0], ticks[-1]
    left = max(_LEFT, 8 + _DIGIT * max(len(f"{tick:g}") for tick in ticks))

    def x(epoch: float) -> float:
        return left + (epoch - 1) / max(epochs - 1, 1) * (_WIDTH - left - _RIGHT)

    def y(value: float) -> float:
        return _TOP + (high - value) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)

    grid = "".join(
        f'<line x1="{left}" x2="{_WIDTH - _RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>'
        f'<text x="{left - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>'
        for tick in ticks
    )
    foot = "".join(
        f'<text x="{x(epoch):.1f}" y="{_HEIGHT - 6}" text-anchor="{anchor}">{label}</text>'
        for epoch, anchor, label in ((1, "start", "epoch 1"), (epochs, "end", str(epochs)))[: min(epochs, 2)]
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
        f'<figure class="chart"><figcaption><b>{escape(name.replace("_", " "))}</b>{legend}</figcaption>\n'
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
