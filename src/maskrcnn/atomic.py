"""Files that appear whole or not at all: written beside their place, flushed, and renamed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image


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


def write_png(path: str | os.PathLike[str], image: np.ndarray) -> None:
    """Writes (H, W, 3) uint8 RGB or (H, W) uint8 or uint16 as PNG, whole or not at all."""
    pillow = Image.fromarray(image)
    write_whole(Path(path), lambda file: pillow.save(file, format="PNG"))


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes a value as indented JSON, whole or not at all.

    Raises:
        ValueError: for NaN and infinity, which JSON does not have.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_text(path, text)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes a text as UTF-8, whole or not at all."""
    write_bytes(path, text.encode())


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Writes a file, whole or not at all."""
    write_whole(Path(path), lambda file: file.write(content))


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Gives a folder to fill, beside its place, and gives it its name when it is done; after an error it is gone.

    Raises:
        ValueError: there is a file of that name, or a folder with something in it.
    """
    folder = folder.absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} is not empty; name a new folder to write to.")
    part = part_of(folder)
    part.mkdir(parents=True)
    try:
        yield part
        if folder.exists():
            folder.rmdir()
        os.replace(part, folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
