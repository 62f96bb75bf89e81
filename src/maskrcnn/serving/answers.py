"""What was found, as bytes in the form that a client asks for."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from PIL import Image

from maskrcnn.config.model import Category
from maskrcnn.geometry.rle import rle_area, rle_to_box, rle_to_json
from maskrcnn.results.draw import as_rgb, draw_detections
from maskrcnn.results.geojson import geojson_features
from maskrcnn.results.rows import label_map
from maskrcnn.serving.problems import ProblemError
from maskrcnn.structures import Detections

Format = Literal["rle", "polygons", "geojson", "coco", "labelme", "labels", "overlay"]
LABELME_VERSION = "5.5.0"  # of the files that are written


@dataclass(frozen=True, eq=False)
class Answer:
    """One image of a request and what was found in it.

    Attributes:
        name: of the file, as the client called it.
        image: (H, W, C) uint8, as the model took it.
        detections: in pixels of that image.
    """

    name: str
    image: np.ndarray
    detections: Detections


class _Writer(NamedTuple):
    media_type: str
    write: Callable[[Sequence[Answer], Sequence[Category]], bytes]
    takes_several: bool
    about: str


def select(
    detections: Detections,
    *,
    classes: Sequence[str] | None = None,
    max_detections: int | None = None,
) -> Detections:
    """Those of the wanted classes, the best first, so many at most.

    Raises:
        ProblemError: 422, for a class that the model does not know.
    """
    if classes:
        known = detections.class_names
        unknown = [name for name in classes if name not in known]
        if unknown:
            raise ProblemError(422, f"The model knows no class {unknown[0]!r}; it knows {', '.join(known[:20])}.")
        detections = detections[np.isin(detections.labels, [known.index(name) for name in classes])]
    return detections[:max_detections]


def choose_format(asked: Format | None, accept: str) -> Format:
    """The form of the answer: by `?format=`, else by the Accept header, else RLE.

    Args:
        accept: such as `image/png, application/json;q=0.5`.

    Raises:
        ProblemError: 406, where no form is one that the client takes.
    """
    if asked is not None:
        return asked
    for wanted in _by_preference(accept):
        for name, writer in FORMATS.items():
            if wanted in (writer.media_type, "*/*", writer.media_type.split("/")[0] + "/*"):
                return name
    offered = ", ".join(dict.fromkeys(writer.media_type for writer in FORMATS.values()))
    raise ProblemError(406, f"Answers come as {offered}; received Accept: {accept[:100]}.")


def write(form: Format, answers: Sequence[Answer], categories: Sequence[Category]) -> tuple[bytes, str]:
    """The answer's body and its media type.

    Raises:
        ProblemError: 422, where a form holds one image and there are several.
    """
    writer = FORMATS[form]
    if len(answers) > 1 and not writer.takes_several:
        raise ProblemError(422, f"format={form} answers one image a request; received {len(answers)} files.")
    return writer.write(answers, categories), writer.media_type


def _by_preference(accept: str) -> list[str]:
    """The media types of an Accept header, the most wanted first (RFC 9110, section 12.5.1)."""
    ranked = []
    for part in (accept or "*/*").split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        quality = next((value[2:] for value in parameters if value.startswith("q=")), "1")
        try:
            ranked.append((-float(quality), name.lower()))
        except ValueError:
            continue
    return [name for rank, name in sorted(ranked, key=lambda pair: pair[0]) if rank < 0]


def _objects(detections: Detections, mask: Callable[[int], dict[str, Any]]) -> list[dict[str, Any]]:
    """What every JSON form says of each detection; `mask` adds the rest."""
    names = detections.names if detections.class_names else ["object"] * len(detections)
    return [
        {
            "class": names[k],
            "label": int(detections.labels[k]),
            "score": round(float(detections.scores[k]), 4),
            "box": [round(value, 2) for value in detections.boxes[k].tolist()],
        }
        | mask(k)
        for k in range(len(detections))
    ]


def _json(content: Any) -> bytes:
    return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()


def _per_image(answers: Sequence[Answer], objects: Callable[[Detections], list[dict[str, Any]]]) -> bytes:
    return _json(
        {
            "images": [
                {
                    "name": answer.name,
                    "height": answer.detections.size[0],
                    "width": answer.detections.size[1],
                    "detections": objects(answer.detections),
                }
                for answer in answers
            ]
        }
    )


def objects_of(detections: Detections) -> list[dict[str, Any]]:
    """Detections as JSON has them, with run lengths."""
    rles = detections.rle()
    return _objects(detections, lambda k: {"mask": rle_to_json(rles[k])})


def _write_rle(answers: Sequence[Answer], _: Sequence[Category]) -> bytes:
    return _per_image(answers, objects_of)


def _write_polygons(answers: Sequence[Answer], _: Sequence[Category]) -> bytes:
    def objects(detections: Detections) -> list[dict[str, Any]]:
        parts = detections.polygons()
        return _objects(detections, lambda k: {"polygons": [outline.tolist() for outline in parts[k]]})

    return _per_image(answers, objects)


def _write_geojson(answers: Sequence[Answer], _: Sequence[Category]) -> bytes:
    features = []
    for answer in answers:
        for feature in geojson_features(answer.detections):
            feature["properties"]["image"] = answer.name
            features.append(feature)
    return _json({"type": "FeatureCollection", "features": features})


def _write_coco(answers: Sequence[Answer], categories: Sequence[Category]) -> bytes:
    """A data set that any COCO reader opens; the scores stay with the annotations."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, answer in enumerate(answers, start=1):
        detections = answer.detections
        height, width = detections.size
        images.append({"id": image_id, "file_name": answer.name, "height": height, "width": width})
        for label, score, rle in zip(detections.labels, detections.scores, detections.rle(), strict=True):
            left, top, right, bottom = rle_to_box(rle).tolist()
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": categories[label].id,
                    "bbox": [left, top, right - left, bottom - top],
                    "area": rle_area(rle),
                    "iscrowd": 0,
                    "segmentation": rle_to_json(rle),
                    "score": round(float(score), 4),
                }
            )
    named = [{"id": category.id, "name": category.name} for category in categories]
    return _json({"images": images, "annotations": annotations, "categories": named})


def _write_labelme(answers: Sequence[Answer], _: Sequence[Category]) -> bytes:
    """LabelMe's file of an image: a polygon for each part of a mask; parts of one object share a `group_id`."""
    (answer,) = answers
    detections = answer.detections
    shapes = []
    for k, parts in enumerate(detections.polygons()):
        for outline in parts:
            shapes.append(
                {
                    "label": detections.names[k],
                    "points": outline.tolist(),
                    "group_id": k + 1 if len(parts) > 1 else None,
                    "description": f"score {detections.scores[k]:.3f}",
                    "shape_type": "polygon",
                    "flags": {},
                    "mask": None,
                }
            )
    height, width = detections.size
    content: dict[str, Any] = {
        "version": LABELME_VERSION,
        "flags": {},
        "shapes": shapes,
        "imagePath": answer.name,
        "imageData": None,
    }
    return _json(content | {"imageHeight": height, "imageWidth": width})


def _write_labels(answers: Sequence[Answer], _: Sequence[Category]) -> bytes:
    (answer,) = answers
    return png(label_map(answer.detections))


def _write_overlay(answers: Sequence[Answer], _: Sequence[Category]) -> bytes:
    (answer,) = answers
    return png(draw_detections(as_rgb(answer.image), answer.detections))


def png(pixels: np.ndarray) -> bytes:
    """Pixels (H, W) or (H, W, 3) as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)  # a quarter of the seconds for some more bytes
    return file.getvalue()


FORMATS: dict[Format, _Writer] = {
    "rle": _Writer("application/json", _write_rle, True, "JSON; masks as COCO's compressed run lengths"),
    "polygons": _Writer("application/json", _write_polygons, True, "JSON; masks as outlines without holes"),
    "geojson": _Writer("application/geo+json", _write_geojson, True, "GeoJSON in pixels, as QuPath opens it, with holes"),
    "coco": _Writer("application/json", _write_coco, True, "a COCO data set"),
    "labelme": _Writer("application/json", _write_labelme, False, "a LabelMe file of one image"),
    "overlay": _Writer("image/png", _write_overlay, False, "the image with everything drawn in"),
    "labels": _Writer("image/png", _write_labels, False, "a label map of 16 bits: 0 is background, k the k-th object"),
}
