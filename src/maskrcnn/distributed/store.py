"""Files and folders, on this machine's disks or behind an address that fsspec opens: s3://, gs://, abfs:// and others."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

from maskrcnn import extras
from maskrcnn.atomic import write_bytes
from maskrcnn.images.remote import MAX_BYTES

TRIES = 3  # for each file behind an address: networks fail now and then
PAUSE = 1.0  # seconds before the second try, then twice as long


def is_address(given: str | Path) -> bool:
    """Whether it begins as an address does, s3:// say; file:// is one too."""
    return re.match(r"[a-z][a-z0-9+.-]*://", str(given), re.IGNORECASE) is not None


def open_address(address: str) -> tuple[Any, str]:
    """The file system of fsspec that an address is of, and the path in it.

    Raises:
        ImportError: fsspec, or what it needs for such addresses, is not installed.
        ValueError: an address of a kind that fsspec does not know.
    """
    core = extras.load("fsspec.core", extra="ray", why="Addresses such as s3:// need fsspec")
    return core.url_to_fs(address)


def read_bytes(address: str) -> bytes:
    """The content of an image behind an address.

    Raises:
        ValueError: it cannot be had in `TRIES` tries, or is larger than `MAX_BYTES`; one line.
        ImportError: see `open_address`.
    """
    problem = ""
    for number in range(TRIES):
        if number:
            time.sleep(PAUSE * 2 ** (number - 1))
        try:
            system, path = open_address(address)
            with system.open(path, "rb") as file:
                content = file.read(MAX_BYTES + 1)
        except ImportError:
            raise
        except (FileNotFoundError, PermissionError) as error:
            raise ValueError(f"Cannot read {address}: {type(error).__name__}.") from None
        except Exception as error:  # each file system has errors of its own
            problem = f"Cannot read {address}: {' '.join(str(error).split()) or type(error).__name__:.200}"
            continue
        if len(content) > MAX_BYTES:
            raise ValueError(f"Cannot read {address}: it has more than {MAX_BYTES >> 20} MB.")
        return bytes(content)
    raise ValueError(problem)


class Store:
    """A folder of results.

    A file appears whole or not at all: on disks it is renamed when it is done, and object stores show no part of one.

    Args:
        place: a folder, or its address.
    """

    def __init__(self, place: str | Path) -> None:
        self.place = str(place).rstrip("/") if is_address(place) else str(Path(place).absolute())
        self._system: Any = None
        self._root = self.place
        if is_address(place):
            self._system, self._root = open_address(self.place)

    @property
    def folder(self) -> Path | None:
        """On this machine's disks; None behind an address."""
        return Path(self._root) if self._system is None else None

    def write(self, name: str, content: bytes) -> None:
        """Writes a file, in the place of one of that name."""
        path = f"{self._root}/{name}"
        if self._system is None:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            write_bytes(path, content)
        else:
            self._system.pipe_file(path, content)

    def read(self, name: str) -> bytes | None:
        """A file's content; None where there is none."""
        try:
            path = f"{self._root}/{name}"
            return Path(path).read_bytes() if self._system is None else self._system.cat_file(path)
        except FileNotFoundError:
            return None

    def exists(self, name: str) -> bool:
        path = f"{self._root}/{name}"
        return Path(path).is_file() if self._system is None else bool(self._system.exists(path))

    def names(self, folder: str) -> set[str]:
        """The names of the files in a folder of it; none where there is no such folder."""
        path = f"{self._root}/{folder}"
        try:
            if self._system is None:
                return {entry.name for entry in Path(path).iterdir() if not entry.name.startswith(".")}
            self._system.invalidate_cache()  # what others have written since
            return {each.rstrip("/").rpartition("/")[2] for each in self._system.ls(path, detail=False)}
        except FileNotFoundError:
            return set()
