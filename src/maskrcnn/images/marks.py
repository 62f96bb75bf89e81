"""The marks at the beginning of files, which say what they are whatever their names."""

from __future__ import annotations

_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")  # brands: ISO/IEC 23008-12, annex B
_AVIF = (b"avif", b"avis")
_VIDEO = "it is a video, of which `maskrcnn track` takes each frame"
# At which byte, which bytes, and what such a file is; the sentences follow "Cannot read x.png: ".
_KNOWN: tuple[tuple[int, bytes, str], ...] = (
    (0, b"%!PS", "it is an EPS or PostScript file, which is not read; save it as PNG"),
    (0, b"\xc5\xd0\xd3\xc6", "it is an EPS file, which is not read; save it as PNG"),
    (0, b"%PDF", "it is a PDF file, which is not read; save its pages as PNG"),
    (0, b"\xd7\xcd\xc6\x9a", "it is a WMF file, which is not read; save it as PNG"),
    (40, b" EMF", "it is an EMF file, which is not read; save it as PNG"),
    (0, b"<svg", "it is an SVG file, which has no pixels; save it as PNG"),
    (0, b"PK\x03\x04", "it is a ZIP archive; unpack it first"),
    (0, b"\x1aE\xdf\xa3", _VIDEO),  # Matroska and WebM
    (8, b"AVI ", _VIDEO),
    (0, b"FLV", _VIDEO),
    (0, b"\0\0\x01\xba", _VIDEO),  # MPEG program stream
)


def described(start: bytes) -> str | None:
    """What a file is that is no image of a listed format, from its first 64 bytes: "HEIC", or a reason not to read it."""
    if start[4:8] == b"ftyp":
        brands = start[8:12], *(start[k : k + 4] for k in range(16, min(int.from_bytes(start[:4], "big"), len(start)), 4))
        if any(brand in _AVIF for brand in brands):
            return None
        return "HEIC" if any(brand in _HEIC for brand in brands) else _VIDEO
    return next((text for place, mark, text in _KNOWN if start[place : place + len(mark)] == mark), None)
