"""What to train on and what to validate with, as a person says it: two paths, one path with parts, or a fraction of one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from maskrcnn.data.dataset import Dataset, load_dataset
from maskrcnn.data.split import split

FRACTION = 0.2  # of the images, where nobody says what to validate with


def read_parts(
    data: str | Path,
    val: str | Path | float | None,
    *,
    seed: int,
    val_images: str | Path | None = None,
    log: Callable[[str], None] = lambda _: None,
    **reading: Any,
) -> tuple[Dataset, Dataset]:
    """Reads both parts.

    Args:
        data: a data set.
        val: another; a fraction of `data` to split off, also as text, "0.2"; the same path as `data`, of which the parts called
            train and val are read then; or None: `FRACTION` of `data`.
        seed: of the split.
        val_images: folder of the images of `val`, where it is another data set.
        log: is told how images were shared out.
        **reading: see `load_dataset`; for both.

    Raises:
        ValueError: for data that cannot be read, and a fraction that is none.
    """
    fraction = FRACTION if val is None else _fraction(val)
    if fraction is not None:
        whole = load_dataset(data, **reading)
        train, rest = split(whole, fraction, seed)
        log(f"{len(rest)} of {len(whole)} images are kept to validate with, classes shared out evenly (seed {seed}).")
        return train, rest
    assert isinstance(val, (str, Path))
    if Path(val).resolve() == Path(data).resolve() and "split" not in reading:
        return load_dataset(data, split="train", **reading), load_dataset(val, split="val", **reading)
    return load_dataset(data, **reading), load_dataset(val, **{**reading, "images": val_images})


def _fraction(val: str | Path | float) -> float | None:
    """A number that was given instead of a path; None for a path, which a file of that name is too."""
    if isinstance(val, float):
        return val
    if Path(val).exists():
        return None
    try:
        return float(str(val))
    except ValueError:
        return None
