"""The files that people keep: COCO results, label maps and overlays. Each appears whole under its name, or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from maskrcnn import extras
from maskrcnn.atomic import write_png, write_whole
from maskrcnn.config.model import Category
from maskrcnn.results.dicom_seg import write_dicom_seg
from maskrcnn.results.draw import draw_detections
from maskrcnn.results.earlier import IMAGES
from maskrcnn.results.geojson import geojson_features, write_features
from maskrcnn.results.json_rows import JsonRows
from maskrcnn.results.measure import MeasurementTable, measure
from maskrcnn.results.names import Names, stem_of
from maskrcnn.results.rows import coco_results, label_map
from maskrcnn.results.volumes import empty_volume, write_nifti, write_ome_tiff
from maskrcnn.structures import Detections, Plane, Source, VoxelGrid

SAVE_FORMATS = ("overlay", "labels", "geojson", "ome-tiff", "nifti", "dicom-seg")
_VOLUMES = {"ome-tiff", "nifti", "dicom-seg"}  # made of the label maps of all planes of a file
_LABELLED = _VOLUMES | {"labels"}
_NEEDED = (
    ("measurements", "skimage.measure", "Measurements need scikit-image"),
    ("nifti", "nibabel", "NIfTI files need nibabel"),
    ("dicom-seg", "highdicom", "DICOM segmentations need highdicom"),
)


class PredictionWriter:
    """Writes a folder of predictions, image by image, and holds none of them.

    For each image `NAME_overlay.png` (masks, boxes, names, scores) and `NAME_labels.png` (16-bit label map), or what else is
    asked for; NAME is the image's own without its suffix, numbered where it has been used, and with the plane's number where
    the file has several. And `predictions.json`, the rows of all images in COCO's result format, and `images.json`, which says
    for each image its NAME. Those appear when the writer closes, and it closes the same way after an error or Ctrl-C: what was
    written until then is kept.

    A whole file has one `NAME_labels.ome.tif`, `NAME_labels.nii.gz`, `NAME_seg.dcm` or `NAME.geojson`, whatever its planes; it
    appears when the last of them is done. The objects of all planes are numbered through in it, and `measurements.csv` has both
    that number (`object_in_file`) and the one in the plane's label map (`object`).

    Args:
        folder: made where it is not there.
        save: some of `SAVE_FORMATS`.
        measurements: whether each image's objects are measured, see `measure`.
        names: those given in the folder so far, where others write into it too.
        image_ids: of images by their path, such as those of a data set; others, and all where None, count from 1.

    Example:
        with PredictionWriter("found") as writer:
            for path in paths:
                image = read_image(path)
                (detections,) = model.detect([image])
                writer.write(path, image, detections, model.config.categories)
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        save: Sequence[str] = ("overlay", "labels"),
        measurements: bool = False,
        names: Names | None = None,
        image_ids: Mapping[str, int] | None = None,
    ) -> None:
        check_formats(save, measurements=measurements)
        self.folder = Path(folder)
        self.save = frozenset(save)
        self._measure = measurements
        self._table: MeasurementTable | None = None
        self._stack: _Stack | None = None
        self._num_images = self.image_id = 0  # the id of the image that was written last
        self._names = names or Names()
        self._image_ids = image_ids or {}
        self._rows = JsonRows(self.folder / "predictions.json")
        self._images = JsonRows(self.folder / IMAGES)
        self._closing: ExitStack | None = None

    def __enter__(self) -> PredictionWriter:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._closing = ExitStack()
        self._closing.enter_context(self._images)
        self._closing.enter_context(self._rows)
        if self._measure:
            self._table = MeasurementTable(self.folder)
        return self

    def check(self, source: Source) -> None:
        """Whether a file's results can be saved in all formats asked for.

        Raises:
            ValueError: NIfTI or DICOM of another kind of file: their results lie on the source's own grid.
        """
        for name, kind, fits in (
            ("nifti", "NIfTI", isinstance(source.grid, VoxelGrid)),
            ("dicom-seg", "DICOM", source.grid is not None and not isinstance(source.grid, VoxelGrid)),
        ):
            if name in self.save and not fits:
                raise ValueError(
                    f"Cannot save {source.path} as {name}, which lies on the grid of a {kind} file; ome-tiff takes any image."
                )

    def write(
        self, path: str | os.PathLike[str], image: np.ndarray, detections: Detections, categories: Sequence[Category]
    ) -> str:
        """Writes one image's files and rows. Images get the ids 1, 2, … in the order they come.

        Args:
            path: the image's file: what its rows call it, and what its files are named after.
            image: (H, W, 3) uint8 RGB, the original image.
            detections: what was found in it.
            categories: what the detections' labels mean.

        Returns:
            NAME, the start of its files' names.
        """
        source = Source(os.fspath(path), (image.shape[0], image.shape[1]))
        return self.write_plane(Plane(source, 1, image, image), detections, categories)

    def write_plane(self, plane: Plane, detections: Detections, categories: Sequence[Category]) -> str:
        """As `write`, for one plane of a file; a file's planes come in their order, one file after the other.

        Raises:
            ValueError: what was asked for cannot be written of this file; the rest of it is.
        """
        if self._closing is None:
            raise RuntimeError("A PredictionWriter writes inside its `with` block.")
        source = plane.source
        if self._stack is None or self._stack.source is not source:
            self.check(source)
            self._stack = _Stack(source, self._names.new(stem_of(Path(source.path))), self.folder, self.save)
        stack = self._stack
        several = source.num_planes > 1
        name = self._names.new(f"{stack.name}_{plane.number:04d}") if several else stack.name
        self._num_images += 1
        self.image_id = self._image_ids.get(source.path, self._num_images)
        if "overlay" in self.save:
            write_png(self.folder / f"{name}_overlay.png", draw_detections(plane.image, detections))
        labels = label_map(detections) if self.save & _LABELLED else None
        if "labels" in self.save and labels is not None:
            write_png(self.folder / f"{name}_labels.png", labels)
        file_name = Path(source.path).as_posix()
        rows = coco_results(detections, image_id=self.image_id, file_name=file_name, categories=categories)
        image: dict[str, Any] = {"id": self.image_id, "file_name": file_name, "name": name}
        if several:
            rows = [{"file_name": row["file_name"], "frame": plane.number} | row for row in rows]
            image |= {"frame": plane.number, "name_in_file": stack.name}
        self._images.add([image | {"num_objects": len(detections)}])
        self._rows.add(rows)
        measured = measure(detections, plane.values, pixel_size=source.pixel_size) if self._table is not None else None
        if self._table is not None and measured is not None:
            before = len(stack.names)
            self._table.add(
                [
                    {
                        "file": file_name,
                        "frame": plane.number,
                        "object": row["object"],
                        "object_in_file": before + row["object"],
                    }
                    | row
                    for row in measured
                ]
            )
        stack.add(plane.number, detections, labels, measured)
        if plane.number == source.num_planes:
            self._stack = None
            stack.write()
        return name

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._closing is not None
        self._closing.__exit__(kind, error, trace)
        if self._table is not None:
            self._table.close()


def check_formats(save: Sequence[str], *, measurements: bool = False) -> None:
    """Whether results can be saved so, before the first image is read.

    Raises:
        ValueError: a format that is none of `SAVE_FORMATS`.
        ImportError: what writes it is not installed.
    """
    for name in save:
        if name not in SAVE_FORMATS:
            raise ValueError(f"Results are saved as {', '.join(SAVE_FORMATS)}; received {name!r}.")
    for needed, module, why in _NEEDED:
        if needed in save or (needed == "measurements" and measurements):
            extras.load(module, extra="medical", why=why)


class _Stack:
    """What is gathered of a file until its last plane is done: on disk, for it may be a volume."""

    def __init__(self, source: Source, name: str, folder: Path, save: frozenset[str]) -> None:
        self.source, self.name, self.names = source, name, list[str]()  # the names of the objects' classes
        self._folder, self._save = folder, save
        self._labels = self._features = None
        if save & _VOLUMES:
            self._labels = empty_volume((source.num_planes, *source.size), np.uint32, folder)
        if "geojson" in save:
            self._features = tempfile.TemporaryFile("w+", encoding="utf-8", dir=folder)  # noqa: SIM115

    def add(
        self, number: int, detections: Detections, labels: np.ndarray | None, measured: list[dict[str, Any]] | None
    ) -> None:
        if self._labels is not None and labels is not None:
            height, width = labels.shape
            self._labels[number - 1, :height, :width] = labels + np.where(labels > 0, np.uint32(len(self.names)), np.uint32(0))
        if self._features is not None:
            place = self.source.place(number)
            plane = (place.get("Z", 0), place.get("T", 0)) if self.source.num_planes > 1 else None
            for feature in geojson_features(detections, measurements=measured, plane=plane):
                self._features.write(json.dumps(feature, allow_nan=False) + "\n")
        self.names += detections.names if detections.class_names else ["object"] * len(detections)

    def write(self) -> None:
        if self._features is not None:
            with self._features as lines:
                lines.seek(0)
                write_whole(self._folder / f"{self.name}.geojson", lambda file: write_features(file, lines))
        if self._labels is None:
            return
        if "ome-tiff" in self._save:
            write_ome_tiff(self._folder / f"{self.name}_labels.ome.tif", self._labels, self.source)
        if "nifti" in self._save:
            write_nifti(self._folder / f"{self.name}_labels.nii.gz", self._labels, self.source.grid)
        if "dicom-seg" in self._save and self.names:  # DICOM has no segmentation without a segment
            write_dicom_seg(self._folder / f"{self.name}_seg.dcm", self._labels, self.names, self.source)
