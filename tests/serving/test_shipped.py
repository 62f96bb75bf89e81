"""The model that comes with the package, behind the server: its answers are those of `detect`, and it is trained on."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from maskrcnn.geometry.rle import rle_from_json, rle_to_mask
from maskrcnn.serving.app import Abilities, create_app
from maskrcnn.serving.settings import ServerSettings
from maskrcnn.weights.published import SHIPPED

pytestmark = pytest.mark.slow
IMAGE = SHIPPED["nuclei"].with_suffix(".png")
WAIT = 600  # seconds for a training


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


def test_what_is_corrected_is_trained_on_and_used(model, tmp_path: Path) -> None:
    from maskrcnn.verbs.serve import open_detector

    project, abilities = tmp_path / "project", Abilities(open_detector=open_detector, model="nuclei")
    pixels = np.asarray(Image.open(IMAGE).convert("RGB"))
    with TestClient(create_app(model, ServerSettings(project=project, timeout=300), abilities)) as client:
        for number in range(5):  # the fifth is held out
            part = pixels[16 * number : 16 * number + 128, 32 * number : 32 * number + 128]
            file = io.BytesIO()
            Image.fromarray(part).save(file, "PNG")
            (image,) = client.post("/v1/project/images", content=file.getvalue()).json()["images"]
            address = f"/v1/project/images/{image['id']}"
            objects = [one for one in client.get(address).json()["objects"] if one["score"] > 0.5]
            saved = client.put(address, json={"version": 1, "state": "corrected", "author": "Ada", "objects": objects})
            assert saved.status_code == 200, saved.text
        assert client.post("/v1/project/training", json={"epochs": 1}).json() == {"run": 1}
        assert client.post("/v1/project/training", json={"epochs": 1}).status_code == 409
        deadline = time.monotonic() + WAIT
        while time.monotonic() < deadline:
            events = client.get("/v1/project/training").text.strip().split("\n\n")
            state = json.loads(events[-1].removeprefix("data: "))
            if state["stage"] not in ("training", "scoring"):
                break
        assert state["stage"] == "done", state
        assert len(state["history"]) == 1
        (run,) = client.get("/v1/project").json()["runs"]
        assert 0 <= run["scores"]["after"]["mask AP"] <= 1
        assert 0.5 < run["scores"]["before"]["mask AP"] <= 1  # the truth is nearly its own answer
        assert client.post("/v1/project/runs/1/use").status_code == 200
        assert client.post("/v1/detect", content=IMAGE.read_bytes()).status_code == 200
        assert [one["used"] for one in client.get("/v1/project").json()["runs"]] == [True]
