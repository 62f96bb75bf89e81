"""Results of an image of any size, written while its objects come in; memory is that of a strip of it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import cv2
import numpy as np
from PIL import Image

from maskrcnn import extras
from maskrcnn.atomic import part_of
from maskrcnn.config.model import Category
from maskrcnn.results.draw import as_rgb, colour_of
from maskrcnn.results.geojson import geojson_features
from maskrcnn.results.rows import coco_results
from maskrcnn.structures import Detections

LARGE_FORMATS = ("overlay", "labels", "geojson", "zarr")
LONGEST_OVERLAY = 4096  # pixels of its longer side
_BLOCK = 512  # side of a label map's tiles, and height of the strip that is held
_OPACITY = 0.4  # of a mask in the overlay; its outline is opaque


class LargeWriter:
    """Writes what was found in one large image, part by part.

    `NAME_predictions.json` (COCO rows), and as asked for `NAME.geojson`; `NAME_labels.tif`, a tiled BigTIFF of 32 bits, and
    `NAME_labels.zarr`, the same as a zarr array: 0 is background, k the k-th row; where masks overlap, the one that came first
    keeps the pixel; `NAME_overlay.jpg`, the image made small with masks drawn in. All of them appear when the writer closes,
    and after an error none.

    Args:
        folder: made where it is not there.
        name: what the files are called.
        size: (height, width) of the image.
        file_name: the image's, as the rows call it.
        categories: what labels mean.
        save: some of `LARGE_FORMATS`.
        small: for the overlay: the image made small, (h, w, C) uint8, and by how much.

    Raises:
        ValueError: for another format.
        ImportError: label maps need zarr.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        name: str,
        *,
        size: tuple[int, int],
        file_name: str,
        categories: Sequence[Category],
        save: Sequence[str] = ("overlay", "labels"),
        small: tuple[np.ndarray, int] | None = None,
    ) -> None:
        for wanted in save:
            if wanted not in LARGE_FORMATS:
                raise ValueError(f"Results of tiled images are saved as {', '.join(LARGE_FORMATS)}; received {wanted!r}.")
        if {"labels", "zarr"} & set(save):
            self._zarr = extras.load("zarr", extra="large", why="Label maps of large images need zarr")
        self._paths = {"rows": Path(folder) / f"{name}_predictions.json"}
        endings = {"overlay": "_overlay.jpg", "labels": "_labels.tif", "geojson": ".geojson", "zarr": "_labels.zarr"}
        self._paths |= {kind: Path(folder) / f"{name}{endings[kind]}" for kind in save}
        self._parts = {kind: part_of(path) for kind, path in self._paths.items()}
        self._labels_part = part_of(Path(folder) / f"{name}_labels.zarr")  # of both forms of the label map
        self._size, self._file_name, self._categories = size, file_name, categories
        self._canvas = None if small is None else as_rgb(small[0]).copy()
        self._factor = 1 if small is None else small[1]
        self._open: dict[str, BinaryIO] = {}
        self.count = 0

    def __enter__(self) -> LargeWriter:
        self._paths["rows"].parent.mkdir(parents=True, exist_ok=True)
        starts = {"rows": "[", "geojson": '{"type": "FeatureCollection", "features": ['}
        for kind in starts.keys() & self._paths.keys():
            self._open[kind] = open(self._parts[kind], "wb")
            self._open[kind].write(starts[kind].encode())
        if {"labels", "zarr"} & self._paths.keys():
            shape, chunks = self._size, (min(_BLOCK, self._size[0]), min(_BLOCK, self._size[1]))
            self._labels = self._zarr.create_array(
                store=self._labels_part, shape=shape, chunks=chunks, dtype="uint32", fill_value=0
            )
        return self

    def write(self, detections: Detections) -> None:
        """Objects of the whole image, in its pixels; each is given once."""
        if not len(detections):
            return
        rows = coco_results(detections, image_id=1, file_name=self._file_name, categories=self._categories)
        self._append("rows", rows)
        if "geojson" in self._open:
            features = geojson_features(detections)
            for feature in features:
                feature["properties"]["measurements"]["object"] += self.count
            self._append("geojson", features)
        cutouts = list(detections.cutouts())
        if {"labels", "zarr"} & self._paths.keys():
            self._paint(cutouts)
        if self._canvas is not None:
            keys = range(self.count, self.count + len(cutouts)) if len(self._categories) < 2 else detections.labels.tolist()
            for (mask, corner), key in zip(cutouts, keys):
                self._draw(self._canvas, mask, corner, colour_of(key))
        self.count += len(detections)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if error is None:
                for name, end in (("rows", "\n]\n"), ("geojson", "\n]}\n")):
                    if name in self._open:
                        self._open[name].write(end.encode())
                if "labels" in self._paths:
                    self._write_tiff()
                if self._canvas is not None:
                    Image.fromarray(self._canvas).save(self._parts["overlay"], format="JPEG", quality=90)
            for file in self._open.values():
                file.close()
            if error is None:
                if "zarr" in self._paths and self._paths["zarr"].is_dir():
                    shutil.rmtree(self._paths["zarr"])  # a folder cannot be replaced in one step
                for name, path in self._paths.items():
                    os.replace(self._parts[name], path)
        finally:
            for file in self._open.values():
                file.close()
            for part in self._parts.values():
                part.unlink(missing_ok=True) if not part.is_dir() else shutil.rmtree(part)
            shutil.rmtree(self._labels_part, ignore_errors=True)

    def _append(self, kind: str, values: list[dict[str, Any]]) -> None:
        lines = ",\n".join(json.dumps(value, allow_nan=False) for value in values)
        self._open[kind].write(f"{',' if self.count else ''}\n{lines}".encode())

    def _paint(self, cutouts: list[tuple[np.ndarray, tuple[int, int]]]) -> None:
        """Numbers the masks' pixels that have no number yet, strip by strip."""
        tops = np.array([top for _, (_, top) in cutouts])
        bottoms = np.array([top + len(mask) for mask, (_, top) in cutouts])
        for start in range(int(tops.min()) // _BLOCK * _BLOCK, int(bottoms.max()), _BLOCK):
            within = np.flatnonzero((tops < start + _BLOCK) & (bottoms > start)).tolist()
            if not within:
                continue
            strip = self._labels[start : start + _BLOCK]
            for row in within:
                mask, (left, top) = cutouts[row]
                mask = mask[max(0, start - top) : start + _BLOCK - top]
                place = strip[max(0, top - start) : max(0, top - start) + len(mask), left : left + mask.shape[1]]
                place[mask & (place == 0)] = self.count + row + 1
            self._labels[start : start + _BLOCK] = strip

    def _write_tiff(self) -> None:
        import tifffile

        tifffile.imwrite(
            self._parts["labels"],
            self._blocks(),
            shape=self._size,
            dtype=np.uint32,
            tile=(_BLOCK, _BLOCK),
            compression="zlib",
            photometric="minisblack",
            bigtiff=True,
            metadata=None,
        )

    def _blocks(self) -> Iterator[np.ndarray]:
        height, width = self._size
        for top in range(0, height, _BLOCK):
            strip = self._labels[top : top + _BLOCK]
            strip = np.pad(strip, ((0, _BLOCK - len(strip)), (0, -width % _BLOCK)))
            for left in range(0, width, _BLOCK):
                yield np.ascontiguousarray(strip[:, left : left + _BLOCK])

    def _draw(self, canvas: np.ndarray, mask: np.ndarray, corner: tuple[int, int], colour: tuple[int, int, int]) -> None:
        """Tints what a mask covers of the small image, and its rim."""
        factor = self._factor
        left, top = corner[0] // factor, corner[1] // factor
        before = corner[1] - top * factor, corner[0] - left * factor
        sides = [-(-(start + length) // factor) for start, length in zip(before, mask.shape)]
        grid = np.zeros((sides[0] * factor, sides[1] * factor), np.float32)
        grid[before[0] : before[0] + mask.shape[0], before[1] : before[1] + mask.shape[1]] = mask
        small = cv2.resize(grid, (sides[1], sides[0]), interpolation=cv2.INTER_AREA) >= 0.5
        place = canvas[top : top + sides[0], left : left + sides[1]]
        small = small[: place.shape[0], : place.shape[1]]
        inner = cv2.erode(small.astype(np.uint8), np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
        place[small] = (place[small] * (1 - _OPACITY) + np.array(colour) * _OPACITY).astype(np.uint8)
        place[small & (inner == 0)] = colour
