"""Laws of reading images."""

from __future__ import annotations

import sys

import cv2
import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image

from maskrcnn.images.files import MAX_PIXELS, find_images, search_images
from maskrcnn.images.images import decoded_size, read_image, read_label_map, read_size, read_values
from maskrcnn.images.opening import is_slide
from maskrcnn.images.values import to_channels

PIXELS = cv2.resize(np.random.default_rng(0).integers(0, 256, (3, 4, 3), np.uint8), (30, 20))  # (20, 30, 3) RGB, smooth


def same(read: np.ndarray, wanted: np.ndarray, *, within: float = 0) -> bool:
    return read.shape == wanted.shape and float(np.abs(read.astype(int) - wanted.astype(int)).mean()) <= within


@pytest.mark.parametrize(
    ("name", "within"), [("a.png", 0), ("a.bmp", 0), ("a.tif", 0), ("a.webp", 6), ("a.jpg", 6), ("a.JPEG", 6)]
)
def test_every_kind_of_file_gives_its_pixels_as_rgb(tmp_path, name, within):
    Image.fromarray(PIXELS).save(tmp_path / name)
    image = read_image(tmp_path / name)
    assert image.dtype == np.uint8 and image.flags.c_contiguous
    assert same(image, PIXELS, within=within)
    assert read_size(tmp_path / name) == (20, 30)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
def test_exif_rotation_is_applied(tmp_path, name, orientation):
    upright = {
        1: PIXELS,
        2: PIXELS[:, ::-1],
        3: PIXELS[::-1, ::-1],
        4: PIXELS[::-1],
        5: PIXELS.swapaxes(0, 1),
        6: np.rot90(PIXELS, -1),
        7: PIXELS[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(PIXELS),
    }[orientation]
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.fromarray(PIXELS).save(tmp_path / name, exif=exif)
    assert same(read_image(tmp_path / name), upright, within=6 if name == "a.jpg" else 0)
    assert read_size(tmp_path / name) == upright.shape[:2]


@pytest.mark.parametrize("orientation", [3, 6])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32, np.uint64, "rgb float"])
def test_an_uncompressed_tiff_is_turned_in_any_depth(tmp_path, kind, orientation):
    values = PIXELS.astype(np.float32) if kind == "rgb float" else PIXELS[:, :, 0].astype(kind)
    options = {"metadata": None, "photometric": "rgb" if values.ndim == 3 else "minisblack"}
    tifffile.imwrite(tmp_path / "turned.tif", values, extratags=[(274, "H", 1, orientation, True)], **options)
    tifffile.imwrite(tmp_path / "upright.tif", np.rot90(values, {3: 2, 6: -1}[orientation]), **options)
    assert same(read_image(tmp_path / "turned.tif"), read_image(tmp_path / "upright.tif"))
    assert read_size(tmp_path / "turned.tif") == read_image(tmp_path / "upright.tif").shape[:2]


def test_a_palette_gives_its_colours(tmp_path):
    image = Image.fromarray(PIXELS).quantize(16)
    image.save(tmp_path / "a.png")
    assert image.mode == "P"
    assert same(read_image(tmp_path / "a.png"), np.asarray(image.convert("RGB")))


def test_alpha_is_dropped(tmp_path):
    alpha = np.random.default_rng(1).integers(0, 256, (20, 30), np.uint8)
    Image.fromarray(np.dstack([PIXELS, alpha])).save(tmp_path / "a.png")
    assert same(read_image(tmp_path / "a.png"), PIXELS)


def test_grey_becomes_three_equal_channels(tmp_path):
    Image.fromarray(PIXELS[:, :, 0]).save(tmp_path / "grey.png")
    assert same(read_image(tmp_path / "grey.png"), np.repeat(PIXELS[:, :, :1], 3, axis=2))
    Image.fromarray(PIXELS[:, :, 0] > 128).save(tmp_path / "bits.png")
    assert same(read_image(tmp_path / "bits.png"), np.repeat((PIXELS[:, :, :1] > 128) * 255, 3, axis=2))


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_16_bits_keep_their_contrast_in_a_narrow_range(tmp_path, name):
    ramp = np.linspace(33_000, 35_000, 600).reshape(20, 30).astype(np.uint16)
    cv2.imwrite(str(tmp_path / name), ramp)
    image = read_image(tmp_path / name)
    assert image.min() == 0 and image.max() == 255
    assert (np.diff(image[:, :, 0].ravel().astype(int)) >= 0).all()


def test_a_few_hot_pixels_do_not_darken_16_bits(tmp_path):
    ramp = np.linspace(33_000, 35_000, 6000).reshape(60, 100).astype(np.uint16)
    ramp[5, 5] = 65_535
    cv2.imwrite(str(tmp_path / "a.png"), ramp)
    assert 120 < np.median(read_image(tmp_path / "a.png")) < 136


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64, np.float32])
def test_values_of_a_tiff_keep_their_sign_and_size(tmp_path, kind, compression):
    least, most = (np.iinfo(kind).min, np.iinfo(kind).max) if kind != np.float32 else (-1e9, 1e9)
    values = np.linspace(least, most, 600).reshape(20, 30).clip(least, most * 0.99).astype(kind)
    tifffile.imwrite(tmp_path / "a.tif", values, compression=compression)
    np.testing.assert_array_equal(read_values(tmp_path / "a.tif", 1), values)
    assert (np.diff(read_image(tmp_path / "a.tif")[:, :, 0].ravel().astype(int)) >= 0).all()


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.uint32, np.int16, np.uint64])
def test_white_at_0_is_turned_over_in_any_depth(tmp_path, kind, compression):
    values = PIXELS[:, :, 0].astype(kind)
    tifffile.imwrite(tmp_path / "a.tif", ~values, photometric="miniswhite", compression=compression)
    np.testing.assert_array_equal(read_values(tmp_path / "a.tif", 1), values)


@pytest.mark.parametrize("scaling", ["all_channels", "each_channel"])
@pytest.mark.parametrize("part", [0.002, 0.4])
def test_what_is_not_finite_leaves_the_rest_as_it_is(tmp_path, part, scaling):
    values = np.linspace(-9, -4, 6000).reshape(60, 100).astype(np.float32)
    wanted = to_channels(values)
    holes = np.random.default_rng(0).random(values.shape) < part
    for hole, shown in ((np.nan, 0), (-np.inf, 0), (np.inf, 255)):
        tifffile.imwrite(tmp_path / "a.tif", np.where(holes, np.float32(hole), values))
        image = read_image(tmp_path / "a.tif", scaling=scaling)
        assert (image[holes] == shown).all() and same(image[~holes], wanted[~holes], within=0.5)
    assert not to_channels(np.full((4, 5, 2), np.nan), 2, scaling).any()


def test_colours_of_16_bits_are_stretched_together(tmp_path):
    deep = PIXELS.astype(np.uint16) * 8 + 33_000
    wanted = np.interp(PIXELS, np.percentile(PIXELS, (0.1, 99.9)), (0, 255))
    cv2.imwrite(str(tmp_path / "a.png"), deep[:, :, ::-1])
    cv2.imwrite(str(tmp_path / "a.tif"), deep[:, :, ::-1])
    tifffile.imwrite(tmp_path / "planar.tif", deep.transpose(2, 0, 1), photometric="rgb", planarconfig="separate")
    tifffile.imwrite(tmp_path / "float.tif", deep.astype(np.float32), photometric="rgb")
    for name in ("a.png", "a.tif", "planar.tif", "float.tif"):
        assert same(read_image(tmp_path / name), wanted, within=1), name
        assert read_size(tmp_path / name) == (20, 30)


@pytest.mark.parametrize("compression", [None, "lzw", "zlib", "packbits", "zstd", "lzma"])
@pytest.mark.parametrize("predictor", [False, True])
def test_colours_of_16_bits_are_read_however_they_are_compressed(tmp_path, compression, predictor, capfd):
    pytest.importorskip("imagecodecs", reason="the extra large is not installed")
    deep = PIXELS.astype(np.uint16) * 200
    options = {"predictor": predictor and compression not in (None, "packbits"), "photometric": "rgb"}
    tifffile.imwrite(tmp_path / "a.tif", deep, compression=compression, **options)
    np.testing.assert_array_equal(read_values(tmp_path / "a.tif"), deep)
    assert not any(capfd.readouterr())


def test_colours_of_16_bits_that_cannot_be_read_are_one_line(tmp_path, monkeypatch, capfd):
    deep = PIXELS.astype(np.uint16)
    tifffile.imwrite(tmp_path / "cmyk.tif", np.dstack([deep, deep[:, :, :1]]), photometric="separated")
    with pytest.raises(ValueError, match=r"cmyk\.tif: its colors are SEPARATED, .* save it as RGB\.$"):
        read_image(tmp_path / "cmyk.tif")
    pytest.importorskip("imagecodecs", reason="the extra large is not installed")
    tifffile.imwrite(tmp_path / "zstd.tif", deep, compression="zstd", photometric="rgb")
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(ValueError, match=r"zstd\.tif: its compression, ZSTD, needs imagecodecs, which is not installed"):
        read_image(tmp_path / "zstd.tif")
    assert not any(capfd.readouterr())


def test_an_image_of_one_value_is_black(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.full((20, 30), 33_000, np.uint16))
    assert not read_image(tmp_path / "a.tif").any()


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.tif"])
def test_a_truncated_image_is_an_error_in_one_line(tmp_path, name):
    Image.fromarray(np.random.default_rng(2).integers(0, 256, (64, 64, 3), np.uint8)).save(tmp_path / name)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=name) as error:
        read_image(tmp_path / name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n broken", b"II*\x00broken", b"\xff\xd8\xff\xe0"])
@pytest.mark.parametrize("read", [read_image, read_size, read_label_map])
def test_what_is_no_image_is_an_error_in_one_line(tmp_path, content, read):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.png") as error:
        read(tmp_path / "a.png")
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named():
    with pytest.raises(ValueError, match=r"nowhere\.png: there is no such file"):
        read_image("nowhere.png")


def test_an_image_that_is_too_large_is_refused_before_it_is_decoded(tmp_path):
    side = int(MAX_PIXELS**0.5) + 1
    Image.new("1", (side, side)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="178 million pixels"):
        read_image(tmp_path / "a.png")


# ── other than three channels ──

PLANES = np.random.default_rng(4).integers(0, 256, (5, 20, 30), np.uint8)
LAYOUTS = {
    "cyx.tif": lambda path, planes: tifffile.imwrite(path, planes, photometric="minisblack", metadata={"axes": "CYX"}),
    "zcyx.ome.tif": lambda path, planes: tifffile.imwrite(
        path, np.stack([planes, 255 - planes]), photometric="minisblack", metadata={"axes": "ZCYX"}
    ),
    "czyx.tif": lambda path, planes: tifffile.imwrite(
        path, np.stack([planes, 255 - planes], 1), photometric="minisblack", metadata={"axes": "CZYX"}
    ),
    "imagej.tif": lambda path, planes: tifffile.imwrite(path, planes, imagej=True, metadata={"axes": "CYX"}),
    "yxc.tif": lambda path, planes: tifffile.imwrite(
        path, planes.transpose(1, 2, 0), photometric="minisblack", metadata={"axes": "YXC"}
    ),
    "yxs.tif": lambda path, planes: tifffile.imwrite(
        path, planes.transpose(1, 2, 0), photometric="minisblack", planarconfig="contig"
    ),
    "syx.tif": lambda path, planes: tifffile.imwrite(path, planes, photometric="minisblack", planarconfig="separate"),
    "array.npy": lambda path, planes: np.save(path, planes.transpose(1, 2, 0)),
}


@pytest.mark.parametrize("channels", [2, 3, 4, 5])
@pytest.mark.parametrize("name", LAYOUTS)
def test_channels_are_read_however_a_file_lays_them_out(tmp_path, name, channels):
    LAYOUTS[name](tmp_path / name, PLANES[:channels])
    image = read_image(tmp_path / name, channels=channels)
    assert image.dtype == np.uint8 and image.flags.c_contiguous
    np.testing.assert_array_equal(image, PLANES[:channels].transpose(1, 2, 0))
    assert read_size(tmp_path / name) == decoded_size(tmp_path / name) == (20, 30)


def test_transparency_counts_where_that_makes_the_number(tmp_path):
    alpha = PLANES[0]
    four, two = np.dstack([PIXELS, alpha]), np.dstack([PIXELS[:, :, 0], alpha])
    Image.fromarray(four).save(tmp_path / "rgba.png")
    Image.fromarray(four).save(tmp_path / "rgba.tif")
    Image.fromarray(two, "LA").save(tmp_path / "la.png")
    cv2.imwrite(str(tmp_path / "deep.png"), four[:, :, [2, 1, 0, 3]].astype(np.uint16) * 257)
    for name in ("rgba.png", "rgba.tif", "deep.png"):
        assert same(read_image(tmp_path / name, channels=4), four, within=1.5), name
        assert name == "deep.png" or same(read_image(tmp_path / name), PIXELS), name
    assert same(read_image(tmp_path / "la.png", channels=2), two)


def test_one_channel_is_grey_and_of_colours_their_luma(tmp_path):
    Image.fromarray(PIXELS[:, :, 0]).save(tmp_path / "grey.png")
    Image.fromarray(PIXELS).save(tmp_path / "rgb.png")
    Image.fromarray(PIXELS[:, :, :1].repeat(3, axis=2)).save(tmp_path / "equal.png")
    luma = np.rint(PIXELS @ np.array([0.299, 0.587, 0.114]))
    for name, wanted in (("grey.png", PIXELS[:, :, 0]), ("equal.png", PIXELS[:, :, 0]), ("rgb.png", luma)):
        assert same(read_image(tmp_path / name, channels=1), wanted[:, :, None], within=0.01), name
    np.testing.assert_array_equal(to_channels(PIXELS, 1), read_image(tmp_path / "rgb.png", channels=1))


@pytest.mark.parametrize(("found", "wanted"), [(2, 3), (2, 1), (5, 3), (5, 4), (3, 2), (3, 4)])
@pytest.mark.parametrize("name", ["cyx.tif", "yxs.tif", "array.npy"])
def test_another_number_of_channels_is_an_error_in_one_line(tmp_path, name, found, wanted):
    LAYOUTS[name](tmp_path / name, PLANES[:found])
    with pytest.raises(ValueError, match=rf"{name}: an image for a model of {wanted} channels is \(H, W, {wanted}\)") as error:
        read_image(tmp_path / name, channels=wanted)
    assert "received shape (20, 30" in str(error.value) and "\n" not in str(error.value)


def test_pages_without_a_name_are_no_channels(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", PLANES[:3], photometric="minisblack")
    assert same(read_image(tmp_path / "a.tif"), PLANES[0][:, :, None].repeat(3, axis=2))
    with pytest.raises(ValueError, match=r"model of 2 channels .* received shape \(20, 30\)"):
        read_image(tmp_path / "a.tif", channels=2)


@pytest.mark.parametrize("name", ["cyx.tif", "array.npy"])
def test_each_channel_is_stretched_by_itself_on_demand(tmp_path, name):
    ramp = np.linspace(0, 1, 600).reshape(20, 30)
    LAYOUTS[name](tmp_path / name, np.stack([500 + 100 * ramp, 20_000 + 30_000 * ramp, 0 * ramp + 7]).astype(np.uint16))
    each = read_image(tmp_path / name, scaling="each_channel")
    np.testing.assert_array_equal(each.min(axis=(0, 1)), [0, 0, 0])
    np.testing.assert_array_equal(each.max(axis=(0, 1)), [255, 255, 0])
    assert np.abs(each[:, :, 0].astype(int) - each[:, :, 1]).max() <= 2
    together = read_image(tmp_path / name)
    assert together[:, :, 0].max() <= 4 and together[:, :, 1].max() == 255


def test_bytes_stay_as_they_are_however_deep_values_are_stretched(tmp_path):
    LAYOUTS["cyx.tif"](tmp_path / "a.tif", PLANES[:2] // 4)
    np.testing.assert_array_equal(
        read_image(tmp_path / "a.tif", channels=2, scaling="each_channel"), PLANES[:2].transpose(1, 2, 0) // 4
    )


@pytest.mark.parametrize("name", ["cyx.tif", "yxs.tif", "array.npy"])
@pytest.mark.parametrize("read", [decoded_size, lambda path: read_image(path, channels=5)])
def test_channels_that_are_cut_off_are_an_error_in_one_line(tmp_path, name, read):
    LAYOUTS[name](tmp_path / name, PLANES)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) * 3 // 4])
    with pytest.raises(ValueError, match=name) as error:
        read(tmp_path / name)
    assert "\n" not in str(error.value)


def test_an_array_is_refused_where_it_holds_objects_or_too_many_numbers_or_none(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([[{}, {}]]), allow_pickle=True)
    np.lib.format.open_memmap(tmp_path / "large.npy", mode="w+", dtype=np.uint8, shape=(MAX_PIXELS // 8 + 1, 8))
    np.save(tmp_path / "flat.npy", np.zeros(7))
    np.save(tmp_path / "complex.npy", np.zeros((4, 4), complex))
    for name, words in (
        ("objects", "Python objects"),
        ("large", "178 million pixels"),
        ("flat", r"received float64 \(7,\)"),
        ("complex", "received complex128"),
    ):
        for read in (read_image, read_size):
            with pytest.raises(ValueError, match=words):
                read(tmp_path / f"{name}.npy")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.int16, np.float32, np.uint64])
def test_label_maps_keep_their_numbers(tmp_path, dtype):
    values = np.arange(600).reshape(20, 30).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", values)
    np.testing.assert_array_equal(read_label_map(tmp_path / "a.tif"), values)


def test_a_label_map_with_a_palette_is_its_indices(tmp_path):
    values = np.arange(600).reshape(20, 30).astype(np.uint8) % 9
    image = Image.fromarray(values)
    image.putpalette(np.random.default_rng(3).integers(0, 256, 768, np.uint8).tobytes())
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_label_map(tmp_path / "a.png"), values)


def test_colours_and_fractions_are_no_label_map(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="one value a pixel; received 3"):
        read_label_map(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "a.tif", np.full((4, 4), 0.5, np.float32))
    with pytest.raises(ValueError, match="whole numbers"):
        read_label_map(tmp_path / "a.tif")


def test_files_folders_and_globs_give_their_images_once_and_sorted(tmp_path):
    for name in ("b.png", "a.JPG", "c.txt", "deeper/d.tif", "odd.image"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert find_images([tmp_path]) == [tmp_path / "a.JPG", tmp_path / "b.png"]
    assert find_images([tmp_path / "**/*"]) == [tmp_path / "a.JPG", tmp_path / "b.png", tmp_path / "deeper/d.tif"]
    assert find_images([tmp_path / "odd.image", tmp_path / "b.png", tmp_path]) == [
        tmp_path / "odd.image",
        tmp_path / "b.png",
        tmp_path / "a.JPG",
    ]


def test_what_a_folder_leaves_out_is_counted(tmp_path):
    for name in ("a.png", "b.jfif", "c.avif", "d.jp2", "e.gif", "f.ppm", "g.jpe", "h.heic", "x.txt", "y.txt", "z.json", "none"):
        (tmp_path / name).write_bytes(b"")
    found = search_images([tmp_path])
    assert [path.name[0] for path in found.images] == list("abcdefgh")
    assert found.said_of_others() == "4 other files left out, no images by name: 2 .txt, 1 no suffix, 1 .json"
    assert search_images([tmp_path / "x.txt"]).said_of_others() is None  # named, so taken


def test_slides_are_found_where_they_are_asked_for(tmp_path):
    for name in ("a.svs", "b.png", "c.zarr/zarr.json", "c.zarr/0/zarr.json", "c.zarr/x.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    wanted = [tmp_path / name for name in ("a.svs", "b.png", "c.zarr")]
    assert find_images([tmp_path], is_slide=is_slide) == wanted
    assert find_images([tmp_path / "**/*"], is_slide=is_slide) == wanted
    assert find_images([tmp_path / "c.zarr"], is_slide=is_slide) == wanted[2:]
    assert find_images([tmp_path]) == wanted[1:2]


def test_inputs_without_images_are_errors(tmp_path):
    with pytest.raises(ValueError, match="no file or folder"):
        find_images([tmp_path / "a.png"])
    with pytest.raises(ValueError, match="no images in"):
        find_images([tmp_path])
    with pytest.raises(ValueError, match="no images in"):
        find_images([str(tmp_path / "*.png")])
