"""Laws of regions: whatever an image lies in, a region is the part of the whole that it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from maskrcnn.images import large, opened, opening, tiff_file
from maskrcnn.images.images import read_image
from maskrcnn.images.large import reduced, sampled_regions
from maskrcnn.images.opening import image_size, is_large, open_large, survey

zarr = pytest.importorskip("zarr", reason="the extra `large` is not installed")
WINDOWS = [(0, 0, 60, 50), (37, 20, 101, 90), (90, 70, 120, 97)]  # left, top, right, bottom; corner, across, other corner
RGB = np.random.default_rng(0).integers(0, 256, (97, 120, 3), np.uint8)
GREY = RGB[:, :, 0]


@pytest.fixture(autouse=True)
def _nothing_is_read_whole(monkeypatch):
    monkeypatch.setattr(tiff_file, "SMALL", 100)


def write(path: Path, kind: str, image: np.ndarray) -> Path:
    rgb = {"photometric": "rgb"} if image.ndim == 3 else {}
    if kind == "tiles":
        tifffile.imwrite(path, image, tile=(32, 48), compression="zlib", **rgb)
    elif kind == "strips":
        tifffile.imwrite(path, image, rowsperstrip=16, compression="zlib", **rgb)
    elif kind == "one strip":
        tifffile.imwrite(path, image, rowsperstrip=len(image), compression="zlib", **rgb)
    elif kind == "uncompressed":
        tifffile.imwrite(path, image, **rgb)
    elif kind == "planar":
        tifffile.imwrite(path, np.moveaxis(image, 2, 0), tile=(32, 48), compression="zlib", planarconfig="separate", **rgb)
    elif kind == "pyramid":
        with tifffile.TiffWriter(path, bigtiff=True) as writer:
            options = {"tile": (32, 32), "compression": "zlib", **rgb}
            writer.write(image, subifds=1, **options)
            writer.write(image[::2, ::2], subfiletype=1, **options)
    elif kind == "OME":
        with tifffile.TiffWriter(path, ome=True) as writer:
            writer.write(image, tile=(32, 32), compression="zlib", **rgb)
    elif kind == "npy":
        path = path.with_suffix(".npy")
        np.save(path, image)
    elif kind == "png":
        path = path.with_suffix(".png")
        Image.fromarray(image).save(path)
    elif kind == "zarr":
        path = path.with_suffix(".zarr")
        zarr.create_array(store=path, data=image, chunks=(32,) * 2 + image.shape[2:])
    elif kind == "OME-Zarr":
        path = path.with_suffix(".zarr")
        group = zarr.create_group(store=path)
        data = np.moveaxis(image, 2, 0)[None, :, None]  # T, C, Z, Y, X
        group.create_array("0", data=data, chunks=(1, 1, 1, 32, 32))
        group.create_array("1", data=data[..., ::2, ::2])
        axes = [{"name": name} for name in "tczyx"]
        group.attrs["ome"] = {"multiscales": [{"axes": axes, "datasets": [{"path": "0"}, {"path": "1"}]}]}
    return path


KINDS = ["tiles", "strips", "one strip", "uncompressed", "planar", "pyramid", "OME", "npy", "png", "zarr", "OME-Zarr"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_window_is_that_part_of_the_image(tmp_path, kind):
    path = write(tmp_path / "image.tif", kind, RGB)
    assert image_size(path) == RGB.shape[:2]
    with open_large(path) as image:
        assert image.size == RGB.shape[:2]
        for left, top, right, bottom in WINDOWS:
            np.testing.assert_array_equal(image.read((left, top, right, bottom)), RGB[top:bottom, left:right])


@pytest.mark.parametrize("kind", ["tiles", "strips", "uncompressed", "npy", "png", "zarr"])
def test_deep_windows_are_stretched_as_the_whole_image_is(tmp_path, kind):
    deep = (33_000 + 7 * GREY.astype(np.uint16)).astype(np.uint16)
    deep[50, 60] = 65_535  # a hot pixel, outside of the first region
    path = write(tmp_path / "image.tif", kind, deep)
    tifffile.imwrite(tmp_path / "whole.tif", deep)
    whole = read_image(tmp_path / "whole.tif")
    with open_large(path) as image:
        for left, top, right, bottom in WINDOWS:
            np.testing.assert_array_equal(image.read((left, top, right, bottom)), whole[top:bottom, left:right])


def test_windows_with_holes_are_stretched_as_the_whole_image_is(tmp_path):
    values = GREY.astype(np.float32) - 500
    values[:20], values[40:50], values[60:70] = np.nan, np.inf, -np.inf
    tifffile.imwrite(tmp_path / "whole.tif", values)
    with open_large(write(tmp_path / "image.tif", "tiles", values)) as image:
        np.testing.assert_array_equal(image.read((10, 5, 110, 90)), read_image(tmp_path / "whole.tif")[5:90, 10:110])
        assert image.read((0, 20, 120, 40)).std() > 50


def test_windows_of_a_large_deep_image_agree_where_they_overlap(monkeypatch):
    monkeypatch.setattr(large, "_SAMPLED", 2000)
    monkeypatch.setattr(large, "_SAMPLE_SIDE", 16)
    gradient = np.linspace(1000, 9000, 200 * 300).reshape(200, 300).astype(np.uint16)  # each region has another range
    image = open_large(gradient)
    upper, lower = image.read((0, 0, 300, 120)), image.read((0, 80, 300, 200))
    np.testing.assert_array_equal(upper[80:], lower[:40])
    assert upper.min() < 10 and lower.max() > 245  # and the sample stands for the whole


def test_sampled_squares_are_spread_over_the_image():
    regions = np.array(sampled_regions((30_000, 10_000)))
    pixels = ((regions[:, 2] - regions[:, 0]) * (regions[:, 3] - regions[:, 1])).sum()
    assert 3e6 < pixels < 6e6
    assert (
        regions[:, 0].min() < 700 and regions[:, 2].max() > 9_300 and regions[:, 1].min() < 700 and regions[:, 3].max() > 29_300
    )
    assert sampled_regions((300, 200)) == [(0, 0, 200, 300)]


def test_each_channel_may_have_a_stretch_of_its_own():
    values = np.stack([np.linspace(0, 100, 1000), np.linspace(0, 60_000, 1000)], axis=1).reshape(20, 50, 2).astype(np.uint16)
    shown = open_large(values, channels=2, scaling="each_channel").read((0, 0, 50, 20))
    assert shown[..., 0].max() == shown[..., 1].max() == 255
    assert open_large(values, channels=2).read((0, 0, 50, 20))[..., 0].max() < 2


def test_grey_becomes_three_channels_and_transparency_goes(tmp_path):
    np.testing.assert_array_equal(open_large(GREY).read((3, 4, 9, 9)), np.repeat(GREY[4:9, 3:9, None], 3, axis=2))
    tifffile.imwrite(
        tmp_path / "alpha.tif", np.dstack([RGB, GREY]), tile=(32, 32), compression="zlib", photometric="rgb", extrasamples=[2]
    )
    with open_large(tmp_path / "alpha.tif") as image:
        np.testing.assert_array_equal(image.read((3, 4, 9, 9)), RGB[4:9, 3:9])


def test_what_a_tiffs_pixels_alone_do_not_show_is_read_as_every_image(tmp_path):
    Image.fromarray(RGB).quantize(16).save(tmp_path / "palette.tif", compression="tiff_deflate")
    tifffile.imwrite(tmp_path / "white.tif", GREY, tile=(32, 32), compression="zlib", photometric="miniswhite")
    for name in ("palette.tif", "white.tif"):
        with open_large(tmp_path / name) as image:
            np.testing.assert_array_equal(image.read((3, 4, 90, 80)), read_image(tmp_path / name)[4:80, 3:90])


def test_strips_are_decoded_once_for_a_row_of_windows(tmp_path):
    with open_large(write(tmp_path / "image.tif", "strips", RGB)) as image:
        cut, calls = image._cut, []
        image._cut = lambda region: calls.append(region) or cut(region)
        for left in range(0, 120, 30):
            image.read((left, 10, left + 30, 40))
        assert len(calls) == 1


def test_slides_are_read_at_their_largest_level(tmp_path):
    pytest.importorskip("tiffslide")
    path = tmp_path / "slide.svs"
    with tifffile.TiffWriter(path) as writer:
        options = {"tile": (64, 64), "compression": "zlib", "photometric": "rgb", "metadata": None}
        about = "Aperio Image Library v11\r\n120x97 [0,0 120x97] (64x64)|AppMag = 20|MPP = 0.5"
        writer.write(RGB, description=about, **options)
        writer.write(RGB[::4, ::4].copy(), description=about, photometric="rgb", metadata=None)
    assert is_large(path) and image_size(path) == (97, 120)
    with open_large(path) as image:
        np.testing.assert_array_equal(image.read((37, 20, 101, 90)), RGB[20:90, 37:101])


def test_jpeg_in_a_tiff_is_colours_again(tmp_path):
    pytest.importorskip("imagecodecs")
    smooth = np.dstack([np.add.outer(np.arange(96), np.arange(128)), *np.meshgrid(np.arange(128), np.arange(96))]).astype(
        np.uint8
    )
    tifffile.imwrite(tmp_path / "jpeg.tif", smooth, tile=(32, 32), compression="jpeg", photometric="rgb")
    with tifffile.TiffFile(tmp_path / "jpeg.tif") as file:
        assert file.pages[0].photometric == 6  # YCbCr, as tifffile writes it
    with open_large(tmp_path / "jpeg.tif") as image:
        np.testing.assert_allclose(image.read((5, 6, 90, 80)).astype(int), smooth[6:80, 5:90], atol=12)


def test_a_small_copy_is_the_mean_of_squares():
    large = np.random.default_rng(1).integers(0, 256, (250, 333, 3), np.uint8)
    small, factor = reduced(open_large(large), 50)
    assert factor == 7 and small.shape == (35, 47, 3)
    blocks = large[:245, :329].reshape(35, 7, 47, 7, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(small, blocks, atol=0.51)


def test_what_is_large(tmp_path, monkeypatch):
    path = write(tmp_path / "image.tif", "tiles", RGB)
    assert not is_large(path) and not is_large(tmp_path / "none.tif")
    assert [survey(path, tile=tile).is_for_tiles for tile in (64, 0, 120)] == [True, False, False]
    monkeypatch.setattr(opening, "LARGE", 97 * 120)
    assert is_large(path) and survey(path, tile=None).is_for_tiles and not survey(path, tile=0).is_for_tiles
    assert is_large(write(tmp_path / "z", "zarr", RGB))
    tifffile.imwrite(tmp_path / "stack.tif", np.stack([GREY] * 4), photometric="minisblack")
    assert not survey(tmp_path / "stack.tif", tile=64).is_for_tiles  # planes go the way of planes


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.zeros((3, 4, 5, 3)), "An image is an .H, W. or .H, W, C. array; received shape .3, 4, 5, 3."),
        (np.zeros((30, 40, 5), np.uint8), "The array has 5 channels and the model takes 3."),
        (np.zeros((30, 40), complex), "holds no image"),
        (Path("none.tif"), "Cannot read none.tif: there is no such file."),
    ],
)
def test_what_is_no_image_is_refused_in_one_line(source, message):
    with pytest.raises(ValueError, match=message) as caught:
        open_large(source)
    assert "\n" not in str(caught.value)


def test_several_planes_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "stack.tif", np.stack([GREY] * 7), tile=(32, 32), compression="zlib", photometric="minisblack")
    with pytest.raises(ValueError, match="wanted is one plane"):
        open_large(tmp_path / "stack.tif")
    with tifffile.TiffWriter(tmp_path / "two.tif") as tiff:
        for _ in range(2):
            tiff.write(GREY, tile=(32, 32), compression="zlib")
    with pytest.raises(ValueError, match=r"two\.tif: it holds several images"):
        open_large(tmp_path / "two.tif")


def test_what_can_only_be_decoded_whole_has_a_limit(tmp_path, monkeypatch):
    path = write(tmp_path / "image.tif", "png", RGB)
    monkeypatch.setattr(opened, "MAX_PIXELS", 1000)
    with pytest.raises(ValueError, match="million pixels and can only be decoded whole; convert it to a tiled TIFF"):
        open_large(path)


def test_a_cut_off_file_is_one_line(tmp_path):
    path = write(tmp_path / "image.tif", "tiles", np.random.default_rng(0).integers(0, 256, (400, 400, 3), np.uint8))
    content = path.read_bytes()
    at = content.rindex(b"x\x9c")  # the last tile's compressed data
    path.write_bytes(content[: at + 10] + bytes(200) + content[at + 210 :])
    with open_large(path) as image, pytest.raises(ValueError, match=r"Cannot read .*image\.tif"):
        image.read((0, 0, 400, 400))


def test_an_absent_extra_says_what_to_install(tmp_path, monkeypatch):
    path = write(tmp_path / "image.tif", "tiles", RGB)
    monkeypatch.setitem(__import__("sys").modules, "zarr", None)
    with pytest.raises(ImportError, match=r'needs zarr, which is not installed: pip install "maskrcnn\[large\]"'):
        open_large(path)
