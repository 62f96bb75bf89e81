"""Files that appear whole under their names, or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO


def write_whole(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Lets `write` fill a file beside `path`, and gives it its name when it is done."""
    part = part_of(path)
    try:
        with open(part, "wb") as file:
            write(file)
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def part_of(path: Path) -> Path:
    """Where a file is written until it is whole: in the same folder, so that renaming it is one step."""
    return path.with_name(f".{path.name}.{os.getpid()}.part")
