"""The detections that people hold: they can be looked at, saved, and handed to other libraries."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from PIL import Image

from maskrcnn import extras, structures
from maskrcnn.atomic import write_json, write_text, write_whole
from maskrcnn.geometry.polygons import mask_to_polygons
from maskrcnn.geometry.rle import rle_to_json
from maskrcnn.images.images import count_planes, read_image
from maskrcnn.results.draw import draw_detections
from maskrcnn.results.embedding import data_uri
from maskrcnn.results.geojson import geojson_features

if TYPE_CHECKING:
    import pandas
    import supervision

_IMAGE_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
_SHOWN_ROWS = 20  # of the table in a notebook
_SHOWN_SIDE = 800  # pixels of the overlay in a notebook
_LABELME = "5.0.1"  # the version of the format


@dataclass(frozen=True, eq=False)
class Detection:
    """One object, obtained by iterating over `Detections`; original pixels.

    Attributes:
        box: (4,) float32 xyxy.
        score: in [0, 1].
        label: index into the model's classes.
        name: of the class.
        cutout: (h, w) bool, the mask cut to its box.
        corner: (left, top) of the cutout in the image.
        size: (height, width) of the image.
        track_id: of the object in a video; None for single images.
        keypoints: (K, 3) x, y and a score in [0, 1]; None where the model has none.
    """

    box: np.ndarray
    score: float
    label: int
    name: str
    cutout: np.ndarray
    corner: tuple[int, int]
    size: tuple[int, int]
    track_id: int | None = None
    keypoints: np.ndarray | None = None

    def __repr__(self) -> str:
        left, top, right, bottom = self.box.tolist()
        return f"Detection({self.name} {self.score:.2f} at {left:.0f}, {top:.0f} to {right:.0f}, {bottom:.0f})"

    @property
    def mask(self) -> np.ndarray:
        """(H, W) bool, of the whole image."""
        mask, (left, top) = np.zeros(self.size, bool), self.corner
        mask[top : top + self.cutout.shape[0], left : left + self.cutout.shape[1]] = self.cutout
        return mask

    @property
    def area(self) -> int:
        """Pixels of the mask."""
        return int(np.count_nonzero(self.cutout))

    @property
    def polygon(self) -> list[np.ndarray]:
        """The outer outline of each part of the mask, each (P, 2) float32 x, y, without holes."""
        corner = np.array(self.corner, np.float32)
        return [outline + corner for outline in mask_to_polygons(self.cutout)]

    def crop(self, image: np.ndarray, *, background: int | None = None) -> np.ndarray:
        """The region of the mask, a copy.

        Args:
            image: (H, W) or (H, W, C), the processed image.
            background: the value of pixels that are not mask; None leaves them as they are.

        Raises:
            ValueError: an image of another size.
        """
        if image.shape[:2] != tuple(self.size):
            raise ValueError(f"The object is in an image of {tuple(self.size)}; received one of {image.shape[:2]}.")
        left, top = self.corner
        region = image[top : top + self.cutout.shape[0], left : left + self.cutout.shape[1]].copy()
        if background is not None:
            region[~self.cutout] = background
        return region


class Detections(structures.Detections):
    """The objects detected in one image. Data and masks are those of `structures.Detections`; this class shows, saves and
    converts them.

    Example:
        (found,) = model.detect("cells.png")
        found.filter(score=0.7, classes="cell").save("cells_found.png")
        for cell in found:
            print(cell.name, cell.score, cell.area)
    """

    def __iter__(self) -> Iterator[Detection]:
        """The detections as objects, one by one; memory of one mask at a time."""
        for row, (cutout, corner) in enumerate(self.cutouts()):
            label = int(self.labels[row])
            yield Detection(
                box=self.boxes[row],
                score=float(self.scores[row]),
                label=label,
                name=self.class_names[label] if self.class_names else "object",
                cutout=cutout,
                corner=corner,
                size=self.size,
                track_id=None if self.track_ids is None else int(self.track_ids[row]),
                keypoints=None if self.keypoints is None else self.keypoints[row],
            )

    def filter(
        self,
        *,
        score: float = 0.0,
        classes: str | Sequence[str] | None = None,
        min_area: float = 0.0,
        max_area: float = math.inf,
    ) -> Self:
        """The detections that meet all conditions.

        Args:
            score: the lowest score.
            classes: name of a class, or several; None: all.
            min_area, max_area: pixels of the mask, both included.

        Raises:
            ValueError: a class that the model does not know.
        """
        keep = self.scores >= score
        if classes is not None:
            wanted = [classes] if isinstance(classes, str) else list(classes)
            unknown = [name for name in wanted if name not in self.class_names]
            if unknown:
                known = ", ".join(self.class_names) or "none, for the detections name no classes"
                raise ValueError(f"Unknown class {', '.join(map(repr, unknown))}; possible: {known}.")
            keep &= np.isin(self.labels, [self.class_names.index(name) for name in wanted])
        if min_area > 0 or max_area < math.inf:
            areas = self.areas()
            keep &= (areas >= min_area) & (areas <= max_area)
        return self[keep]

    def plot(self, image: Any = None, *, scores: bool = True) -> Image.Image:
        """The image with masks, boxes, names and scores drawn.

        Args:
            image: (H, W) or (H, W, C) uint8 array, a Pillow image, or a path; by default the processed image.
            scores: whether captions include the scores.

        Raises:
            ValueError: an image of another size, or none given and the processed image was not kept.
        """
        return Image.fromarray(draw_detections(self._pixels(image), self, show_scores=scores))

    def show(self, image: Any = None) -> None:
        """Opens the plot in the system's image viewer; in a notebook, detections in a cell's last line show themselves.

        Args:
            image: as `plot` takes it.
        """
        self.plot(image).show()

    def save(self, path: str | os.PathLike[str], image: Any = None) -> Path:
        """Writes the format of the file's suffix; the file appears complete or not at all.

        Args:
            path: `.png`, `.jpg` or `.webp`: the plot. `.json`: rows of COCO results. `.geojson`: outlines, for QuPath and
                GIS. `.csv`: the table of `to_frame`.
            image: of the plot, see there.

        Raises:
            ValueError: another suffix.
        """
        path = Path(path)
        suffix = path.suffix.lower()
        if suffix in _IMAGE_FORMATS:
            plot = self.plot(image)
            write_whole(path, lambda file: plot.save(file, format=_IMAGE_FORMATS[suffix]))
        elif suffix == ".json":
            write_json(path, self.to_coco())
        elif suffix == ".geojson":
            write_json(path, self.to_geojson())
        elif suffix == ".csv":
            write_text(path, self.to_frame().to_csv(index=False))
        else:
            wanted = ", ".join([*_IMAGE_FORMATS, ".json", ".geojson", ".csv"])
            raise ValueError(
                f"Detections are saved as {wanted}; received {path.name!r}. maskrcnn.verbs.data.save_predictions "
                "writes data sets in the formats of annotation tools."
            )
        return path

    def to_coco(self, *, image_id: int = 1, category_ids: Sequence[int] | None = None) -> list[dict[str, Any]]:
        """Rows of a COCO results file, in original pixels.

        Args:
            image_id: of the image in the data set.
            category_ids: of each class; 1, 2, … by default.
        """
        ids = [label + 1 for label in range(int(self.labels.max(initial=-1)) + 1)] if category_ids is None else category_ids
        rows = []
        for number, (box, score, label, rle) in enumerate(
            zip(self.boxes.tolist(), self.scores.tolist(), self.labels.tolist(), self.rle())
        ):
            left, top, right, bottom = box
            rows.append(
                {
                    "image_id": image_id,
                    "category_id": int(ids[label]),
                    "bbox": [left, top, right - left, bottom - top],
                    "score": score,
                    "segmentation": rle_to_json(rle),
                    **self.keypoint_row(number),
                }
            )
        return rows

    def to_geojson(self) -> dict[str, Any]:
        """A GeoJSON FeatureCollection in pixels, each object a polygon with its holes, as QuPath opens it."""
        return {"type": "FeatureCollection", "features": geojson_features(self)}

    def to_labelme(self) -> dict[str, Any]:
        """The content of a LabelMe file: a polygon for each part of an object, parts of one object with the same `group_id`.

        LabelMe's polygons have no holes.
        """
        shapes = []
        for number, (cutout, corner) in enumerate(self.cutouts()):
            outlines = mask_to_polygons(cutout)
            shapes += [
                {
                    "label": self._name(number),
                    "points": (outline + np.array(corner, np.float32)).tolist(),
                    "group_id": number if len(outlines) > 1 else None,
                    "shape_type": "polygon",
                    "flags": {},
                }
                for outline in outlines
            ]
        height, width = self.size
        return {
            "version": _LABELME,
            "flags": {},
            "shapes": shapes,
            "imagePath": None if self.path is None else Path(self.path).name,
            "imageData": None,
            "imageHeight": height,
            "imageWidth": width,
        }

    def to_supervision(self) -> supervision.Detections:
        """`supervision.Detections` with masks in run lengths (`CompactMask`): memory of the outlines, not of bitmaps.

        Raises:
            ImportError: supervision is not installed.
        """
        library = extras.load("supervision", extra="tracking", why="to_supervision needs supervision")
        compact = extras.load("supervision.detection.compact_mask", extra="tracking", why="to_supervision needs supervision")
        whole = np.concatenate([np.zeros((0, 4)), *map(_whole_box, self.cutouts())])  # supervision counts the last pixel in
        return library.Detections(
            xyxy=self.boxes.astype(np.float32),
            mask=compact.CompactMask.from_coco_rle(self.rle(), whole, self.size),
            confidence=self.scores.astype(np.float32),
            class_id=self.labels.astype(int),
            tracker_id=None if self.track_ids is None else self.track_ids.astype(int),
            data={"class_name": np.array([self._name(number) for number in range(len(self))], dtype=np.str_)},
        )

    def to_frame(self) -> pandas.DataFrame:
        """A pandas table, one row per object: class, score, box and the mask's area, in original pixels.

        Raises:
            ImportError: pandas is not installed.
        """
        library = extras.load("pandas", extra="tables", why="to_frame needs pandas")
        columns: dict[str, Any] = {
            "class": [self._name(number) for number in range(len(self))],
            "score": self.scores,
            "left": self.boxes[:, 0],
            "top": self.boxes[:, 1],
            "right": self.boxes[:, 2],
            "bottom": self.boxes[:, 3],
            "area": self.areas(),
        }
        if self.track_ids is not None:
            columns["track_id"] = self.track_ids
        return library.DataFrame(columns)

    def _repr_html_(self) -> str:
        """The plot and a table, as a notebook shows them; the table alone where the image was not kept."""
        try:
            plot = self.plot()
        except (ValueError, OSError):
            shown = ""
        else:
            plot.thumbnail((_SHOWN_SIDE, _SHOWN_SIDE))
            shown = f'<img alt="Detections" style="max-width:100%" src="{data_uri(plot)}">'
        rows = "".join(
            f"<tr><td>{number}</td><td>{escape(self._name(number))}</td><td>{self.scores[number]:.3f}</td><td>{area}</td></tr>"
            for number, area in enumerate(self[:_SHOWN_ROWS].areas().tolist())
        )
        more = len(self) - _SHOWN_ROWS
        rest = f'<tr><td colspan="4">and {more} more</td></tr>' if more > 0 else ""
        head = "<tr><th></th><th>class</th><th>score</th><th>area</th></tr>"
        return f"<div><p>{escape(repr(self))}</p>{shown}<table>{head}{rows}{rest}</table></div>"

    def _name(self, number: int) -> str:
        return self.class_names[self.labels[number]] if self.class_names else "object"

    def _pixels(self, image: Any) -> np.ndarray:
        """(H, W, C) uint8 of what was given, or of the image that was searched."""
        image = image if image is not None else self.image if self.image is not None else self.path
        if image is None:
            raise ValueError("The image that was searched was not kept; give it: plot(image).")
        if isinstance(image, (str, os.PathLike)):
            if self.path == image and count_planes(image) > 1:
                raise ValueError(f"{image} has several planes; give the image that was searched: plot(image).")
            return read_image(Path(image))
        pixels = np.asarray(image)
        return pixels[:, :, None] if pixels.ndim == 2 else pixels


def _whole_box(cutout: tuple[np.ndarray, tuple[int, int]]) -> np.ndarray:
    """(1, 4) of a bitmap with its corner: xyxy, the last pixels included."""
    (height, width), (left, top) = cutout[0].shape, cutout[1]
    return np.array([[left, top, left + max(width, 1) - 1, top + max(height, 1) - 1]], np.float64)
