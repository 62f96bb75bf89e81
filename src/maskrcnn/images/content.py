"""The bytes of one file, opened once, whatever reads them: of a path, of memory, or of a file that is open already."""

from __future__ import annotations

import io
from pathlib import Path
from typing import BinaryIO, cast

from maskrcnn.images.files import errors_in_one_line

FileLike = str | Path | bytes | bytearray | memoryview | BinaryIO | io.RawIOBase | io.BufferedIOBase
_START = 352  # bytes that are enough to recognise every format: NIfTI's header is the longest


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
                self.file: BinaryIO = open(source, "rb")  # noqa: SIM115 - `close` closes it
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
