"""Laws of `open_file`: a file is opened once, whatever it is, and bytes and open files give what a path gives."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from maskrcnn.images.formats import FORMATS, open_file
from maskrcnn.images.images import read_image, read_planes
from maskrcnn.images.opened import Display
from maskrcnn.images.opening import open_large, survey

GREY = np.random.default_rng(0).integers(0, 256, (48, 64), np.uint8)
RGB = np.random.default_rng(1).integers(0, 256, (48, 64, 3), np.uint8)
STACK = np.random.default_rng(2).integers(0, 60_000, (5, 48, 64), np.uint16)


def write_nifti(path: Path) -> None:
    nibabel = pytest.importorskip("nibabel", reason="the extra `medical` is not installed")
    nibabel.save(nibabel.Nifti1Image(STACK.transpose(2, 1, 0).astype(np.int16), np.diag([-1.0, -1.0, 2.0, 1.0])), path)


def write_dicom_file(path: Path) -> None:
    pytest.importorskip("pydicom", reason="the extra `medical` is not installed")
    from medical_files import write_dicom

    write_dicom(path, GREY)


def write_jpeg_xl(path: Path) -> None:
    imagecodecs = pytest.importorskip("imagecodecs", reason="the extra `large` is not installed")
    path.write_bytes(imagecodecs.jpegxl_encode(RGB, lossless=True))


WRITERS = {
    "a.png": lambda path: Image.fromarray(RGB).save(path),
    "deep.png": lambda path: Image.fromarray(STACK[0]).save(path),
    "a.jpg": lambda path: Image.fromarray(RGB).save(path),
    "page.tif": lambda path: tifffile.imwrite(path, RGB, photometric="rgb", compression="zlib"),
    "deep.tif": lambda path: tifffile.imwrite(path, RGB.astype(np.uint16), photometric="rgb"),
    "stack.tif": lambda path: tifffile.imwrite(path, STACK, photometric="minisblack"),
    "stack.ome.tif": lambda path: tifffile.imwrite(path, STACK, photometric="minisblack", metadata={"axes": "ZYX"}),
    "slices.nii": write_nifti,
    "slices.nii.gz": write_nifti,
    "a.dcm": write_dicom_file,
    "a.npy": lambda path: np.save(path, RGB),
    "a.jxl": write_jpeg_xl,
}
PLANES = {"stack.tif": 5, "stack.ome.tif": 5, "slices.nii": 5, "slices.nii.gz": 5}


class Opens(Counter[str]):
    """Counts how often each file is opened, by whatever library, while it counts."""

    def __init__(self) -> None:
        super().__init__()
        self.is_on = False
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.is_on and event == "open" and isinstance(arguments[0], (str, bytes, Path)):
            self[str(arguments[0])] += 1


@pytest.fixture(scope="module")
def opens():
    counter = Opens()  # an audit hook cannot be removed again, only be quiet
    yield counter
    counter.is_on = False


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_is_opened_once_for_all_that_it_holds(tmp_path, opens, name):
    path = tmp_path / name
    WRITERS[name](path)
    with open_file(path) as file:  # once, so that modules are imported
        list(file.planes())
    opens.clear()
    opens.is_on = True
    with open_file(path) as file:
        planes = list(file.planes())
    opens.is_on = False
    assert len(planes) == PLANES.get(name, 1) == file.source.num_planes
    assert file.size == (48, 64) and {plane.image.shape for plane in planes} == {(48, 64, 3)}
    assert opens[str(path)] == 1


@pytest.mark.parametrize("name", WRITERS)
def test_predict_opens_a_file_twice_at_most(tmp_path, opens, name):
    from blobs import blobs, model

    from maskrcnn.verbs import predict

    path = tmp_path / name
    WRITERS[name](path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predict, "detect", lambda _, images, **options: (blobs(0 * image) for image in images))
        predict.predict_files(model(), [path], tmp_path / "warm", save=())
        opens.clear()
        opens.is_on = True
        survey(path)
        failures = predict.predict_files(model(), [path], tmp_path / "found", save=())
        opens.is_on = False
    assert not failures and (tmp_path / "found" / "predictions.json").is_file()
    assert 1 <= opens[str(path)] <= 2


@pytest.mark.parametrize("name", WRITERS)
def test_bytes_and_open_files_give_what_the_path_gives(tmp_path, name):
    path = tmp_path / name
    WRITERS[name](path)
    wanted = list(read_planes(path))
    with open(path, "rb") as file:
        sources = (path.read_bytes(), memoryview(path.read_bytes()), file)
        for source in sources:
            planes = list(read_planes(source))
            assert len(planes) == len(wanted) == PLANES.get(name, 1)
            for plane, one in zip(planes, wanted):
                np.testing.assert_array_equal(plane.values, one.values)
                np.testing.assert_array_equal(plane.image, one.image)
        assert not file.closed


@pytest.mark.parametrize("name", [name for name in WRITERS if name not in PLANES])
def test_values_and_regions_are_those_of_the_planes(tmp_path, name):
    path = tmp_path / name
    WRITERS[name](path)
    with open_file(path) as file:
        (plane,) = file.planes()
        np.testing.assert_array_equal(file.values(1), plane.values)
        assert file.first().shape[:2] == file.size
        if not file.has_regions:
            with pytest.raises(ValueError, match="plane by plane"):
                file.regions()
            return
        with file.regions() as large:
            np.testing.assert_array_equal(large.read((10, 5, 60, 40)), plane.image[5:40, 10:60])
    with open_large(path) as large:
        np.testing.assert_array_equal(large.read((0, 0, 64, 48)), read_image(path))


def test_a_file_is_known_by_its_content(tmp_path):
    WRITERS["stack.tif"](tmp_path / "stack.png")
    Image.fromarray(RGB).save(tmp_path / "a.tif", "PNG")
    assert len(list(read_planes(tmp_path / "stack.png"))) == 5
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), RGB)


def test_every_row_of_the_table_recognises_and_reads():
    assert len(FORMATS) == 6
    assert all(callable(module.recognise) and callable(module.read) for module in FORMATS)


def test_the_display_says_how_a_file_is_cut(tmp_path):
    write_nifti(tmp_path / "a.nii")
    for axis, count in (("axial", 5), ("coronal", 48), ("sagittal", 64)):
        with open_file(tmp_path / "a.nii", Display(axis=axis)) as file:
            assert file.source.num_planes == count
    with pytest.raises(ValueError, match="axial, coronal or sagittal; received 'depth'"):
        open_file(tmp_path / "a.nii", Display(axis="depth"))


def test_empty_bytes_are_an_error_in_one_line():
    with pytest.raises(ValueError, match="Cannot read the 0 bytes: it is no image of a known kind"):
        read_image(b"")
