"""Label Studio's JSON export: polygons, rectangles, ellipses and brush masks, in percent of the image's sides.

https://labelstud.io/guide/export. The full JSON and JSON-MIN are read; of several annotations of one image the one marked as
ground truth is used, else the newest.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from maskrcnn.annotations.assembling import Drawn, Entry, Report, assemble
from maskrcnn.annotations.brush_rle import decode_brush, encode_brush
from maskrcnn.annotations.faults import Fault
from maskrcnn.annotations.finding import ImageFinder, image_folders
from maskrcnn.annotations.objects import Annotations
from maskrcnn.annotations.outlines import Rle, Size, as_points, draw_ellipse, draw_polygon
from maskrcnn.annotations.place import Place, ReadOptions
from maskrcnn.annotations.writing import Annotated, ImagesTo, Losses, Row, placed_images, rows_of
from maskrcnn.atomic import write_json
from maskrcnn.geometry.rle import mask_to_rle, rle_to_mask

NAME = "label-studio"
TITLE = "Label Studio's JSON export"
LABELS = ("polygonlabels", "brushlabels", "rectanglelabels", "ellipselabels", "labels")


def recognise(place: Place) -> bool:
    """A JSON list of tasks with `data` and `annotations`, or of JSON-MIN's rows."""
    if place.suffix != ".json" or not place.head.lstrip().startswith("["):
        return False
    content = place.json
    return (
        isinstance(content, list)
        and bool(content)
        and all(isinstance(task, dict) for task in content)
        and any(_is_task(task) or _min_results(task) for task in content[:20])
    )


def read(place: Place, options: ReadOptions) -> Annotations:
    """Every image of the export; a task without annotations is an image without objects only if somebody submitted it empty."""
    finder = ImageFinder(image_folders(place.path, options.images))
    faults: list[Fault] = []
    entries = []
    unlabelled = 0
    for task in place.json:
        name = _image_name(task)
        if name is None:
            faults.append(Fault("broken image entry", f"a task has the address of an image; received {reprlib.repr(task)}"))
            continue
        results, several = _results(task)
        if results is None:
            unlabelled += 1
            continue
        entries.append(Entry(name, finder.find(name).as_usual(), partial(_draw, results=results, several=several)))
    if unlabelled:
        message = f"{unlabelled} tasks were not annotated, or skipped"
        faults.append(Fault("image without annotations", message))
    return assemble(entries, options, faults=faults)


def _is_task(task: dict[str, Any]) -> bool:
    return isinstance(task.get("data"), dict) and any(
        isinstance(task.get(key), list) for key in ("annotations", "completions", "predictions")
    )


def _min_results(task: dict[str, Any]) -> list[Any]:
    """Regions of a row of JSON-MIN, which has them under the name of the tag that made them."""
    lists = [value for value in task.values() if isinstance(value, list)]
    return [region for regions in lists for region in regions if isinstance(region, dict) and "original_width" in region]


def _image_name(task: Any) -> str | None:
    if not isinstance(task, dict):
        return None
    data = task["data"] if isinstance(task.get("data"), dict) else task
    texts = {key: value for key, value in data.items() if isinstance(value, str) and "." in value}
    for key in ("image", "img", "ocr", "picture", "url"):
        if key in texts:
            return texts[key]
    return next(iter(texts.values()), None)


def _results(task: dict[str, Any]) -> tuple[list[dict[str, Any]] | None, int]:
    """The regions of a task's annotation, each a value with its labels, and how many annotations there are; None for none."""
    annotations = task.get("annotations", task.get("completions"))
    if not isinstance(annotations, list):
        regions = _min_results(task)
        return ([{"value": region, **region} for region in regions], 1) if "annotator" in task or regions else (None, 0)
    usable = [entry for entry in annotations if isinstance(entry, dict) and not entry.get("was_cancelled")]
    usable = [entry for entry in usable if isinstance(entry.get("result"), list)]
    if not usable:
        return None, 0
    chosen = next((entry for entry in usable if entry.get("ground_truth")), usable[-1])
    merged: dict[Any, dict[str, Any]] = {}
    for place, region in enumerate(chosen["result"]):
        if isinstance(region, dict) and isinstance(region.get("value"), dict):
            known = merged.setdefault(region.get("id", place), {**region, "value": {}})
            known["value"] |= region["value"]  # shape and label come apart where a project has tags for each
    return list(merged.values()), len(usable)


def _draw(size: Size, report: Report, *, results: list[dict[str, Any]], several: int) -> Iterator[Drawn]:
    if several > 1:
        report("several annotations", f"{several} people annotated it; ground truth, or the newest, is used", repaired=True)
    for region in results:
        value = region["value"]
        names = [name for key in LABELS for name in _texts(value.get(key))]
        try:
            rle = _draw_region(value, region, size)
        except ValueError as error:
            report("broken mask", f"region {region.get('id')!r}: {error}")
            continue
        if rle is None:
            if names:
                report("no area", f"region {region.get('id')!r} of type {region.get('type')!r} has no area")
            continue
        if len(names) > 1:
            report("several classes", f"region {region.get('id')!r} has the labels {', '.join(names)}; the first is used")
        yield Drawn(names[0] if names else "", rle)


def _texts(value: Any) -> list[str]:
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []


def _draw_region(value: dict[str, Any], region: dict[str, Any], size: Size) -> Rle | None:
    """A region's mask; None for one without an area."""
    height, width = size
    if region.get("original_height", height) != height or region.get("original_width", width) != width:
        declared = f"{region.get('original_height')}×{region.get('original_width')}"
        raise ValueError(f"it says height × width {declared}, the file has {height}×{width}")
    scale = np.array([width, height]) / 100.0
    if isinstance(value.get("points"), list):
        return draw_polygon([as_points(value["points"]) * scale], size)
    if isinstance(value.get("rle"), list):
        return mask_to_rle(decode_brush(value["rle"], height, width).reshape(size))
    if "radiusX" in value:
        x, y, radius_x, radius_y = _numbers(value, "x", "y", "radiusX", "radiusY")
        centre, radii = np.array([x, y]) * scale, np.array([radius_x, radius_y]) * scale
        return draw_ellipse((centre[0], centre[1]), (radii[0], radii[1]), _turn(value), size)
    if "width" in value and "height" in value:
        x, y, w, h = _numbers(value, "x", "y", "width", "height")
        corner, sides = np.array([x, y]) * scale, np.array([w, h]) * scale
        turn = _turn(value)  # about the corner, clockwise as the image is seen
        along = sides[0] * np.array([math.cos(turn), math.sin(turn)])
        down = sides[1] * np.array([-math.sin(turn), math.cos(turn)])
        return draw_polygon([np.array([corner, corner + along, corner + along + down, corner + down])], size)
    return None


def _turn(value: dict[str, Any]) -> float:
    return math.radians(_numbers({"rotation": 0.0, **value}, "rotation")[0])


def _numbers(value: dict[str, Any], *names: str) -> list[float]:
    given = [value.get(name) for name in names]
    if not all(isinstance(number, (int, float)) and abs(number) < 1e6 for number in given):
        raise ValueError(f"it has the numbers {', '.join(names)}; received {reprlib.repr(given)}")
    return [float(number) for number in given]  # type: ignore[arg-type]  # they are numbers


def write(data: Annotated, out: Path, *, images: ImagesTo = "copy") -> list[Fault]:
    """Writes `tasks.json` with brush masks, and `images/`, to be imported with local storage that is rooted in `out`.

    The labeling configuration wants `<BrushLabels name="label" toName="image">` with the classes. What a model found are
    predictions, which Label Studio shows beforehand and takes over where a person agrees.

    Returns:
        What the format cannot say: crowd regions.
    """
    losses = Losses()
    out.mkdir(parents=True, exist_ok=True)
    tasks = []
    for sample, name in placed_images(data, out / "images", images):
        result = [_region(row, sample.size) for row in losses.without_crowds(rows_of(sample, data))]
        task: dict[str, Any] = {"data": {"image": f"/data/local-files/?d=images/{quote(name)}"}}
        if sample.scores is None:
            task["annotations"] = [{"result": result}]
        else:
            mean = float(sample.scores.mean()) if len(sample.scores) else 0.0
            task["predictions"] = [{"model_version": "maskrcnn", "score": mean, "result": result}]
        tasks.append(task)
    write_json(out / "tasks.json", tasks)
    return losses.faults()


def _region(row: Row, size: Size) -> dict[str, Any]:
    score = {} if row.score is None else {"score": row.score}
    return score | {
        "id": f"r{row.number + 1}",
        "type": "brushlabels",
        "from_name": "label",
        "to_name": "image",
        "original_width": size[1],
        "original_height": size[0],
        "image_rotation": 0,
        "value": {"format": "rle", "rle": encode_brush(rle_to_mask(row.rle)), "brushlabels": [row.name]},
    }
