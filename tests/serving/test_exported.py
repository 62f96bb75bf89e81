"""Exported models behind the server: each kind answers requests as the Keras model does."""

from __future__ import annotations

import importlib.util
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exports import random_model
from PIL import Image
from small_network import make_batch
from starlette.testclient import TestClient

from maskrcnn.api import MaskRCNN
from maskrcnn.exporting import export
from maskrcnn.geometry.rle import rle_from_json, rle_to_mask
from maskrcnn.serving.app import create_app
from maskrcnn.serving.settings import ServerSettings
from maskrcnn.structures import Detector
from maskrcnn.verbs.serve import open_detector

pytestmark = pytest.mark.slow
WITHOUT_KERAS = """
import sys
from pathlib import Path
sys.modules["keras"] = sys.modules["torch"] = sys.modules["jax"] = None
from starlette.testclient import TestClient
from maskrcnn.serving.settings import ServerSettings
from maskrcnn.verbs.serve import make_app

path, project, image = sys.argv[1:]
settings = ServerSettings(timeout=300, score=0.1, project=Path(project))
with TestClient(make_app(path, settings)) as client:
    assert client.post("/v1/detect", content=open(image, "rb").read()).json()["images"][0]["detections"]
    assert client.get("/v1/project").json()["can_segment"] is False
    answer = client.post("/v1/project/training", json={"epochs": 1})
    print(answer.status_code, answer.json()["detail"])
"""
NEEDS = {"saved-model": "tensorflow", "openvino": "openvino", "litert": "ai_edge_litert", "onnx": "onnxruntime"}
SIZE = (64, 96)


@pytest.fixture(scope="module")
def model() -> MaskRCNN:
    return random_model()


@pytest.fixture(scope="module", params=NEEDS)
def exported(request: Any, model: MaskRCNN, tmp_path_factory: pytest.TempPathFactory) -> Path:
    kind = request.param
    missing = [name for name in {"tensorflow", NEEDS[kind]} if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"{missing[0]} is not installed")
    writer = export.WRITERS[kind]
    path = tmp_path_factory.mktemp("exported") / f"model{writer.SUFFIX}"
    writer.write(model, path, "float32")
    return path


def files(count: int) -> list[tuple[str, tuple[str, bytes, str]]]:
    parts = []
    for seed in range(count):
        file = io.BytesIO()
        Image.fromarray(make_batch((4,), frame=SIZE, seed=seed)["images"][0]).save(file, "PNG")
        parts.append(("file", (f"{seed}.png", file.getvalue(), "image/png")))
    return parts


def answered(detector: Detector) -> list[list[dict[str, Any]]]:
    """What a server with the model finds in three images of one request."""
    with TestClient(create_app(detector, ServerSettings(timeout=300, score=0.1))) as client:
        answer = client.post("/v1/detect", files=files(3))
    assert answer.status_code == 200, answer.text
    return [image["detections"] for image in answer.json()["images"]]


@pytest.fixture(scope="module")
def wanted(model: MaskRCNN) -> list[list[dict[str, Any]]]:
    return answered(model)


def masks_of(found: list[dict[str, Any]]) -> np.ndarray:
    """(N, H × W) bool."""
    return np.stack([rle_to_mask(rle_from_json(one["mask"], SIZE)) for one in found]).reshape(len(found), -1)


def test_each_kind_of_export_answers_as_the_model(exported: Path, wanted: list[list[dict[str, Any]]]) -> None:
    for found, expected in zip(answered(open_detector(exported)), wanted, strict=True):
        assert len(found) == len(expected) > 0
        one, other = (np.array([each["box"] for each in side]) for side in (found, expected))
        partners = np.abs(one[:, None] - other).max(axis=2).argmin(axis=1)
        assert sorted(partners) == list(range(len(expected)))
        np.testing.assert_allclose(one, other[partners], atol=0.05)
        expected = [expected[place] for place in partners]
        assert [each["class"] for each in found] == [each["class"] for each in expected]
        np.testing.assert_allclose([each["score"] for each in found], [each["score"] for each in expected], atol=1e-3)
        apart = (masks_of(found) != masks_of(expected)).sum(axis=1)
        assert apart.max() <= 2, "of a mask of which pixels lie on the threshold"


def test_an_export_is_served_without_keras_and_not_trained_on(exported: Path, tmp_path: Path) -> None:
    ((_, (name, data, _)),) = files(1)
    (tmp_path / name).write_bytes(data)
    command = [sys.executable, "-c", WITHOUT_KERAS, str(exported), str(tmp_path / "project"), str(tmp_path / name)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("409 An exported model cannot be trained on")
