"""Reads DICOM: frame by frame, as values (Hounsfield units, say) and as the image that its window shows.

What belongs to the patient is read by no one here: what leaves this module besides pixels is the data set of `_reference`.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from typing import Any

import numpy as np

from maskrcnn import extras
from maskrcnn.images.content import Content
from maskrcnn.images.declared import DEFLATE, PACKBITS, check_memory, check_planes, check_stored
from maskrcnn.images.files import DICOM_SUFFIXES, PLAIN_SUFFIXES, check_size, errors_in_one_line
from maskrcnn.images.opened import Display, ImageFile, only_plane
from maskrcnn.images.values import looked_up, stretch, to_channels, windowed
from maskrcnn.structures import PixelSize, Plane, Source

_WHY = "DICOM files need pydicom"
_GROUPS = ("PixelMeasuresSequence", "PixelValueTransformationSequence", "FrameVOILUTSequence")  # functional groups read here
_PLACE = ("PixelMeasuresSequence", "PlanePositionSequence", "PlaneOrientationSequence")  # those that results need
_VALUES = (  # what turns stored values into real ones and into an image
    "PhotometricInterpretation", "PresentationLUTShape", "BitsStored", "PixelRepresentation", "PixelSpacing",
    "SpacingBetweenSlices", "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence",
    "WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence",
)  # fmt: skip
# What a result needs to name its source and to lie where that lies. UIDs are numbers without meaning; texts are left behind.
_REFERENCES = (
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "Modality", "Rows",
    "Columns", "NumberOfFrames", "PixelSpacing", "SliceThickness", "SpacingBetweenSlices", "ImagePositionPatient",
    "ImageOrientationPatient", "DimensionOrganizationType",
)  # fmt: skip
_PATIENT = (  # type 2 of the patient and study modules: they are there, and empty
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate", "StudyTime",
    "ReferringPhysicianName",
)  # fmt: skip


def recognise(content: Content) -> bool:
    """Whether a file is DICOM: by its name, or by DICM behind a preamble of 128 bytes (DICOM PS3.10, section 7.1)."""
    name = content.name.lower()
    return name.endswith(DICOM_SUFFIXES) or (content.start[128:132] == b"DICM" and not name.endswith(PLAIN_SUFFIXES))


def read(content: Content, display: Display) -> ImageFile:
    """The file, open: its header is read, its frames are not."""
    return DicomImage(extras.load("pydicom", extra="medical", why=_WHY), content, display)


class DicomImage(ImageFile):
    """The frames of a DICOM file.

    Values are those after the file's rescale slope and intercept or modality table. The image is what the file says is to be
    shown of them: its VOI table, its first window, or, where it has neither, all of them if they have 8 bits, else from the
    0.1th to the 99.9th percentile. MONOCHROME1, where low is white, is turned over. Colors are RGB whatever the file's.
    """

    has_regions = False

    def __init__(self, pydicom: Any, content: Content, display: Display) -> None:
        super().__init__(content, display)
        self._pydicom = pydicom
        with errors_in_one_line(self.name):
            header = self._header = _read_header(pydicom, content)
            num_frames = int(header.get("NumberOfFrames") or 1)
            pixel_size, spacing = _pixel_size(_of_frame(pydicom, header, 0))
            self.size = (int(header.Rows), int(header.Columns))
            self.source = Source(
                path=self.name,
                size=self.size,
                counts=(num_frames,) if num_frames > 1 else (),
                axes="Z" if num_frames > 1 else "",
                pixel_size=pixel_size,
                spacing=spacing,
                grid=_reference(pydicom, header, display.keep_patient),
            )

    def first(self) -> np.ndarray:
        return only_plane(self).image

    def values(self, number: int) -> np.ndarray:
        with closing(self.planes()) as planes:
            return next(itertools.islice(planes, number - 1, None)).values

    def planes(self) -> Generator[Plane]:
        with errors_in_one_line(self.name), closing(_frames(self._pydicom, self.content, self._header)) as frames:
            for number in range(1, self.source.num_planes + 1):
                with _quiet():
                    stored = next(frames, None)
                    if stored is None:
                        raise ValueError(f"it has {number - 1} of the {self.source.num_planes} frames that it says it has")
                    values, image = _values_and_image(self._pydicom, stored, self._header, number - 1, self.display.window)
                yield Plane(self.source, number, values, image)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without pydicom's remarks on files that bend the standard, which most do somewhere."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _read_header(pydicom: Any, content: Content) -> Any:
    try:
        with _quiet():
            content.file.seek(0)
            header = pydicom.dcmread(content.file, stop_before_pixels=True)
    except pydicom.errors.InvalidDicomError:
        raise ValueError("it is no DICOM file: DICM is not at its byte 128") from None
    if "Rows" not in header or "Columns" not in header:
        what = header.get("Modality") or "DICOM"
        raise ValueError(f"this {what} file holds no image")
    _check_declared(header, content.length)
    return header


def _check_declared(header: Any, length: int) -> None:
    """Refuses frames that cannot be in the file."""
    size, num_frames = (int(header.Rows), int(header.Columns)), int(header.get("NumberOfFrames") or 1)
    check_size(*size)
    check_planes(num_frames)
    syntax = header.file_meta.get("TransferSyntaxUID")
    frame = math.prod(size) * int(header.get("SamplesPerPixel") or 1) * int(header.get("BitsAllocated") or 8) // 8
    if "42" in str(header.get("PhotometricInterpretation")):  # YBR_FULL_422 and its kin store colors once for several pixels
        frame //= 2
    if syntax is None or not syntax.is_compressed:
        check_stored(frame * num_frames, length, 1)
    elif syntax.is_deflated:
        check_stored(frame * num_frames, length, DEFLATE)
    elif syntax.name == "RLE Lossless":
        check_stored(frame * num_frames, length, PACKBITS)
    else:
        check_stored(num_frames, length, 1)  # whatever it is compressed with, a frame has bytes of its own
    check_memory(size, int(header.get("SamplesPerPixel") or 1), int(header.get("BitsAllocated") or 8) // 8)


def _frames(pydicom: Any, content: Content, header: Any) -> Generator[np.ndarray]:
    """Decoded frames, colors as RGB; from the file itself, so that one frame at a time is in memory."""
    syntax = header.file_meta.get("TransferSyntaxUID")
    try:
        # A deflated file has to be inflated as a whole.
        whole = syntax is not None and syntax.is_deflated
        content.file.seek(0)
        yield from pydicom.pixels.iter_pixels(pydicom.dcmread(content.file) if whole else content.file)
    except RuntimeError as error:  # no decoder, or none that could
        if "missing dependencies" in str(error):
            raise ValueError(
                f"it is compressed as {syntax.name}, for which pydicom needs another library: pip install python-gdcm"
            ) from error
        raise ValueError(f"its {syntax.name} cannot be decoded: {str(error).splitlines()[-1].strip()}") from error


def _of_frame(pydicom: Any, header: Any, frame: int) -> Any:
    """What holds for one frame: the file's attributes, then the functional groups that all share, then the frame's own."""
    merged = pydicom.Dataset()
    merged.file_meta = header.file_meta
    merged.set_original_encoding(*header.original_encoding)
    for keyword in _VALUES:
        if keyword in header:
            merged[keyword] = header[keyword]
    shared, own = (header.get(f"{which}FunctionalGroupsSequence") or [] for which in ("Shared", "PerFrame"))
    for group in [*shared[:1], *own[frame : frame + 1]]:
        for keyword in _GROUPS:
            for item in group.get(keyword) or []:
                merged.update(item)
    return merged


def _values_and_image(
    pydicom: Any, stored: np.ndarray, header: Any, frame: int, window: tuple[float, float] | int | None
) -> tuple[np.ndarray, np.ndarray]:
    stored = np.ascontiguousarray(stored, stored.dtype.newbyteorder("="))
    colours = header.get("PhotometricInterpretation")
    if colours == "PALETTE COLOR":
        stored = pydicom.pixels.apply_color_lut(stored, header)
        stored = stored if stored.dtype == np.uint8 else (stored >> 8).astype(np.uint8)  # tables of 16 bits go up to 65280
    if stored.ndim == 3:
        if str(colours).startswith("YBR_PARTIAL"):
            raise ValueError(f"its colors are {colours}, which is not supported")
        return stored, to_channels(stored)
    about = _of_frame(pydicom, header, frame)
    values = pydicom.pixels.apply_modality_lut(stored, about)
    image = _shown(values, about, window)
    if about.get("PhotometricInterpretation") == "MONOCHROME1" or about.get("PresentationLUTShape") == "INVERSE":
        image = 255 - image
    return values, to_channels(image)


def _shown(values: np.ndarray, about: Any, window: tuple[float, float] | int | None) -> np.ndarray:
    if isinstance(window, tuple):
        return windowed(values, *window)
    tables = about.get("VOILUTSequence") or []
    if tables and window is None:
        length, first, bits = (int(number) for number in tables[0].LUTDescriptor)
        table = tables[0].LUTData
        if isinstance(table, bytes):
            table = np.frombuffer(table, "<u2" if about.original_encoding[1] else ">u2")
        return looked_up(values, np.asarray(table)[: length or 2**16], first, bits)
    centres, widths = (_numbers(about.get(keyword)) for keyword in ("WindowCenter", "WindowWidth"))
    windows = list(zip(centres, widths))
    if window is not None and not 1 <= window <= len(windows):
        raise ValueError(f"it has {len(windows)} windows of its own; received number {window}")
    if windows:
        function = str(about.get("VOILUTFunction") or "LINEAR").upper()
        return windowed(values, *windows[(window or 1) - 1], function=function)
    return values if values.dtype == np.uint8 else stretch(values)


def _numbers(value: Any) -> list[float]:
    """The numbers of an attribute that holds one, several or none."""
    if value is None or value == "":
        return []
    return (
        [float(number) for number in value] if isinstance(value, (list, tuple)) or hasattr(value, "append") else [float(value)]
    )


def _pixel_size(about: Any) -> tuple[PixelSize | None, float | None]:
    """Of Pixel Spacing alone: Imager Pixel Spacing is the detector's, and what lay before it was smaller."""
    spacing = _numbers(about.get("PixelSpacing"))
    if len(spacing) != 2 or min(spacing) <= 0:
        return None, None
    return PixelSize(spacing[0], spacing[1], "mm"), next(iter(_numbers(about.get("SpacingBetweenSlices"))), None)


def _reference(pydicom: Any, header: Any, keep_patient: bool) -> Any:
    """A data set that names the file and says where it lies, with the patient's attributes empty unless they are to be kept."""
    reference = pydicom.Dataset()
    reference.file_meta = pydicom.dataset.FileMetaDataset()
    reference.file_meta.TransferSyntaxUID = header.file_meta.get("TransferSyntaxUID")
    reference.set_original_encoding(*header.original_encoding)
    for keyword in _REFERENCES:
        if keyword in header:
            reference[keyword] = header[keyword]
    for which in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        if which in header:
            setattr(reference, which, [_only(pydicom, group, _PLACE) for group in header[which].value])
    for keyword in _PATIENT:
        setattr(reference, keyword, header.get(keyword, "") if keep_patient else "")
    if keep_patient and "SpecificCharacterSet" in header:
        reference["SpecificCharacterSet"] = header["SpecificCharacterSet"]
    return reference


def _only(pydicom: Any, group: Any, keywords: tuple[str, ...]) -> Any:
    kept = pydicom.Dataset()
    for keyword in keywords:
        if keyword in group:
            kept[keyword] = group[keyword]
    return kept
