"""GeoJSON as QuPath exports it, one file an image: polygons with holes, of several parts, with classifications.

https://qupath.readthedocs.io/en/stable/docs/advanced/exporting_annotations.html. Coordinates are pixels of the whole image.
What is classified as "Ignore*", as QuPath calls regions that do not count, is read as a crowd region.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from maskrcnn.annotations.assembling import Drawn, Entry, Report, assemble
from maskrcnn.annotations.faults import Fault
from maskrcnn.annotations.finding import ImageFinder
from maskrcnn.annotations.objects import Annotations
from maskrcnn.annotations.outlines import Rle, Size, as_points, draw_polygon, merged
from maskrcnn.annotations.place import Place, ReadOptions, read_json
from maskrcnn.annotations.writing import Annotated, ImagesTo, Row, placed_images, rows_of
from maskrcnn.atomic import write_json

NAME = "qupath"
TITLE = "QuPath's GeoJSON (NAME.geojson beside each image)"
IGNORED = "Ignore*"


def recognise(place: Place) -> bool:
    """A folder with `.geojson` files, or a JSON that is a FeatureCollection or a list of Features."""
    if place.is_folder:
        return bool(place.files_ending(".geojson"))
    return place.suffix in (".geojson", ".json") and '"Feature' in place.head and _features(place.json) is not None


def read(place: Place, options: ReadOptions) -> Annotations:
    """Every image that has a GeoJSON file of its name."""
    files = place.files_ending(".geojson") if place.is_folder else [place.path]
    finder = ImageFinder([options.images] if options.images else [place.folder, place.folder / "images"])
    faults: list[Fault] = []
    entries = []
    for file in files:
        try:
            features = _features(read_json(file))
        except ValueError as error:
            faults.append(Fault("broken annotations", str(error)))
            continue
        if features is None:
            faults.append(Fault("broken annotations", f"{file} is no FeatureCollection and no list of Features"))
            continue
        found = finder.find(file.stem)
        entries.append(Entry(file.stem, found.as_usual(), partial(_draw, features=features, file=file)))
    return assemble(entries, options, faults=faults)


def _features(content: Any) -> list[Any] | None:
    if isinstance(content, dict) and content.get("type") == "Feature":
        content = [content]
    features = content.get("features") if isinstance(content, dict) else content
    if not isinstance(features, list) or not all(isinstance(entry, dict) for entry in features):
        return None
    return features if all(entry.get("type") == "Feature" for entry in features) else None


def _draw(size: Size, report: Report, *, features: list[dict[str, Any]], file: Path) -> Iterator[Drawn]:
    for place, feature in enumerate(features):
        name = _class_name(feature.get("properties"))
        try:
            rle = _draw_geometry(feature.get("geometry"), size)
        except ValueError as error:
            report("broken mask", f"{file.name}, feature {place + 1} ({name!r}): {error}")
            continue
        yield Drawn("" if name == IGNORED else name, rle, crowd=name == IGNORED)


def _class_name(properties: Any) -> str:
    """The classification, `Parent: Child` where it has several parts."""
    given = properties.get("classification") if isinstance(properties, dict) else None
    if isinstance(given, dict):
        names = given.get("names")
        given = ": ".join(map(str, names)) if isinstance(names, list) and names else given.get("name")
    return given if isinstance(given, str) else ""


def _draw_geometry(geometry: Any, size: Size) -> Rle:
    kind, given = (geometry.get("type"), geometry.get("coordinates")) if isinstance(geometry, dict) else (None, None)
    if kind not in ("Polygon", "MultiPolygon"):
        raise ValueError(f"a {kind} has no area")
    polygons = [given] if kind == "Polygon" else given
    if not isinstance(polygons, list) or not polygons or not all(isinstance(rings, list) and rings for rings in polygons):
        raise ValueError(f"a {kind} has rings of x, y; received {reprlib.repr(given)}")
    return merged([draw_polygon([as_points(ring, "a ring") for ring in rings], size) for rings in polygons])


def write(data: Annotated, out: Path, *, images: ImagesTo = "copy") -> list[Fault]:
    """Writes each image with a GeoJSON of its name: polygons with holes along the pixels' edges.
    What a model found are detections, with their scores as measurements.

    Returns:
        What the format cannot say: nothing; of a crowd region its class is lost, for it is classified as "Ignore*".
    """
    out.mkdir(parents=True, exist_ok=True)
    for sample, name in placed_images(data, out, images):
        features = [_feature(row) for row in rows_of(sample, data)]
        write_json(out / f"{Path(name).stem}.geojson", {"type": "FeatureCollection", "features": features})
    return []


def _feature(row: Row) -> dict[str, Any]:
    polygons = [[[*ring.tolist(), ring[0].tolist()] for ring in rings] for rings in row.polygons()]  # RFC 7946: rings close
    geometry = {"type": "MultiPolygon", "coordinates": polygons}
    if len(polygons) == 1:
        geometry = {"type": "Polygon", "coordinates": polygons[0]}
    properties: dict[str, Any] = {
        "objectType": "annotation" if row.score is None else "detection",
        "classification": {"name": IGNORED if row.crowd else row.name},
    }
    if row.score is not None:
        properties["measurements"] = {"score": row.score}
    return {"type": "Feature", "geometry": geometry, "properties": properties}
