"""Laws of reading DICOM, on pydicom's own files and on some made here."""

from __future__ import annotations

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom", reason="the extra medical is not installed")

from medical_files import PATIENT, frame_groups, write_dicom  # noqa: E402
from pydicom.data import get_testdata_file  # noqa: E402

from maskrcnn.images.files import find_images  # noqa: E402
from maskrcnn.images.images import count_planes, read_image, read_planes, read_size  # noqa: E402
from maskrcnn.images.values import windowed  # noqa: E402
from maskrcnn.structures import PixelSize  # noqa: E402

GREY = np.arange(48, dtype=np.int16).reshape(6, 8) * 20 + 1


def bundled(name):
    """A file of pydicom's wheel; nothing is downloaded."""
    return get_testdata_file(name, download=False)


def only(path, **options):
    (plane,) = read_planes(path, **options)
    return plane


def test_values_are_hounsfield_units():
    plane = only(bundled("CT_small.dcm"))
    stored = pydicom.dcmread(bundled("CT_small.dcm")).pixel_array
    np.testing.assert_array_equal(plane.values, stored.astype(float) - 1024)
    assert plane.source.pixel_size == PixelSize(0.661468, 0.661468, "mm")
    assert plane.image.shape == (128, 128, 3) and plane.image.dtype == np.uint8


@pytest.mark.parametrize("how", ["", "_RLE", "_bigendian", "_implicit", "_jp2klossless", "_jpeg_ls_lossless", "_padded"])
def test_every_lossless_coding_gives_the_same_image(how):
    plain, coded = only(bundled("MR_small.dcm")), only(bundled(f"MR_small{how}.dcm"))
    np.testing.assert_array_equal(coded.values, plain.values)
    np.testing.assert_array_equal(coded.image, plain.image)


@pytest.mark.parametrize("name", ["SC_rgb_jpeg_dcmtk.dcm", "SC_rgb_dcmtk_+eb+cy+np.dcm", "SC_ybr_full_422_uncompressed.dcm"])
def test_colours_come_as_rgb(name):
    plain, other = only(bundled("SC_rgb_rle.dcm")).image, only(bundled(name)).image
    assert plain[5, 50].tolist() == [255, 0, 0]
    assert np.abs(plain.astype(int) - other).mean() < 8  # JPEG


def test_palettes_become_colours_of_8_bits():
    image = only(bundled("examples_palette.dcm")).image
    header = pydicom.dcmread(bundled("examples_palette.dcm"))
    np.testing.assert_array_equal(image, pydicom.pixels.apply_color_lut(header.pixel_array, header) >> 8)


def test_frames_come_one_by_one_and_in_their_order():
    planes = list(read_planes(bundled("SC_rgb_rle_2frame.dcm")))
    stored = pydicom.dcmread(bundled("SC_rgb_rle_2frame.dcm")).pixel_array
    assert [plane.number for plane in planes] == [1, 2]
    assert planes[0].source is planes[1].source and planes[0].source.num_planes == 2
    for plane, frame in zip(planes, stored):
        np.testing.assert_array_equal(plane.image, frame)
    assert read_size(bundled("SC_rgb_rle_2frame.dcm")) == (100, 100) and count_planes(bundled("SC_rgb_rle_2frame.dcm")) == 2


@pytest.mark.parametrize(("asked", "shown"), [(None, (100, 101)), (1, (100, 101)), (2, (500, 201)), ((700, 50), (700, 50))])
def test_the_files_own_window_is_shown_or_the_one_that_is_asked_for(tmp_path, asked, shown):
    path = write_dicom(tmp_path / "a.dcm", GREY, WindowCenter=[100, 500], WindowWidth=[101, 201])
    plane = only(path, window=asked)
    np.testing.assert_array_equal(plane.image[:, :, 0], windowed(GREY, *shown))
    np.testing.assert_array_equal(plane.values, GREY)


def test_a_window_that_the_file_does_not_have_is_refused(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", GREY, WindowCenter=[100, 500], WindowWidth=[101, 201])
    with pytest.raises(ValueError, match="2 windows of its own; received number 3"):
        only(path, window=3)


def test_without_a_window_8_bits_stay_and_more_are_stretched(tmp_path):
    np.testing.assert_array_equal(
        only(write_dicom(tmp_path / "a", GREY.astype(np.uint8))).image[:, :, 1], GREY.astype(np.uint8)
    )
    deep = only(write_dicom(tmp_path / "b", GREY)).image
    assert (deep.min(), deep.max()) == (0, 255)


def test_low_is_white_in_monochrome1_and_its_values_stay(tmp_path):
    window = {"WindowCenter": 100, "WindowWidth": 101}
    usual = only(write_dicom(tmp_path / "a", GREY, **window))
    turned = only(write_dicom(tmp_path / "b", GREY, photometric="MONOCHROME1", **window))
    np.testing.assert_array_equal(turned.image, 255 - usual.image)
    np.testing.assert_array_equal(turned.values, usual.values)


def test_a_table_of_the_file_goes_before_its_window(tmp_path):
    table = pydicom.Dataset()
    table.LUTDescriptor, table.LUTData = [3, 100, 8], [255, 128, 7]
    table["LUTDescriptor"].VR = table["LUTData"].VR = "US"
    path = write_dicom(tmp_path / "a.dcm", GREY.astype(np.uint16), VOILUTSequence=[table], WindowCenter=1, WindowWidth=1)
    np.testing.assert_array_equal(only(path).image[:, :, 0], np.select([GREY <= 100, GREY == 101], [255, 128], 7))
    np.testing.assert_array_equal(only(path, window=(500, 100)).image[:, :, 0], windowed(GREY, 500, 100))


def test_functional_groups_hold_for_their_frames(tmp_path):
    stack = np.stack([GREY, GREY, GREY])
    path = write_dicom(tmp_path / "a.dcm", stack, **frame_groups(3))
    planes = list(read_planes(path))
    for number, plane in enumerate(planes):
        np.testing.assert_array_equal(plane.values, GREY - 10.0 * number)
        np.testing.assert_array_equal(plane.image[:, :, 0], windowed(plane.values, 50, 100))
    assert planes[0].source.pixel_size == PixelSize(0.5, 0.25, "mm") and planes[0].source.spacing == 2


def test_nothing_of_the_patient_leaves_the_reader_unless_it_is_asked_for(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", np.stack([GREY, GREY]), **frame_groups(2))
    told = str(next(read_planes(path)).source)
    assert not [value for value in (*PATIENT.values(), "coughed") if value in told]
    kept = next(read_planes(path, keep_patient=True)).source.grid
    assert kept.PatientName == PATIENT["PatientName"] and kept.PatientID == PATIENT["PatientID"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("SC_rgb_jpeg_gdcm.dcm", "pip install python-gdcm"),
        ("JPGExtended.dcm", "JPEG Extended .* cannot be decoded"),
        ("rtplan.dcm", "this RTPLAN file holds no image"),
        ("no_meta.dcm", "it is no DICOM file"),
        ("MR_truncated.dcm", "4065"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(name, reason):
    with pytest.raises(ValueError, match=rf"Cannot read .*{name}: .*{reason}") as error:
        list(read_planes(bundled(name)))
    assert "\n" not in str(error.value)


def test_a_file_with_fewer_frames_than_it_says_gives_those_and_then_an_error(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", np.stack([GREY, GREY]), NumberOfFrames=3)
    seen = []
    with pytest.raises(ValueError, match=r"a\.dcm"):
        seen += read_planes(path)


def test_dicom_is_known_by_its_content_where_its_name_says_nothing(tmp_path):
    write_dicom(tmp_path / "1.2.840.7", GREY)
    write_dicom(tmp_path / "IM0001", GREY)
    write_dicom(tmp_path / "DICOMDIR", GREY)
    (tmp_path / "notes").write_text("none")
    assert find_images([tmp_path]) == [tmp_path / "1.2.840.7", tmp_path / "IM0001"]
    assert read_image(tmp_path / "IM0001").shape == (6, 8, 3)
    assert read_size(tmp_path / "IM0001") == (6, 8)


def test_several_frames_are_not_one_image():
    with pytest.raises(ValueError, match="2 planes, not one image; maskrcnn.read_planes"):
        read_image(bundled("SC_rgb_rle_2frame.dcm"))


def test_a_frame_that_is_too_large_is_refused_before_it_is_decoded(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", GREY, Rows=40_000, Columns=40_000)
    with pytest.raises(ValueError, match="more than 178 million pixels"):
        only(path)
