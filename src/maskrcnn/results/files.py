"""The files that people keep: COCO results, label maps and overlays. Each appears whole under its name, or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from maskrcnn.config import Category
from maskrcnn.geometry import masks as mask_geometry
from maskrcnn.results.draw import draw_detections
from maskrcnn.structures import Detections


def label_map(detections: Detections) -> np.ndarray:
    """All masks in one picture: 0 = background, k = the k-th detection. Where masks overlap, the higher score wins.

    Returns:
        (H, W) uint16, original pixels.

    Raises:
        ValueError: for more than 65535 detections, which 16 bits cannot tell apart.
    """
    if len(detections) > 65535:
        raise ValueError(
            f"A label map holds up to 65535 objects; received {len(detections)} detections. Ask for a higher score."
        )
    labels = np.zeros(detections.size, np.uint16)
    rles = detections.rle()
    for k in reversed(np.argsort(-detections.scores, kind="stable").tolist()):  # the best last, so that it lies on top
        labels[mask_geometry.rle_to_mask(rles[k])] = k + 1
    return labels


def coco_results(
    detections: Detections, *, image_id: int, file_name: str, categories: Sequence[Category]
) -> list[dict[str, Any]]:
    """The detections as rows of a COCO result file.

    Args:
        detections: what was found in one picture.
        image_id: the picture's id.
        file_name: the picture's file.
        categories: what the detections' labels mean.

    Returns:
        For each detection `file_name`, `image_id`, `category_id`, `category_name`, `bbox` (x, y, width, height), `score` and
        `segmentation` (RLE with `counts` as str), in original pixels. Numbers are not rounded, so that the rows score the same
        as the detections.
    """
    rows = []
    for box, score, label, rle in zip(detections.boxes, detections.scores, detections.labels, detections.rle()):
        left, top, right, bottom = box.tolist()
        rows.append(
            {
                "file_name": file_name,
                "image_id": image_id,
                "category_id": categories[label].id,
                "category_name": categories[label].name,
                "bbox": [left, top, right - left, bottom - top],
                "score": float(score),
                "segmentation": mask_geometry.rle_to_json(rle),
            }
        )
    return rows


class PredictionWriter:
    """Writes a folder of predictions, picture by picture, and holds none of them.

    For each picture `NAME_overlay.png` (masks, boxes, names, scores) and `NAME_labels.png` (16-bit label map), where NAME is
    the picture's own without its suffix, numbered where it has been used; and `predictions.json`, the rows of all pictures in
    COCO's result format. That one appears when the writer closes, and it closes the same way after an error or Ctrl-C: what
    was written until then is kept.

    Example:
        with PredictionWriter("found") as writer:
            for path in paths:
                image = read_image(path)
                (detections,) = model.detect([image])
                writer.write(path, image, detections, model.config.categories)
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._num_pictures = 0
        self._used: set[str] = set()
        self._part = _part_of(self.folder / "predictions.json")
        self._file: BinaryIO | None = None
        self._end = 0  # of the last whole picture's rows

    def __enter__(self) -> PredictionWriter:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._file = open(self._part, "wb")
        self._append("[")
        return self

    def write(
        self, path: str | os.PathLike[str], image: np.ndarray, detections: Detections, categories: Sequence[Category]
    ) -> str:
        """Writes one picture's files and rows. Pictures get the ids 1, 2, … in the order they come.

        Args:
            path: the picture's file: what its rows call it, and what its files are named after.
            image: (H, W, 3) uint8 RGB, the original picture.
            detections: what was found in it.
            categories: what the detections' labels mean.

        Returns:
            NAME, the start of its files' names.
        """
        name = self._new_name(Path(path))
        self._num_pictures += 1
        write_png(self.folder / f"{name}_overlay.png", draw_detections(image, detections))
        write_png(self.folder / f"{name}_labels.png", label_map(detections))
        rows = coco_results(detections, image_id=self._num_pictures, file_name=Path(path).as_posix(), categories=categories)
        if rows:
            separator = ",\n" if self._end > len("[") else "\n"
            self._append(separator + ",\n".join(json.dumps(row, allow_nan=False) for row in rows))
        return name

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._file is not None
        self._file.seek(self._end)  # rows that were broken off in the middle go
        self._file.truncate()
        self._append("\n]\n")
        self._file.close()
        os.replace(self._part, self.folder / "predictions.json")

    def _append(self, text: str) -> None:
        if self._file is None:
            raise RuntimeError("A PredictionWriter writes inside its `with` block.")
        self._file.write(text.encode())
        self._file.flush()
        self._end = self._file.tell()

    def _new_name(self, path: Path) -> str:
        """The file's stem, or the stem with the first free number; `a.png` and `A.png` are one name on some disks."""
        short = path.stem.encode(errors="ignore")[:200]  # file systems take names of 255 bytes
        stem = short.decode(errors="ignore") or "picture"
        name, number = stem, 2
        while name.casefold() in self._used:
            name, number = f"{stem}_{number}", number + 1
        self._used.add(name.casefold())
        return name


def write_png(path: str | os.PathLike[str], image: np.ndarray) -> None:
    """Writes (H, W, 3) uint8 RGB or (H, W) uint8 or uint16 as PNG, whole or not at all."""
    picture = Image.fromarray(image)
    _write(Path(path), lambda file: picture.save(file, format="PNG"))


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes a value as indented JSON, whole or not at all.

    Raises:
        ValueError: for NaN and infinity, which JSON does not have.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_text(path, text)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes a text as UTF-8, whole or not at all."""
    _write(Path(path), lambda file: file.write(text.encode()))


def _write(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    part = _part_of(path)
    try:
        with open(part, "wb") as file:
            write(file)
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _part_of(path: Path) -> Path:
    """Where a file is written until it is whole: in the same folder, so that renaming it is one step."""
    return path.with_name(f".{path.name}.{os.getpid()}.part")
