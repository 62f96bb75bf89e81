"""Laws of DICOM segmentations: the label map again, of its source, and of nobody."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom", reason="the extra medical is not installed")
highdicom = pytest.importorskip("highdicom", reason="the extra medical is not installed")

from medical_files import PATIENT, frame_groups, write_dicom  # noqa: E402

from maskrcnn.images.images import read_planes  # noqa: E402
from maskrcnn.results.dicom_seg import write_dicom_seg  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom", "ignore::DeprecationWarning:highdicom")
GREY = np.arange(48, dtype=np.int16).reshape(6, 8)


def source_of(path: Path, num_frames: int = 0, **options):
    pixels = np.stack([GREY] * num_frames) if num_frames else GREY
    write_dicom(path, pixels, **(frame_groups(num_frames) if num_frames else {}))
    return next(read_planes(path, **options)).source


def labels(num_planes: int) -> np.ndarray:
    """Object 1 in the first plane, 2 and 3 in the last."""
    made = np.zeros((num_planes, 6, 8), np.uint32)
    made[0, 1:3, 1:4] = 1
    made[-1, 3:6, 0:2] = 2
    made[-1, 3:6, 5:8] = 3
    return made


@pytest.mark.parametrize("num_frames", [0, 3])
def test_segments_are_the_objects_and_lie_where_the_source_does(tmp_path: Path, num_frames: int) -> None:
    source = source_of(tmp_path / "a.dcm", num_frames)
    made = labels(source.num_planes)
    write_dicom_seg(tmp_path / "seg.dcm", made, ["cell", "cell", "nucleus"], source)
    read = highdicom.seg.segread(tmp_path / "seg.dcm")
    original = pydicom.dcmread(tmp_path / "a.dcm")
    assert [item.SegmentLabel for item in read.SegmentSequence] == ["cell 1", "cell 2", "nucleus 3"]
    meanings = [item.SegmentedPropertyTypeCodeSequence[0].CodeMeaning for item in read.SegmentSequence]
    assert meanings == ["cell", "cell", "nucleus"]
    if num_frames:
        back = read.get_pixels_by_source_frame(original.SOPInstanceUID, range(1, num_frames + 1), combine_segments=True)
    else:
        back = read.get_pixels_by_source_instance([original.SOPInstanceUID], combine_segments=True)
    np.testing.assert_array_equal(back, made)
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID"):
        assert read[keyword].value == original[keyword].value
    assert read.SeriesInstanceUID != original.SeriesInstanceUID
    measures = read.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert [float(spacing) for spacing in measures.PixelSpacing] == [0.5, 0.25]


@pytest.mark.parametrize("num_frames", [0, 3])
def test_nothing_of_the_patient_is_in_it_unless_it_is_asked_for(tmp_path: Path, num_frames: int) -> None:
    for keep in (False, True):
        source = source_of(tmp_path / "a.dcm", num_frames, keep_patient=keep)
        write_dicom_seg(tmp_path / "seg.dcm", labels(source.num_planes), ["cell"] * 3, source)
        content = (tmp_path / "seg.dcm").read_bytes()
        found = {keyword for keyword, value in PATIENT.items() if value.encode() in content}
        expected = {"PatientName", "PatientID", "PatientBirthDate", "AccessionNumber", "ReferringPhysicianName"}
        assert found == (expected if keep else set())
        assert b"coughed" not in content and b"latex" not in content


def test_a_source_without_a_place_in_space_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    write_dicom(tmp_path / "a.dcm", GREY, FrameOfReferenceUID=None)
    source = next(read_planes(tmp_path / "a.dcm")).source
    write_dicom(tmp_path / "b.dcm", np.stack([GREY, GREY]))
    frames = next(read_planes(tmp_path / "b.dcm")).source
    for refused, reason in ((source, "Frame Of Reference"), (frames, "no places in space")):
        with pytest.raises(ValueError, match=f"Cannot write a DICOM segmentation of .*{reason}"):
            write_dicom_seg(tmp_path / "seg.dcm", labels(refused.num_planes), ["cell"] * 3, refused)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.dcm", "b.dcm"]


def test_no_object_is_no_segmentation(tmp_path: Path) -> None:
    source = source_of(tmp_path / "a.dcm")
    with pytest.raises(ValueError, match="received 0 objects"):
        write_dicom_seg(tmp_path / "seg.dcm", labels(1) * 0, [], source)


def test_long_names_are_cut_to_what_dicom_holds(tmp_path: Path) -> None:
    source = source_of(tmp_path / "a.dcm")
    write_dicom_seg(tmp_path / "seg.dcm", labels(1), ["x" * 100] * 3, source)
    assert all(len(item.SegmentLabel) <= 64 for item in pydicom.dcmread(tmp_path / "seg.dcm").SegmentSequence)
