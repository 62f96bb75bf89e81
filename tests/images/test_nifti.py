"""Laws of reading NIfTI."""

from __future__ import annotations

import contextlib
import gzip
import io
import itertools
import logging
import tempfile

import numpy as np
import pytest

nibabel = pytest.importorskip("nibabel", reason="the extra medical is not installed")

from maskrcnn.geometry.turns import turned_back  # noqa: E402
from maskrcnn.images.images import count_planes, read_image, read_planes, read_size  # noqa: E402
from maskrcnn.structures import PixelSize  # noqa: E402

RAS = np.random.default_rng(0).integers(0, 1000, (5, 6, 7)).astype(np.int16)  # to the right, the front and the head
VOXELS = (1.0, 2.0, 3.0)
# As radiologists look: the front or the head at the top, the patient's left at the right, the back at a sagittal's right.
SHOWN = {
    "axial": (lambda k: RAS[::-1, ::-1, k].T, (2.0, 1.0), 3.0),
    "coronal": (lambda k: RAS[::-1, k, ::-1].T, (3.0, 1.0), 2.0),
    "sagittal": (lambda k: RAS[k, ::-1, ::-1].T, (3.0, 2.0), 1.0),
}


def volume(flips=(1, 1, 1), axes=(0, 1, 2)):
    """The same body in an array that is laid in another way."""
    orientation = np.array([(axis, flip) for axis, flip in zip(axes, flips)], float)
    return nibabel.Nifti1Image(RAS, np.diag((*VOXELS, 1.0))).as_reoriented(orientation)


@pytest.mark.parametrize("axis", SHOWN)
@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))))
def test_slices_look_the_same_however_the_array_is_laid(tmp_path, axis, axes):
    shown, size, spacing = SHOWN[axis]
    for flips in ((1, 1, 1), (-1, 1, -1)):
        image = volume(flips, axes)
        nibabel.save(image, tmp_path / "a.nii")
        planes = list(read_planes(tmp_path / "a.nii", axis=axis))
        grid = planes[0].source.grid
        expected = [shown(k) for k in range(RAS.shape[["sagittal", "coronal", "axial"].index(axis)])]
        reversed_in_file = not np.array_equal(planes[0].values, expected[0])
        for plane, wanted in zip(planes, expected[::-1] if reversed_in_file else expected, strict=True):
            np.testing.assert_array_equal(plane.values, wanted)
            np.testing.assert_array_equal(turned_back(plane.values, grid.turn), image.dataobj[grid.place(plane.number)])
        assert planes[0].source.pixel_size == PixelSize(*size, "mm") and planes[0].source.spacing == spacing
        assert count_planes(tmp_path / "a.nii", axis=axis) == len(planes)


def test_a_compressed_file_is_the_same(tmp_path):
    for name in ("a.nii", "a.nii.gz"):
        nibabel.save(volume(), tmp_path / name)
    for plain, packed in zip(read_planes(tmp_path / "a.nii"), read_planes(tmp_path / "a.nii.gz"), strict=True):
        np.testing.assert_array_equal(plain.values, packed.values)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_nifti_2_is_the_same(tmp_path, name):
    nibabel.save(volume(), tmp_path / "one.nii")
    nibabel.save(nibabel.Nifti2Image(RAS, volume().affine), tmp_path / name)
    for one, two in zip(read_planes(tmp_path / "one.nii"), read_planes(tmp_path / name), strict=True):
        np.testing.assert_array_equal(one.values, two.values)
        assert one.source.pixel_size == two.source.pixel_size
    assert read_size(tmp_path / name) == read_size(tmp_path / "one.nii")


def test_no_more_is_unpacked_than_the_header_says(tmp_path, monkeypatch):
    nibabel.save(volume(), tmp_path / "a.nii")
    with gzip.open(tmp_path / "a.nii.gz", "wb") as file:
        file.write((tmp_path / "a.nii").read_bytes() + bytes(10**6))
    monkeypatch.setattr(tempfile, "TemporaryDirectory", lambda: contextlib.nullcontext(str(tmp_path)))
    assert len(list(read_planes(tmp_path / "a.nii.gz"))) == 7
    assert (tmp_path / "unpacked.nii").stat().st_size == (tmp_path / "a.nii").stat().st_size


def test_slope_and_intercept_are_applied(tmp_path):
    image = nibabel.Nifti1Image(RAS, np.eye(4))
    image.header.set_slope_inter(2.0, -100.0)
    nibabel.save(image, tmp_path / "a.nii")
    stored = nibabel.load(tmp_path / "a.nii")
    first = next(read_planes(tmp_path / "a.nii"))
    np.testing.assert_allclose(first.values, np.asarray(stored.dataobj)[::-1, ::-1, 0].T)


@pytest.mark.parametrize("window", [None, (5.0, 9.0)])
def test_complex_values_are_refused_in_one_line(tmp_path, window):
    nibabel.save(nibabel.Nifti1Image(RAS.astype(np.complex64), np.eye(4)), tmp_path / "a.nii")
    with pytest.raises(ValueError, match=r"a\.nii: an image has real values; received complex"):
        next(read_planes(tmp_path / "a.nii", window=window))


def test_volumes_come_one_after_the_other(tmp_path):
    series = np.stack([RAS, RAS + 1], axis=3)
    nibabel.save(nibabel.Nifti1Image(series, np.eye(4)), tmp_path / "a.nii")
    planes = list(read_planes(tmp_path / "a.nii"))
    assert planes[0].source.counts == (2, 7) and planes[0].source.axes == "TZ" and len(planes) == 14
    np.testing.assert_array_equal(planes[9].values, planes[2].values + 1)


def test_an_image_alone_and_colours_are_read_too(tmp_path):
    nibabel.save(nibabel.Nifti1Image(RAS[:, :, 0], np.eye(4)), tmp_path / "flat.nii")
    assert read_image(tmp_path / "flat.nii").shape == (6, 5, 3)
    assert read_size(tmp_path / "flat.nii") == (6, 5)
    colours = np.zeros((5, 6, 1), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    colours["G"] = 200
    nibabel.save(nibabel.Nifti1Image(colours, np.eye(4)), tmp_path / "rgb.nii")
    assert np.unique(read_image(tmp_path / "rgb.nii").reshape(-1, 3), axis=0).tolist() == [[0, 200, 0]]


def test_the_window_goes_before_the_headers_range(tmp_path):
    image = nibabel.Nifti1Image(RAS, np.eye(4))
    image.header["cal_min"], image.header["cal_max"] = 250, 750
    nibabel.save(image, tmp_path / "a.nii")
    ranged, windowed = (next(read_planes(tmp_path / "a.nii", window=window)) for window in (None, (100, 50)))
    values = ranged.values
    np.testing.assert_array_equal(ranged.image[:, :, 0] == 0, values <= 250)
    np.testing.assert_array_equal(windowed.image[:, :, 0] == 0, values <= 75)


def test_what_is_no_nifti_is_said_in_one_line(tmp_path, monkeypatch):
    log = io.StringIO()
    monkeypatch.setattr(nibabel.imageglobals.logger, "handlers", [logging.StreamHandler(log)])
    nibabel.save(volume(), tmp_path / "d.nii")
    content = bytearray((tmp_path / "d.nii").read_bytes())
    content[70:72] = b"\x99\x99"  # a kind of values that there is not
    (tmp_path / "d.nii").write_bytes(content)
    (tmp_path / "a.nii").write_bytes(b"nothing")
    (tmp_path / "b.nii.gz").write_bytes(b"nothing")
    for name in ("a.nii", "b.nii.gz", "c.nii", "d.nii"):
        with pytest.raises(ValueError, match=f"Cannot read .*{name}") as error:
            list(read_planes(tmp_path / name))
        assert "\n" not in str(error.value) and not log.getvalue()
    with pytest.raises(ValueError, match="axial, coronal or sagittal; received 'up'"):
        list(read_planes(tmp_path / "a.nii", axis="up"))
