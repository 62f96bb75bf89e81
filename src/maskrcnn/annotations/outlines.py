"""Outlines as annotation tools draw them: polygons, rectangles, circles, ellipses."""

from __future__ import annotations

import math
import reprlib
from typing import Any

import numpy as np

CORNERS = 360  # of the polygon that stands for a circle or an ellipse: 0.2 pixels from one of radius 5000
FARTHEST = 1e6  # pixels; a polygon's outline is walked, so a number without sense would take the memory


def read_outline(shape: dict[str, Any]) -> np.ndarray:
    """(P, 2) x, y of a shape's corners.

    Raises:
        ValueError: for a shape without an area, an unknown one, and one that lacks its numbers.
    """
    kind = shape.get("name")
    if kind == "polygon":
        xs, ys = shape.get("all_points_x"), shape.get("all_points_y")
        if not isinstance(xs, list) or not isinstance(ys, list) or len(xs) != len(ys) or not _are_numbers([*xs, *ys]):
            raise ValueError(f"a polygon has as many numbers all_points_x as all_points_y; received {reprlib.repr(shape)}")
        if len(xs) < 3:
            raise ValueError(f"a polygon has at least 3 points; received {len(xs)}")
        return np.array([xs, ys], np.float64).T
    if kind == "rect":
        x, y, width, height = _numbers(shape, "x", "y", "width", "height")
        return np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]])
    if kind == "circle":
        x, y, radius = _numbers(shape, "cx", "cy", "r")
        return _ellipse(x, y, radius, radius, 0.0)
    if kind == "ellipse":
        x, y, radius_x, radius_y = _numbers(shape, "cx", "cy", "rx", "ry")
        (turn,) = _numbers({"theta": 0.0, **shape}, "theta")  # radians; versions before 2.0.6 cannot turn it
        return _ellipse(x, y, radius_x, radius_y, turn)
    raise ValueError(f"a region with an area is a polygon, rect, circle or ellipse; received {reprlib.repr(kind)}")


def _ellipse(x: float, y: float, radius_x: float, radius_y: float, turn: float) -> np.ndarray:
    """(CORNERS, 2) on an ellipse that is turned by so many radians from x to y."""
    angles = 2 * np.pi * np.arange(CORNERS) / CORNERS
    along, across = radius_x * np.cos(angles), radius_y * np.sin(angles)
    return np.stack(
        [x + along * math.cos(turn) - across * math.sin(turn), y + along * math.sin(turn) + across * math.cos(turn)], axis=1
    )


def _numbers(shape: dict[str, Any], *names: str) -> list[float]:
    values = [shape.get(name) for name in names]
    if not _are_numbers(values):
        raise ValueError(f"a {shape['name']} has the numbers {', '.join(names)}; received {reprlib.repr(shape)}")
    return [float(value) for value in values]  # type: ignore[arg-type]  # they are numbers


def _are_numbers(values: list[Any]) -> bool:
    return all(isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < FARTHEST for value in values)
