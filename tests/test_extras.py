"""An extra that is not installed explains itself."""

import sys
from pathlib import Path

import pytest

from maskrcnn import extras
from maskrcnn.images.images import read_planes
from maskrcnn.images.opening import open_large
from maskrcnn.images.video import open_video
from maskrcnn.results.files import PredictionWriter
from maskrcnn.results.large import LargeWriter
from maskrcnn.results.tracks.overlay import OverlayWriter
from maskrcnn.tracking.tracker import Tracker


def test_an_absent_library_says_what_to_install():
    with pytest.raises(ImportError) as error:
        extras.load("no_such_library", extra="medical", why="DICOM files need pydicom")
    assert str(error.value) == 'DICOM files need pydicom, which is not installed: pip install "maskrcnn[medical]"'


def test_a_present_one_is_the_module():
    assert extras.load("json.decoder", extra="medical", why="nothing").JSONDecoder


def _file(name: str, content: bytes = b"something") -> Path:
    Path(name).write_bytes(content)
    return Path(name)


def _zarr() -> Path:
    Path("a.zarr").mkdir()
    _file("a.zarr/zarr.json", b"{}")
    return Path("a.zarr")


@pytest.mark.parametrize(
    ("extra", "modules", "use"),
    [
        ("video", ["av"], lambda: open_video(_file("a.mp4"))),
        ("video", ["av"], lambda: OverlayWriter(Path("overlay.mp4"), rate=25)),
        ("video", ["scipy", "scipy.optimize"], lambda: Tracker("mask")),
        ("tracking", ["trackers"], lambda: Tracker("bytetrack")),
        ("medical", ["pydicom"], lambda: list(read_planes(_file("a.dcm", bytes(128) + b"DICM" + bytes(64))))),
        ("medical", ["nibabel"], lambda: list(read_planes(_file("a.nii")))),
        ("medical", ["skimage", "skimage.measure"], lambda: PredictionWriter("out", measurements=True)),
        ("medical", ["nibabel"], lambda: PredictionWriter("out", save=("nifti",))),
        ("medical", ["highdicom"], lambda: PredictionWriter("out", save=("dicom-seg",))),
        ("large", ["zarr"], lambda: open_large(_zarr())),
        ("large", ["tiffslide"], lambda: open_large(_file("a.svs"))),
        (
            "large",
            ["zarr"],
            lambda: LargeWriter("out", "a", size=(8, 8), file_name="a.tif", categories=(), save=("labels",), small=None),
        ),
    ],
)
def test_what_needs_an_absent_extra_says_so_in_one_line(extra, modules, use, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf'need.*, which is not installed: pip install "maskrcnn\[{extra}\]"$') as told:
        use()
    assert "\n" not in str(told.value)
