"""Laws of reading TIFF stacks."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from PIL import Image

from maskrcnn.images.formats import open_file
from maskrcnn.images.images import count_planes, read_plane, read_planes, read_size
from maskrcnn.structures import PixelSize

DEEP = np.random.default_rng(0).integers(0, 60_000, (5, 4, 2, 20, 30)).astype(np.uint16)  # (T, Z, C, Y, X)


def write_ome(path, values=DEEP, axes="TZCYX"):
    about = {"axes": axes, "PhysicalSizeX": 500.0, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.25, "PhysicalSizeZ": 2.0}
    tifffile.imwrite(path, values, metadata=about, ome=True, photometric="minisblack")


def write_imagej(path):
    tifffile.imwrite(path, DEEP, imagej=True, resolution=(2, 4), metadata={"axes": "TZCYX", "unit": "um", "spacing": 2})


@pytest.mark.parametrize("write", [write_ome, write_imagej])
def test_hyperstacks_give_their_planes_with_all_channels(tmp_path, write):
    write(tmp_path / "a.tif")
    with open_file(tmp_path / "a.tif") as file:
        source = file.source
        assert (source.axes, source.counts, source.size, file.size) == ("TZ", (5, 4), (20, 30), (20, 30))
        assert source.pixel_size == PixelSize(0.25, 0.5, "um") and source.spacing == 2.0
        np.testing.assert_array_equal(file.values(1), np.moveaxis(DEEP[0, 0], 0, 2))
        np.testing.assert_array_equal(file.values(7), np.moveaxis(DEEP[1, 2], 0, 2))
    assert count_planes(tmp_path / "a.tif") == 20


@pytest.mark.parametrize("unit", [r"\u00B5m", r"\u00b5m", r"\u03BCm", "um", "micron"])
def test_imagejs_micrometres_are_known_however_it_writes_them(tmp_path, unit):
    about = {"axes": "ZYX", "unit": unit, "spacing": 3.0}
    tifffile.imwrite(tmp_path / "a.tif", DEEP[0, :, 0], imagej=True, resolution=(4, 4), metadata=about)
    with open_file(tmp_path / "a.tif") as file:
        assert file.source.pixel_size == PixelSize(0.25, 0.25, "um") and file.source.spacing == 3.0


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_pages_are_planes(tmp_path, kind):
    values = (DEEP[:, 0, 0] >> 8).astype(kind)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack")
    planes = list(read_planes(tmp_path / "a.tif"))
    assert [plane.number for plane in planes] == [1, 2, 3, 4, 5] and planes[0].source.pixel_size is None
    for plane, wanted in zip(planes, values):
        np.testing.assert_array_equal(plane.values, wanted)
        assert plane.image.shape == (20, 30, 3) and plane.image.dtype == np.uint8


def test_pages_that_tifffile_leaves_to_others_are_read(tmp_path):
    pages = [Image.fromarray(page) for page in (DEEP[:, 0, 0] >> 8).astype(np.uint8)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:], compression="tiff_lzw")
    for plane, page in zip(read_planes(tmp_path / "a.tif"), pages, strict=True):
        np.testing.assert_array_equal(plane.values, np.asarray(page))


def test_one_page_of_all_planes_is_read_plane_by_plane(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", DEEP[0, :, 0], photometric="minisblack", volumetric=True, tile=(4, 32, 32))
    for plane, wanted in zip(read_planes(tmp_path / "a.tif"), DEEP[0, :, 0], strict=True):
        np.testing.assert_array_equal(plane.values, wanted)


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"volumetric": True, "tile": (4, 32, 32)}])
def test_white_at_0_is_turned_over_in_every_plane(tmp_path, options):
    tifffile.imwrite(tmp_path / "a.tif", ~DEEP[0, :, 0], photometric="miniswhite", **options)
    for plane, wanted in zip(read_planes(tmp_path / "a.tif"), DEEP[0, :, 0], strict=True):
        np.testing.assert_array_equal(plane.values, wanted)


def test_the_levels_of_a_pyramid_are_not_planes(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        for step in (1, 2):
            tiff.write(DEEP[0, 0, 0, ::step, ::step])
    assert count_planes(tmp_path / "a.tif") == 1


GREYS = [DEEP[0, 0, 0], DEEP[0, 1, 0, :14, :23], DEEP[0, 2, 0]]


def write_one_by_one(path):
    with tifffile.TiffWriter(path) as tiff:
        for page in GREYS:
            tiff.write(page)


def write_positions(path):
    with tifffile.TiffWriter(path, ome=True) as tiff:
        for page in GREYS:
            tiff.write(page, metadata={"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}, subifds=1)
            tiff.write(page[::2, ::2].copy(), subfiletype=1)
        tiff.write(DEEP[1, 0, 0], metadata={"Name": "label image"})


def write_pages_of_a_scan(path):
    pages = [Image.fromarray(page) for page in GREYS]
    pages[0].save(path, save_all=True, append_images=pages[1:])


@pytest.mark.parametrize("write", [write_one_by_one, write_positions, write_pages_of_a_scan])
def test_every_image_of_a_file_is_a_plane_in_its_place_and_size(tmp_path, write):
    write(tmp_path / "a.tif")
    planes = list(read_planes(tmp_path / "a.tif"))
    assert [plane.number for plane in planes] == [1, 2, 3] == list(range(1, count_planes(tmp_path / "a.tif") + 1))
    for plane, wanted in zip(planes, GREYS):
        np.testing.assert_array_equal(plane.values, wanted)
    assert planes[0].source.size == read_size(tmp_path / "a.tif") == (20, 30)
    assert planes[0].source.pixel_size == (PixelSize(0.5, 0.5, "um") if write is write_positions else None)


def test_masks_and_thumbnails_are_not_planes(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        for page, kind in ((DEEP[0, 0, 0], 0), (DEEP[0, 0, 0, :14, :23], 1), (DEEP[0, 0, 0] > 30_000, 4)):
            tiff.write(page, subfiletype=kind, metadata=None)
    assert count_planes(tmp_path / "a.tif") == 1


@pytest.mark.parametrize(("unit", "size"), [("CENTIMETER", PixelSize(5.0, 10.0, "um")), ("INCH", None), ("NONE", None)])
def test_pixels_a_centimetre_are_a_size_and_a_printers_are_not(tmp_path, unit, size):
    tifffile.imwrite(tmp_path / "a.tif", DEEP[0, 0, 0], resolution=(1000, 2000), resolutionunit=unit)
    assert read_plane(tmp_path / "a.tif").source.pixel_size == size


def test_values_are_the_files_own_and_the_image_is_stretched(tmp_path):
    write_ome(tmp_path / "a.ome.tif", DEEP[0, 0, 0], "YX")
    plane = read_plane(tmp_path / "a.ome.tif")
    np.testing.assert_array_equal(plane.values, DEEP[0, 0, 0])
    assert (plane.image.min(), plane.image.max()) == (0, 255)
    (windowed,) = read_planes(tmp_path / "a.ome.tif", window=(1000, 11))
    assert np.isin(windowed.image[np.abs(DEEP[0, 0, 0].astype(int) - 1000) > 6], (0, 255)).all()


def test_any_other_image_is_one_plane(tmp_path):
    Image.fromarray(DEEP[0, 0, 0].astype(np.uint8)).save(tmp_path / "a.png")
    (plane,) = read_planes(tmp_path / "a.png")
    assert (plane.number, plane.source.num_planes, plane.source.size) == (1, 1, (20, 30))
    assert count_planes(tmp_path / "a.png") == 1


def test_a_turned_page_has_the_size_of_its_values(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", DEEP[0, 0, 0], extratags=[(274, "H", 1, 6, True)])
    plane = read_plane(tmp_path / "a.tif")
    assert plane.source.size == plane.values.shape == (30, 20)


@pytest.mark.parametrize("window", [None, (5.0, 9.0)])
def test_complex_values_are_refused_in_one_line(tmp_path, window):
    tifffile.imwrite(tmp_path / "a.tif", DEEP[0, 0, 0] * 1j)
    with pytest.raises(ValueError, match=r"a\.tif: an image has real values; received complex"):
        next(read_planes(tmp_path / "a.tif", window=window))


def test_a_broken_stack_is_said_in_one_line(tmp_path):
    write_ome(tmp_path / "a.ome.tif")
    content = (tmp_path / "a.ome.tif").read_bytes()
    (tmp_path / "a.ome.tif").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"Cannot read .*a\.ome\.tif") as error:
        list(read_planes(tmp_path / "a.ome.tif", channels=2))
    assert "\n" not in str(error.value)


def test_a_window_by_its_number_is_for_dicom(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 4), np.uint16), photometric="minisblack")
    with pytest.raises(ValueError, match="has no windows of its own"):
        next(read_planes(tmp_path / "a.tif", window=2))
