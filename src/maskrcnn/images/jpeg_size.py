"""The size of a JPEG from its first bytes, for data sets of a hundred thousand: a fifth of the time that opening it takes."""

from __future__ import annotations

import os
from pathlib import Path

from maskrcnn.images.declared import JPEG
from maskrcnn.images.files import MAX_PIXELS

_HEADER = 4096  # bytes; a header without a preview has about 650
_FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended, progressive: ITU-T T.81, table B.1
_SCAN = 0xDA
_PASSED_OVER = {0xC4, 0xDB, 0xDD, 0xE0, 0xEE, 0xFE}  # tables, restart interval, JFIF, Adobe, comment


def plain_jpeg_size(path: Path) -> tuple[int, int] | None:
    """(height, width) of a JPEG whose header is whole and says nothing of being turned; None of any other file.

    EXIF and XMP, which may turn an image, are left to Pillow, and so is a size that the file's bytes cannot hold.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            head, length = file.read(_HEADER), os.fstat(file.fileno()).st_size
    except OSError:
        return None
    if not head.startswith(b"\xff\xd8"):
        return None
    size, place = None, 2
    while place + 10 <= len(head) and head[place] == 0xFF:
        marker = head[place + 1]
        if marker == _SCAN:
            return size
        if marker in _FRAMES and size is None and head[place + 4] == 8:
            size = int.from_bytes(head[place + 5 : place + 7], "big"), int.from_bytes(head[place + 7 : place + 9], "big")
            if not 0 < size[0] * size[1] <= min(JPEG * length, MAX_PIXELS) or head[place + 9] not in (1, 3, 4):
                return None
        elif marker not in _PASSED_OVER:
            return None
        place += 2 + max(int.from_bytes(head[place + 2 : place + 4], "big"), 2)
    return None
