"""The bytes of one file, opened once, whatever reads them: of a path, of memory, or of a file that is open already."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import BinaryIO, cast

from maskrcnn.images.files import errors_in_one_line
from maskrcnn.images.parquet_rows import read_row

FileLike = str | Path | bytes | bytearray | memoryview | BinaryIO | io.RawIOBase | io.BufferedIOBase
MAX_MEMBER_BYTES = 1 << 29  # of an image in a tar or Parquet file
_MEMBER = re.compile(r"(.+\.(?:tar|parquet))#(\d{1,18})\+(\d{1,18})/[^/]*", re.IGNORECASE)
_START = 352  # bytes that are enough to recognize every format: NIfTI's header is the longest


class Content:
    """A file that is open.

    Attributes:
        name: of the file, as errors say it.
        path: where it is on the disk; None of bytes and of open files.
        file: the open file, to be sought before it is read.
        length: in bytes.
        start: the first bytes.
        repaired: what was missing of a file whose pixels are all there, once they were decoded; "" of one that is whole.
    """

    def __init__(self, source: FileLike) -> None:
        """Opens a path; bytes and open files are taken as they are, and open files stay open.

        Raises:
            ValueError: for a path that cannot be opened, and for bytes without content; one line.
        """
        self.path = Path(source) if isinstance(source, (str, Path)) else None
        if isinstance(source, (str, Path)):
            self.name = str(source)
            with errors_in_one_line(self.name):
                self.file: BinaryIO = _open_member(self.name) or open(source, "rb")  # noqa: SIM115 - `close` closes it
        elif isinstance(source, (bytes, bytearray, memoryview)):
            self.name, self.file = f"the {len(source):,} bytes", io.BytesIO(source)
        else:
            self.name, self.file = str(getattr(source, "name", "the open file")), cast(BinaryIO, source)
        self.repaired = ""
        self._is_own = self.path is not None
        with errors_in_one_line(self.name):
            self.length = self.file.seek(0, io.SEEK_END)
            self.start = self.read(0, _START)

    @property
    def suffix(self) -> str:
        """Of the name, in lower case: ".png"."""
        return Path(self.name).suffix.lower()

    def read(self, offset: int = 0, count: int = -1) -> bytes:
        """So many bytes from a place on; all of them where nothing else is said."""
        self.file.seek(offset)
        return self.file.read(count)

    def close(self) -> None:
        """Closes what was opened here."""
        if self._is_own:
            self.file.close()


def member_path(file: Path, first: int, second: int, name: str) -> Path:
    """The path by which `Content` reads an image that lies in another file.

    TAR#OFFSET+LENGTH/NAME of a tar file that is not compressed; PARQUET#GROUP+ROW/NAME, see `parquet_rows.read_row`.
    """
    return Path(f"{file}#{first}+{second}/{name}")


def is_member(path: str) -> bool:
    """Whether it is such a path."""
    return _MEMBER.fullmatch(path) is not None


def _open_member(path: str) -> BinaryIO | None:
    """The bytes of an image in a tar or Parquet file; None of every other path."""
    match = _MEMBER.fullmatch(path)
    if match is None or Path(path).is_file():
        return None
    if match[1].lower().endswith(".parquet"):
        return io.BytesIO(read_row(Path(match[1]), int(match[2]), int(match[3]), MAX_MEMBER_BYTES))
    offset, length = int(match[2]), int(match[3])
    if length > MAX_MEMBER_BYTES:
        raise ValueError(f"it has more than {MAX_MEMBER_BYTES >> 20} MB")
    with open(match[1], "rb", buffering=0) as tar:
        tar.seek(offset)
        content = tar.read(length)
    if len(content) < length:
        raise ValueError(f"{match[1]} is shorter than it was")
    return io.BytesIO(content)
