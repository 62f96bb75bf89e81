"""Measures objects: form, place and brightness, in pixels and in the world's units, as rows of a table."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from maskrcnn import extras
from maskrcnn.atomic import write_whole
from maskrcnn.structures import Detections, PixelSize

_TEXTS = {"file", "class", "unit"}
_WHOLE = {"frame", "object", "object_in_file", "area_px"}
_ROWS = 10_000  # of a Parquet file that are in memory together


def measure(
    detections: Detections, image: np.ndarray, *, pixel_size: PixelSize | tuple[float, float, str] | None = None
) -> list[dict[str, Any]]:
    """Measures the shape, position and intensity of each object.

    Shapes are scikit-image's `regionprops` of each object's own mask, including parts hidden by other objects. Columns that
    end with `_px` are in pixels; the same names without it are in `unit`, if `pixel_size` is given. If pixels are not square,
    eccentricity and orientation are in physical coordinates, and there is no physical perimeter.

    Args:
        detections: what was found.
        image: (H, W) or (H, W, C): the original values, not stretched for display. Identical channels count as one.
        pixel_size: (height, width, unit) of a pixel.

    Returns:
        For each detection `object` (its number in the label map, from 1), `class`, `score`, `area_px`, `perimeter_px`,
        `equivalent_diameter_px` (of the circle of that area), `eccentricity` (0 of a circle, near 1 of a line), `orientation`
        (radians from the image's downward axis to the object's longest, counter-clockwise), `centroid_x_px` and
        `centroid_y_px` (the first pixel covers 0 to 1), the same in units, and the mean and sum of the values that
        are finite, one of each per channel. Undefined values of an object without pixels are None.

    Raises:
        ValueError: for an image of another size than the detections'.
        ImportError: scikit-image is not installed.
    """
    regionprops = extras.load("skimage.measure", extra="medical", why="Measurements need scikit-image").regionprops
    values = np.asarray(image)
    if values.shape[:2] != detections.size or values.ndim not in (2, 3):
        raise ValueError(f"The image has the detections' size {detections.size}; received an array of shape {values.shape}.")
    values = values[:, :, None] if values.ndim == 2 else values
    if values.shape[2] > 1 and (values == values[:, :, :1]).all():
        values = values[:, :, :1]
    names = detections.names if detections.class_names else [""] * len(detections)
    rows = []
    for k, (mask, (left, top)) in enumerate(detections.cutouts()):
        row: dict[str, Any] = {"object": k + 1, "class": names[k], "score": float(detections.scores[k])}
        row |= _form(regionprops, mask, (left, top), None if pixel_size is None else PixelSize(*pixel_size))  # type: ignore[arg-type]
        row |= _brightness(values[top : top + mask.shape[0], left : left + mask.shape[1]], mask)
        rows.append(row)
    return rows


def _form(regionprops: Any, mask: np.ndarray, corner: tuple[int, int], pixel_size: PixelSize | None) -> dict[str, Any]:
    height, width = (1.0, 1.0) if pixel_size is None else pixel_size[:2]
    square = height == width
    regions = regionprops(mask.astype(np.uint8)) if mask.any() else []
    form: dict[str, Any] = dict.fromkeys(
        (
            "area_px", "perimeter_px", "equivalent_diameter_px", "eccentricity", "orientation",
            "centroid_x_px", "centroid_y_px",
        )
    )  # fmt: skip
    for region in regions:  # one: all parts of a mask have the value 1
        shaped = region if square else regionprops(mask.astype(np.uint8), spacing=(height, width))[0]
        form = {
            "area_px": int(region.area),
            "perimeter_px": float(region.perimeter),
            "equivalent_diameter_px": float(region.equivalent_diameter_area),
            "eccentricity": float(shaped.eccentricity),
            "orientation": float(shaped.orientation),
            "centroid_x_px": float(region.centroid[1]) + corner[0] + 0.5,
            "centroid_y_px": float(region.centroid[0]) + corner[1] + 0.5,
        }
    form["area_px"] = form["area_px"] or 0
    if pixel_size is not None:
        area = form["area_px"] * height * width
        x, y, perimeter = form["centroid_x_px"], form["centroid_y_px"], form["perimeter_px"]
        form |= {
            "unit": pixel_size.unit,
            "area": area,
            "perimeter": perimeter * height if square and perimeter is not None else None,
            "equivalent_diameter": math.sqrt(4 * area / math.pi),
            "centroid_x": None if x is None else x * width,
            "centroid_y": None if y is None else y * height,
        }
    return form


def _brightness(values: np.ndarray, mask: np.ndarray) -> dict[str, Any]:
    """Mean and sum of each channel; numbered from 1 where there are several."""
    row: dict[str, Any] = {}
    for channel in range(values.shape[2]):
        inside = values[:, :, channel][mask].astype(np.float64)
        inside = inside[np.isfinite(inside)]
        name = f"_{channel + 1}" if values.shape[2] > 1 else ""
        row[f"mean_intensity{name}"] = float(inside.mean()) if len(inside) else None
        row[f"total_intensity{name}"] = float(inside.sum())
    return row


class MeasurementTable:
    """Collects rows on disk and writes them as `measurements.csv` and, where pyarrow is installed, `measurements.parquet`.

    Rows may differ in their columns: gray images have one brightness, colors three.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._columns: dict[str, None] = {}
        self._rows = tempfile.TemporaryFile("w+", encoding="utf-8", dir=self.folder)  # noqa: SIM115

    def add(self, rows: Sequence[dict[str, Any]]) -> None:
        for row in rows:
            self._columns |= dict.fromkeys(row)
            # The bytes of a name need not be UTF-8, both tables must.
            row = {name: _as_utf8(value) if isinstance(value, str) else value for name, value in row.items()}
            self._rows.write(json.dumps(row) + "\n")

    def close(self) -> None:
        """Writes the files, each whole or not at all."""
        write_whole(self.folder / "measurements.csv", self._write_csv)
        try:
            parquet = extras.load("pyarrow.parquet", extra="medical", why="measurements.parquet needs pyarrow")
        except ImportError as error:
            warnings.warn(str(error), stacklevel=2)
        else:
            write_whole(self.folder / "measurements.parquet", lambda file: self._write_parquet(file, parquet))
        self._rows.close()

    def _read(self) -> Iterator[dict[str, Any]]:
        self._rows.seek(0)
        yield from map(json.loads, self._rows)

    def _write_csv(self, file: Any) -> None:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
        writer = csv.DictWriter(text, self._columns or ["file"])
        writer.writeheader()
        writer.writerows(self._read())
        text.detach()

    def _write_parquet(self, file: Any, parquet: Any) -> None:
        import pyarrow

        kinds = {**dict.fromkeys(_TEXTS, pyarrow.string()), **dict.fromkeys(_WHOLE, pyarrow.int64())}
        schema = pyarrow.schema([(name, kinds.get(name, pyarrow.float64())) for name in self._columns or ["file"]])
        rows = self._read()
        with parquet.ParquetWriter(file, schema) as writer:
            while part := list(islice(rows, _ROWS)):
                writer.write_table(pyarrow.Table.from_pylist(part, schema))


def _as_utf8(text: str) -> str:
    return text.encode(errors="surrogateescape").decode(errors="replace")
