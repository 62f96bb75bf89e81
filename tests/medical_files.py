"""DICOM files made for tests, with a patient whose traces can be searched for."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

PATIENT = {
    "PatientName": "Zacharias^Quentin",
    "PatientID": "QX-77-4711",
    "PatientBirthDate": "19310402",
    "OtherPatientIDs": "PID-OTHER-9",
    "PatientAddress": "7 Hemlock Lane",
    "AccessionNumber": "ACC-90210",
    "StudyDescription": "Follow-up of Quentin",
    "ReferringPhysicianName": "Moreau^Odile",
    "InstitutionName": "Saint Elsewhere",
    "OperatorsName": "Nightshift^Nora",
    "PatientComments": "Allergic to latex",
}


def write_dicom(path: Path, pixels: np.ndarray, *, photometric: str = "MONOCHROME2", **attributes: Any) -> Path:
    """A CT image of a patient.

    Args:
        pixels: (H, W) or (F, H, W) of 8 or 16 bits, or (H, W, 3) uint8.
        attributes: more of them, by keyword; None leaves one out.
    """
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    colour = photometric == "RGB"
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2" if pixels.ndim == 2 else "1.2.840.10008.5.1.4.1.1.2.1"
    for keyword in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        setattr(dataset, keyword, generate_uid())
    dataset.Modality = "CT"
    dataset.Rows, dataset.Columns = pixels.shape[:2] if colour else pixels.shape[-2:]
    dataset.SamplesPerPixel = 3 if colour else 1
    if colour:
        dataset.PlanarConfiguration = 0
    elif pixels.ndim == 3:
        dataset.NumberOfFrames = len(pixels)
    dataset.PhotometricInterpretation = photometric
    dataset.BitsAllocated = dataset.BitsStored = pixels.dtype.itemsize * 8
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    if pixels.ndim == 2:
        dataset.PixelSpacing = [0.5, 0.25]
        dataset.ImagePositionPatient = [-10, -20, 30]
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.SliceThickness = 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for keyword, value in (PATIENT | attributes).items():
            setattr(dataset, keyword, value)
            if value is None:
                del dataset[keyword]
        dataset.PixelData = pixels.tobytes()
        dataset.save_as(path, enforce_file_format=True)
    return path


def frame_groups(num_frames: int) -> dict[str, Any]:
    """The functional groups of an enhanced CT: pixels of 0.5 × 0.25 mm, slices 2 mm apart, another rescale in each frame."""
    from pydicom.dataset import Dataset

    def of(**attributes: Any) -> Dataset:
        dataset = Dataset()
        for keyword, value in attributes.items():
            setattr(dataset, keyword, value)
        return dataset

    shared = of(
        PixelMeasuresSequence=[of(PixelSpacing=[0.5, 0.25], SliceThickness=2, SpacingBetweenSlices=2)],
        PlaneOrientationSequence=[of(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
        FrameVOILUTSequence=[of(WindowCenter=50, WindowWidth=100)],
    )
    own = [
        of(
            FrameContentSequence=[of(FrameComments="Quentin coughed")],
            PlanePositionSequence=[of(ImagePositionPatient=[0, 0, 2 * frame])],
            PixelValueTransformationSequence=[of(RescaleSlope=1, RescaleIntercept=-10 * frame, RescaleType="HU")],
        )
        for frame in range(num_frames)
    ]
    return {"SharedFunctionalGroupsSequence": [shared], "PerFrameFunctionalGroupsSequence": own}
