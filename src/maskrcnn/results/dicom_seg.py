"""Objects as a DICOM Segmentation that names its source and lies where that lies."""

from __future__ import annotations

import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np

from maskrcnn import extras
from maskrcnn.atomic import write_whole
from maskrcnn.structures import Source


def write_dicom_seg(path: Path, labels: np.ndarray, names: list[str], source: Source) -> None:
    """Each object as a binary segment, which every viewer of segmentations knows; the label maps' numbers are the segments'.

    Of the patient there is what `source.grid` holds: nothing, unless it was read with `keep_patient`. The UIDs of study, series
    and image are those of the source, for a segmentation is of something.

    Args:
        path: the file, .dcm.
        labels: (planes, H, W) unsigned, objects numbered through all planes.
        names: the class of each object, the first of number 1.
        source: a DICOM file.

    Raises:
        ImportError: highdicom is not installed.
        ValueError: no object, or a source without a place in space, of both of which DICOM has no segmentations.
    """
    highdicom = extras.load("highdicom", extra="medical", why="DICOM segmentations need highdicom")
    if not 0 < len(names) < 2**16:
        raise ValueError(
            f"Cannot write a DICOM segmentation of {source.path}: it holds 1 to 65535 objects; received {len(names)} objects."
        )
    if source.num_planes > 1 and "PerFrameFunctionalGroupsSequence" not in source.grid:
        raise ValueError(f"Cannot write a DICOM segmentation of {source.path}: its frames have no places in space.")
    maker = highdicom.AlgorithmIdentificationSequence(
        name="maskrcnn",
        version=version("maskrcnn"),
        family=highdicom.sr.CodedConcept("123110", "DCM", "Artificial Intelligence"),
    )
    anything = highdicom.sr.CodedConcept("123037004", "SCT", "Anatomical Structure")
    kinds = {
        name: highdicom.sr.CodedConcept(str(number), "99MASKRCNN", name[:64])
        for number, name in enumerate(dict.fromkeys(names), 1)
    }
    segments = [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=f"{name[:55]} {number}",  # LO: 64 characters
            segmented_property_category=anything,
            segmented_property_type=kinds[name],  # what a class is, its name alone says: a private code
            algorithm_type="AUTOMATIC",
            algorithm_identification=maker,
        )
        for number, name in enumerate(names, start=1)
    ]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sources that bend the standard
            segmentation = highdicom.seg.Segmentation(
                source_images=[source.grid],
                pixel_array=np.asarray(labels if source.num_planes > 1 else labels[0], np.uint16),
                segmentation_type="BINARY",
                segment_descriptions=segments,
                series_instance_uid=highdicom.UID(),
                series_number=1,
                sop_instance_uid=highdicom.UID(),
                instance_number=1,
                manufacturer="maskrcnn",
                manufacturer_model_name="maskrcnn",
                software_versions=version("maskrcnn"),
                device_serial_number="0",
                content_label="MASKRCNN",
                **({} if source.grid.get("SpecificCharacterSet") else {"specific_character_set": "ISO_IR 192"}),
            )
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split()).rstrip(".").replace("'Dataset' object has no attribute", "it has no")
        raise ValueError(f"Cannot write a DICOM segmentation of {source.path}: {reason}.") from error
    write_whole(path, lambda file: segmentation.save_as(file, enforce_file_format=True))
