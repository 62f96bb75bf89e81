"""QuPath's GeoJSON."""

from __future__ import annotations

import json

import pytest
from drawn import CAT, DOG, TREE, TREE_HOLE, assert_scene, write_images

from maskrcnn.data.dataset import load_dataset


def feature(name: str | None, kind: str, coordinates: list, **properties) -> dict:
    properties = {"objectType": "annotation"} | ({} if name is None else {"classification": {"name": name}}) | properties
    return {"type": "Feature", "geometry": {"type": kind, "coordinates": coordinates}, "properties": properties}


def ring(corners: list) -> list:
    return [*corners, corners[0]]


FEATURES = [
    feature("cat", "Polygon", [ring(CAT)]),
    feature("tree", "Polygon", [ring(TREE), ring(TREE_HOLE)]),
    feature("dog", "MultiPolygon", [[ring(part)] for part in DOG]),
]


@pytest.mark.parametrize(
    "wrap", [lambda features: {"type": "FeatureCollection", "features": features}, lambda features: features]
)
def test_polygons_holes_and_parts_are_objects(tmp_path, wrap):
    write_images(tmp_path, "a.png")
    (tmp_path / "a.geojson").write_text(json.dumps(wrap(FEATURES)))
    assert_scene(load_dataset(tmp_path, strict=True))


def test_ignored_regions_are_crowds_and_names_of_parts_are_joined(tmp_path):
    write_images(tmp_path, "a.png")
    features = [
        feature("Ignore*", "Polygon", [ring(CAT)]),
        feature(None, "Polygon", [ring(TREE)], classification={"names": ["Tumour", "Positive"]}),
    ]
    (tmp_path / "a.geojson").write_text(json.dumps(features))
    data = load_dataset(tmp_path, strict=True)
    assert data.samples[0].crowd.tolist() == [True, False]
    assert "Tumour: Positive" in [category.name for category in data.categories]


def test_what_has_no_area_is_reported(tmp_path):
    write_images(tmp_path, "a.png")
    wrong = [feature("cat", "Point", [3, 4]), feature("cat", "Polygon", []), feature("cat", "Polygon", [[[1, 2], [3, "x"]]])]
    (tmp_path / "a.geojson").write_text(json.dumps([*FEATURES, *wrong]))
    data = load_dataset(tmp_path)
    assert [fault.kind for fault in data.faults] == ["broken mask"] * 3
    assert_scene(data)
