"""Laws of GeoJSON: the masks again, in the words of QuPath."""

from __future__ import annotations

import io
import json

import cv2
import numpy as np

from maskrcnn.results.geojson import geojson_features, write_features
from maskrcnn.structures import Detections

SIZE = (12, 16)
RING = np.ones((5, 6), bool)
RING[2, 2:4] = False
TWO_PARTS = np.array([[1, 1, 0, 0], [1, 1, 0, 1], [0, 0, 1, 1]], bool)


def found(*bitmaps, corners) -> Detections:
    count = len(bitmaps)
    return Detections(
        boxes=np.zeros((count, 4), np.float32),
        scores=np.linspace(0.75, 0.25, count, dtype=np.float32),
        labels=np.arange(count, dtype=np.int32) % 2,
        small_masks=np.zeros((count, 0, 0), np.float32),
        size=SIZE,
        class_names=["nucleus", "mitosis"],
        bitmaps=list(bitmaps),
        corners=np.array(corners),
    )


BOTH = found(RING, TWO_PARTS, corners=[(3, 2), (10, 8)])


def drawn(geometry) -> np.ndarray:
    """The geometry filled by OpenCV at four times the size, so that edges are between the points that are looked at."""
    polygons = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
    canvas = np.zeros((SIZE[0] * 4, SIZE[1] * 4), np.uint8)
    for polygon in polygons:
        cv2.fillPoly(canvas, [np.array(ring, np.int32) * 4 for ring in polygon], 1)
    return canvas[2::4, 2::4] > 0


def test_polygons_with_their_holes_are_the_masks():
    one, two = geojson_features(BOTH)
    assert one["geometry"]["type"] == "Polygon" and len(one["geometry"]["coordinates"]) == 2
    assert two["geometry"]["type"] == "MultiPolygon" and len(two["geometry"]["coordinates"]) == 2
    for feature, mask in zip((one, two), BOTH.masks):
        np.testing.assert_array_equal(drawn(feature["geometry"]), mask)


def test_rings_are_closed():
    features = list(geojson_features(BOTH[0]))
    assert len(features) == 1
    for feature in features:
        for ring in feature["geometry"]["coordinates"]:
            assert ring[0] == ring[-1] and len(ring) >= 5


def test_properties_are_those_that_qupath_reads():
    one, two = geojson_features(BOTH, measurements=[{"area": 4.5, "class": "x", "unit": "um", "perimeter": None}] * 2)
    assert set(one["properties"]) == {"objectType", "classification", "measurements"}
    assert one["properties"]["objectType"] == "detection"
    assert one["properties"]["classification"]["name"] == "nucleus"
    assert two["properties"]["classification"]["name"] == "mitosis"
    colours = [feature["properties"]["classification"]["color"] for feature in (one, two)]
    assert colours[0] != colours[1] and all(len(c) == 3 and all(0 <= v <= 255 for v in c) for c in colours)
    assert one["properties"]["measurements"] == {"object": 1, "score": 0.75, "area": 4.5}


def test_planes_of_a_stack_are_named_and_an_image_alone_has_none():
    assert geojson_features(BOTH, plane=(4, 2))[0]["geometry"]["plane"] == {"c": -1, "z": 4, "t": 2}
    assert "plane" not in geojson_features(BOTH)[0]["geometry"]


def test_an_empty_mask_has_no_outline_and_the_others_keep_their_numbers():
    (feature,) = geojson_features(found(np.zeros((3, 3), bool), TWO_PARTS, corners=[(0, 0), (10, 8)]))
    assert feature["properties"]["measurements"]["object"] == 2


def test_features_that_come_one_by_one_make_one_collection():
    for count in range(3):
        file = io.BytesIO()
        features = geojson_features(BOTH)[:count]
        write_features(file, (json.dumps(feature) + "\n" for feature in features))
        assert json.loads(file.getvalue()) == {"type": "FeatureCollection", "features": features}
