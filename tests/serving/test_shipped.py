"""The model that comes with the package, behind the server: its answers are those of `detect`."""

from __future__ import annotations

import numpy as np
import pytest
from starlette.testclient import TestClient

from maskrcnn.geometry.rle import rle_from_json, rle_to_mask
from maskrcnn.serving.app import Abilities, create_app
from maskrcnn.serving.settings import ServerSettings
from maskrcnn.weights.published import SHIPPED

pytestmark = pytest.mark.slow
IMAGE = SHIPPED["nuclei"].with_suffix(".png")


@pytest.fixture(scope="module")
def model():
    pytest.importorskip("tensorflow", reason="needs TensorFlow")
    from maskrcnn.api import load_model

    return load_model("nuclei", compile=False)


def test_the_server_answers_as_detect_does(model) -> None:
    (wanted,) = model.detect(IMAGE, score=0.5)
    with TestClient(create_app(model, ServerSettings(timeout=300))) as client:
        answer = client.post("/v1/detect?score=0.5", content=IMAGE.read_bytes())
    assert answer.status_code == 200, answer.text
    (image,) = answer.json()["images"]
    found = image["detections"]
    assert len(found) == len(wanted) > 10
    np.testing.assert_allclose([one["box"] for one in found], wanted.boxes, atol=0.01)
    for one, mask in zip(found, wanted.masks, strict=True):
        np.testing.assert_array_equal(rle_to_mask(rle_from_json(one["mask"], wanted.size)), mask)


def test_a_box_around_a_nucleus_gives_its_mask(model) -> None:
    from maskrcnn.inference.prompts import detect_in_boxes

    (wanted,) = model.detect(IMAGE, score=0.9)
    box = ",".join(map(str, wanted.boxes[0].tolist()))
    with TestClient(create_app(model, ServerSettings(timeout=300), Abilities(segment=detect_in_boxes))) as client:
        answer = client.post("/v1/segment", params={"box": box}, content=IMAGE.read_bytes())
    assert answer.status_code == 200, answer.text
    (found,) = answer.json()["detections"]
    mask = rle_to_mask(rle_from_json(found["mask"], wanted.size))
    assert (mask & wanted.masks[0]).sum() / (mask | wanted.masks[0]).sum() > 0.95
