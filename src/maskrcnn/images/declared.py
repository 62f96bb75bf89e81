"""What a file declares, held against the bytes that are there, before anything is planned, allocated or decoded.

A header of a few bytes can declare billions of pixels. Every compression has a best ratio, which bounds what the stored bytes
can become; formats without such a bound (JPEG 2000, WebP, zstd with long runs) are bounded by the free memory alone.
"""

from __future__ import annotations

import math
from typing import Any
from xml.etree import ElementTree

from maskrcnn.images.files import check_size
from maskrcnn.resources import SHARE, SWITCH, available, gigabytes, is_checked

DEFLATE = 1032  # 258 bytes for 2 bits: RFC 1951, section 3.2.5
PACKBITS = 64  # 128 bytes for 2
LZW = 1400  # 3,836 codes of 9 to 12 bits between two clear codes (TIFF 6.0, section 13): 7.36 million bytes from 5,403
JPEG = 512  # pixels a byte: one bit for a block of 8 × 8, the first scan of progressive JPEG (ITU-T T.81, annex G)
# By TIFF's number of the compression; LZMA's and zstd's are measured on zeros, and doubled
TIFF_RATIOS = {1: 1, 5: LZW, 8: DEFLATE, 32946: DEFLATE, 32773: PACKBITS, 34925: 16_384, 50000: 65_536}
MAX_PLANES = 1_000_000  # of a file
MAX_REGION_PIXELS = 10**12  # of an image that is read in regions; the largest slides have a tenth of that
_SPARSE = 100_000  # pixels for each stored byte of a zarr array, whose empty chunks are not stored
_YCBCR = 6  # photometric interpretation of TIFF
_SMALL = 256_000_000  # bytes up to which the free memory is not looked up


def check_stored(declared: int, stored: int, ratio: int) -> None:
    """Refuses pixels that cannot come from the bytes that are stored.

    Args:
        declared: bytes of pixels by the header.
        stored: bytes of the file that may hold them.
        ratio: what one stored byte becomes at most.

    Raises:
        ValueError: they cannot.
    """
    if declared > stored * ratio:
        raise ValueError(f"its header declares {declared:,} bytes of pixels, and its {stored:,} bytes cannot hold them")


def check_planes(count: int) -> None:
    """Refuses more planes than any file has, before they are listed."""
    if count > MAX_PLANES:
        raise ValueError(f"its header declares {count:,} planes; files of up to {MAX_PLANES:,} are read")


def check_region_size(height: int, width: int) -> None:
    """Refuses an image whose tiles would be too many to plan."""
    if height * width > MAX_REGION_PIXELS:
        raise ValueError(f"its header declares {width}×{height} pixels; up to {MAX_REGION_PIXELS:,} are read")


def check_sparse(pixels: int, stored: int) -> None:
    """Refuses a zarr array that has next to nothing stored for what it declares."""
    if pixels > max(stored, 1) * _SPARSE:
        raise ValueError(f"its header declares {pixels:,} pixels, and {stored:,} bytes are stored")


def check_memory(size: tuple[int, int], channels: int, bytes_a_value: int) -> None:
    """Refuses an image that does not fit in the free memory when it is decoded whole.

    Args:
        size: (height, width).
        channels: of the file.
        bytes_a_value: of the file.

    Raises:
        ValueError: it does not fit; the reason names what reads it in parts.
    """
    check_size(*size)
    # Values are held by the decoder, by NumPy and as RGB; those of more than 16 bits as floats too, while they are stretched.
    values = math.prod(size) * channels
    needed = 3 * bytes_a_value * values + (4 * math.prod(size) if bytes_a_value <= 2 else 12 * values)
    if needed < _SMALL or not is_checked():
        return
    if needed > SHARE * (free := available()):
        raise ValueError(
            f"decoding {size[1]}×{size[0]} pixels whole takes about {gigabytes(needed)} of memory, and {gigabytes(free)} are "
            f"free; --tile N (maskrcnn.detect_large in Python) looks at it in parts, and {SWITCH}=off tries all the same"
        )


def check_tiff(file: Any) -> None:
    """What `check_tiff_page` and `check_ome` do, for an open file of tifffile."""
    check_tiff_page(file.pages[0], file.filehandle.size)
    if file.is_ome:
        check_ome(file.ome_metadata)


def check_tiff_page(page: Any, length: int) -> None:
    """Refuses a page of TIFF whose strips or tiles cannot be in the file.

    Segments without bytes are blank, as GDAL writes sparse files.

    Args:
        page: of tifffile.
        length: of the file, in bytes.

    Raises:
        ValueError: they cannot.
    """
    page = page.keyframe
    height, width = page.imagelength * page.imagedepth, page.imagewidth
    check_region_size(height, width)
    separate = page.samplesperpixel if page.planarconfig == 2 else 1
    bits = page.bitspersample * page.samplesperpixel // separate
    if page.is_tiled:
        down, across = -(-page.imagelength // page.tilelength), -(-width // page.tilewidth)
        needed = down * across * -(-page.imagedepth // page.tiledepth) * separate
        declared = needed * page.tilelength * page.tiledepth * -(-page.tilewidth * bits // 8)
    else:
        needed = -(-height // max(1, min(page.rowsperstrip, height))) * separate
        declared = height * -(-width * bits // 8) * separate
    if page.photometric == _YCBCR:
        declared //= 3  # colors may be stored once for several pixels
    compression, counts = int(page.compression), page.databytecounts
    held = [min(count, length - offset) for offset, count in zip(page.dataoffsets, counts) if count > 0 and offset < length]
    if not held and any(counts):
        raise ValueError("it is cut off: its strips or tiles lie behind its end")
    if compression != 1 and needed > max(len(counts), 1):
        raise ValueError(f"its header declares {needed:,} strips or tiles, and lists {len(counts):,}")
    if compression in TIFF_RATIOS:
        stored = length if compression == 1 else sum(held)  # ImageJ's counts of more than 4 GB do not fit in their field
        check_stored(declared * len(held) // max(len(counts), 1), stored, TIFF_RATIOS[compression])


def check_ome(description: str) -> None:
    """Refuses OME-XML whose planes tifffile would list one by one, whatever the file holds.

    Args:
        description: OME-XML; what is none is left to tifffile, which says so.
    """
    try:
        root = ElementTree.fromstring(description)
    except ElementTree.ParseError:
        return
    for pixels in root.iter():
        if not pixels.tag.endswith("Pixels"):
            continue
        lengths = {axis: int(pixels.get(f"Size{axis}", 1)) for axis in "ZCT"}
        check_planes(math.prod(map(abs, lengths.values())))
        for part in pixels.iter():
            numbers = (int(part.get(name, 0)) for name in ("IFD", "PlaneCount", "NumPlanes"))
            check_planes(max(map(abs, numbers)))
            if any(int(part.get(f"First{axis}", 0)) > length for axis, length in lengths.items()):
                raise ValueError("its OME-XML names planes beyond the size that it declares")
