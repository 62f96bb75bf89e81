"""Numbers as JSON files have them: ids, sizes and coordinates, told apart from what only looks so."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

LARGEST_ID = 2**62


def as_id(value: Any) -> int | None:
    """A whole number as id: 1, 1.0 as pandas writes it, or "1"; None for anything else."""
    if type(value) is int:
        return value if abs(value) < LARGEST_ID else None
    if type(value) is float:
        return int(value) if value == value and abs(value) < 2**53 and value == int(value) else None
    if type(value) is str and value.isascii() and value.isdigit() and len(value) < 19:
        return int(value)
    return None


def as_side(value: Any) -> int | None:
    """A height or width in pixels; None where it is not given: missing, null, 0 and -1."""
    return int(value) if are_numbers([value]) and value == int(value) and value > 0 else None


def are_numbers(values: Iterable[Any]) -> bool:
    """Whether all are finite numbers of a size that an image can have."""
    return all(isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e9 for value in values)
