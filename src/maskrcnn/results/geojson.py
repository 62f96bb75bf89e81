"""Objects as GeoJSON (RFC 7946) in pixels, as QuPath opens it by drag and drop."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, BinaryIO

import numpy as np

from maskrcnn.geometry.polygons import mask_to_rings
from maskrcnn.results.draw import colour_of
from maskrcnn.structures import Detections


def geojson_features(
    detections: Detections, *, measurements: Sequence[dict[str, Any]] | None = None, plane: tuple[int, int] | None = None
) -> list[dict[str, Any]]:
    """Each detection as a GeoJSON feature: a Polygon, or a MultiPolygon where its mask has several parts, with their holes.

    The properties are QuPath's own (its `QuPathTypeAdapters`): `objectType`, `classification` with `name` and `color`, and
    `measurements`, a number for each name. Detections whose mask is empty have no outline and are left out.

    Args:
        detections: what was found; coordinates are pixels of that image.
        measurements: the rows of `measure`; their numbers go along.
        plane: (z, t) of the plane of a stack they lie in, from 0; None for an image alone.
    """
    names = detections.names if detections.class_names else ["object"] * len(detections)
    features = []
    for k, (cutout, corner) in enumerate(detections.cutouts()):
        polygons = [[_closed(ring + np.array(corner)) for ring in rings] for rings in mask_to_rings(cutout)]
        if not polygons:
            continue
        geometry: dict[str, Any] = (
            {"type": "Polygon", "coordinates": polygons[0]}
            if len(polygons) == 1
            else {"type": "MultiPolygon", "coordinates": polygons}
        )
        if plane is not None:
            geometry["plane"] = {"c": -1, "z": plane[0], "t": plane[1]}  # QuPath's; c = -1: all channels
        numbers = {"object": k + 1, "score": float(detections.scores[k])} | _numbers(measurements[k] if measurements else {})
        properties = {
            "objectType": "detection",
            "classification": {"name": names[k], "color": list(colour_of(int(detections.labels[k])))},
            "measurements": numbers,
        }
        features.append({"type": "Feature", "geometry": geometry, "properties": properties})
    return features


def write_features(file: BinaryIO, features: Iterable[str]) -> None:
    """A FeatureCollection of features that come one by one, as JSON."""
    file.write(b'{"type": "FeatureCollection", "features": [')
    for number, feature in enumerate(features):
        file.write((",\n" if number else "\n").encode() + feature.strip().encode())
    file.write(b"\n]}\n")


def _closed(ring: np.ndarray) -> list[list[int]]:
    """As GeoJSON has it: the last point is the first again."""
    return np.concatenate([ring, ring[:1]]).tolist()


def _numbers(row: dict[str, Any]) -> dict[str, float]:
    """What of a row is a number and finite: JSON has no other."""
    return {name: value for name, value in row.items() if isinstance(value, (int, float)) and np.isfinite(value)}
