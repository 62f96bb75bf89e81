"""Laws of what a header declares: more than the file can hold is refused at once, whatever it is read for."""

from __future__ import annotations

import gzip
import struct
import time
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from maskrcnn.images import declared, tiff_file
from maskrcnn.images.files import MAX_PIXELS
from maskrcnn.images.images import count_planes, decoded_size, read_image, read_planes, read_size
from maskrcnn.images.opening import image_size, open_large, survey
from maskrcnn.images.sizes import measure_images

READERS = (
    read_image,
    read_size,
    decoded_size,
    image_size,
    open_large,
    lambda path: list(read_planes(path)),
)
GREY = np.random.default_rng(0).integers(0, 256, (64, 48), np.uint8)


def small_tiff(path: Path, changes: dict[str, int], **options: object) -> Path:
    """A TIFF of 64 × 48 whose tags declare something else."""
    tifffile.imwrite(path, GREY, metadata=None, **options)
    with tifffile.TiffFile(path, mode="r+b") as file:
        for name, value in changes.items():
            file.pages[0].tags[name].overwrite(value, dtype="I")
    return path


def png(path: Path, width: int, height: int, bits: int, rows: bytes) -> Path:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
    )
    return path


def nifti(path: Path, shape: tuple[int, int, int], stored: int) -> Path:
    nibabel = pytest.importorskip("nibabel", reason="the extra `medical` is not installed")
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape(shape)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    content = header.binaryblock + bytes(4) + bytes(stored)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def dicom(path: Path, num_frames: int, rows: int) -> Path:
    pytest.importorskip("pydicom", reason="the extra `medical` is not installed")
    from medical_files import write_dicom

    return write_dicom(path, np.zeros((4, 4), np.uint8), NumberOfFrames=num_frames, Rows=rows)


SIDE = 13_000
HOSTILE = {
    "wide.tif": lambda path: small_tiff(path, {"ImageWidth": 2**32 - 1}),
    "both.tif": lambda path: small_tiff(path, {"ImageWidth": 2**32 - 1, "ImageLength": 2**32 - 1}),
    "strips.tif": lambda path: small_tiff(path, {"ImageLength": 2**31}, rowsperstrip=8, compression="zlib"),
    "one strip.tif": lambda path: small_tiff(
        path, {"ImageLength": SIDE, "ImageWidth": SIDE, "RowsPerStrip": SIDE}, compression="zlib"
    ),
    "tiles.tif": lambda path: small_tiff(path, {"ImageLength": 2**30, "ImageWidth": 2**30}, tile=(16, 16), compression="zlib"),
    "one tile.tif": lambda path: small_tiff(
        path, {"TileWidth": 2**20, "TileLength": 2**20, "ImageWidth": 2**20}, tile=(64, 48), compression="zlib"
    ),
    "big.tif": lambda path: small_tiff(path, {"ImageWidth": 2**32 - 1, "ImageLength": 2**32 - 1}, bigtiff=True),
    "deep.png": lambda path: png(path, SIDE, SIDE, 16, bytes(2000)),
    "long.png": lambda path: png(path, 10, MAX_PIXELS // 10, 8, bytes(2000)),
    "long.nii": lambda path: nifti(path, (32_000, 32_000, 32_000), 100),
    "long.nii.gz": lambda path: nifti(path, (300, 300, 30_000), 100),
    "frames.dcm": lambda path: dicom(path, 2**31 - 1, 4),
    "rows.dcm": lambda path: dicom(path, 1, 65_535),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_more_than_a_file_can_hold_is_refused_at_once_and_without_memory(tmp_path, name):
    path = HOSTILE[name](tmp_path / name)
    for read in READERS:
        with pytest.raises(ValueError, match=name):  # once, so that modules are imported
            read(path)
    tracemalloc.start()
    start = time.perf_counter()
    for read in READERS:
        with pytest.raises(ValueError, match=name) as error:
            read(path)
        assert "\n" not in str(error.value)
    assert count_planes(path) == 1 and not survey(path, tile=64).is_for_tiles
    assert isinstance(measure_images([path], decode=True)[0], ValueError)
    seconds, (_, peak) = time.perf_counter() - start, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 4.0 and peak < 20e6  # eight readers


def test_an_ome_tiff_of_a_thousand_million_planes_is_refused_at_once(tmp_path):
    tifffile.imwrite(tmp_path / "a.ome.tif", np.zeros((12, 8, 8), np.uint8), photometric="minisblack", metadata={"axes": "ZYX"})
    content = (tmp_path / "a.ome.tif").read_bytes()
    creator = content[content.index(b"Creator=") : content.index(b"<Image ") - 1]
    assert content.count(b'SizeZ="12"') == 1 and len(creator) > 7
    content = content.replace(creator, b" " * (len(creator) - 7)).replace(b'SizeZ="12"', b'SizeZ="999999999"')
    (tmp_path / "a.ome.tif").write_bytes(content)
    start = time.perf_counter()
    with pytest.raises(ValueError, match="planes"):
        list(read_planes(tmp_path / "a.ome.tif"))
    assert time.perf_counter() - start < 2.0


def test_what_does_not_fit_in_memory_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    Image.new("I;16", (800, 800)).save(tmp_path / "a.png")
    monkeypatch.setattr(declared, "_SMALL", 0)
    monkeypatch.setattr(declared, "available", lambda: 1_000_000)
    with pytest.raises(ValueError, match=r"a\.png: decoding 800×800 pixels whole takes about .* GB of memory.*--tile N"):
        read_image(tmp_path / "a.png")
    assert read_size(tmp_path / "a.png") == (800, 800)
    monkeypatch.setenv("MASKRCNN_MEMORY_CHECK", "off")
    assert decoded_size(tmp_path / "a.png") == (800, 800)


@pytest.mark.parametrize("compression", ["zlib", "lzma", "zstd", "lzw", "packbits", None])
@pytest.mark.parametrize("options", [{}, {"tile": (256, 256)}, {"rowsperstrip": 7}])
def test_the_best_compression_of_a_real_file_is_not_refused(tmp_path, compression, options):
    pytest.importorskip("imagecodecs", reason="the extra `large` is not installed")
    values = np.zeros((1000, 800), np.uint8)
    tifffile.imwrite(
        tmp_path / "a.tif",
        values,
        compression=compression,
        compressionargs={"level": 9} if compression in ("zlib", "lzma") else None,
        **options,
    )
    assert read_image(tmp_path / "a.tif").shape == (1000, 800, 3)
    Image.fromarray(values).save(tmp_path / "a.png", compress_level=9)
    assert read_image(tmp_path / "a.png").shape == (1000, 800, 3)


def test_a_sparse_tiff_is_blank_where_it_has_no_tiles(tmp_path, monkeypatch):
    pytest.importorskip("zarr", reason="the extra `large` is not installed")
    values = np.zeros((1024, 2048), np.uint8)
    values[-1, -1] = 9
    tifffile.imwrite(tmp_path / "a.tif", values, tile=(512, 512), compression="zlib", metadata=None)
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as file:
        for name in ("TileOffsets", "TileByteCounts"):
            tag = file.pages[0].tags[name]
            tag.overwrite((*[0] * 7, tag.value[7]))
    monkeypatch.setattr(tiff_file, "SMALL", 100)
    with open_large(tmp_path / "a.tif") as image:
        shown = image.read((0, 0, 2048, 1024))
    assert shown[-1, -1, 0] == 9 and np.count_nonzero(shown) == 3
