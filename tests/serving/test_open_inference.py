from __future__ import annotations

import base64
import json

import numpy as np
import pytest
from small_server import BrightDetector, image_bytes, live

from maskrcnn.serving.app import create_app
from maskrcnn.serving.settings import ServerSettings

INFER = "/v2/models/maskrcnn/infer"


def encoded(*files: bytes) -> dict:
    data = [base64.b64encode(file).decode() for file in files]
    return {"id": "a", "inputs": [{"name": "image", "datatype": "BYTES", "shape": [len(files)], "data": data}]}


def outputs(answer) -> dict:
    assert answer.status_code == 200, answer.text
    return {output["name"]: output for output in answer.json()["outputs"]}


def test_health_and_metadata(client) -> None:
    assert client.get("/v2").json()["extensions"] == ["binary_tensor_data"]
    assert client.get("/v2/health/live").status_code == 200
    model = client.get("/v2/models/maskrcnn").json()
    assert model["inputs"] == [{"name": "image", "datatype": "BYTES", "shape": [-1]}]
    assert client.get("/v2/models/maskrcnn/versions/1").json() == model
    assert client.get("/v2/models/other").status_code == 404


def test_ready_once_the_model_has_answered(detector) -> None:
    from starlette.testclient import TestClient

    detector.gate.clear()
    with TestClient(create_app(detector, ServerSettings())) as client:
        assert client.get("/v2/health/ready").status_code == 503
        detector.gate.set()
        assert client.post(INFER, json=encoded(image_bytes())).status_code == 200
        assert client.get("/v2/health/ready").status_code == 200
        assert client.get("/v2/models/maskrcnn/ready").json() == {"name": "maskrcnn", "ready": True}


def test_files_as_base64_and_objects_one_after_the_other(client) -> None:
    black = image_bytes(box=(0, 0, 0, 0))
    answer = client.post(INFER, json=encoded(image_bytes(), black, image_bytes(box=(1, 2, 33, 44))))
    found = outputs(answer)
    assert answer.json()["id"] == "a"
    assert found["count"]["data"] == [1, 0, 1]
    assert found["boxes"]["shape"] == [2, 4]
    assert found["boxes"]["data"] == [10, 20, 30, 50, 1, 2, 33, 44]
    assert found["class_names"]["data"] == ["square", "square"]
    assert json.loads(found["masks"]["data"][0])["size"] == [64, 64]


def test_nothing_found_has_shapes_all_the_same(client) -> None:
    found = outputs(client.post(INFER, json=encoded(image_bytes(box=(0, 0, 0, 0)))))
    assert (found["boxes"]["shape"], found["scores"]["shape"], found["masks"]["shape"]) == ([0, 4], [0], [0])


def test_pixels_and_chosen_outputs(client) -> None:
    pixels = np.zeros((2, 64, 64, 3), np.uint8)
    pixels[1, 20:50, 10:30] = 255
    tensor = {"name": "image", "datatype": "UINT8", "shape": [2, 64, 64, 3], "data": pixels.tolist()}
    found = outputs(client.post(INFER, json={"inputs": [tensor], "outputs": [{"name": "count"}, {"name": "boxes"}]}))
    assert set(found) == {"count", "boxes"}
    assert found["count"]["data"] == [0, 1]
    assert found["boxes"]["data"] == [10, 20, 30, 50]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"inputs": []}',
        b'{"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": ["***"]}]}',
        b'{"inputs": [{"name": "image", "datatype": "FP64", "shape": [1], "data": [1]}]}',
        b'{"inputs": [{"name": "image", "datatype": "UINT8", "shape": [9, 9, 3], "data": [1]}]}',
        b'{"inputs": [{"name": "image", "datatype": "UINT8", "shape": [-1, -3, 3], "data": [1]}]}',
        b'{"inputs": [{"name": "image", "datatype": "UINT8", "shape": [1, 1, 3], "data": [1, 2, 999]}]}',
        b'{"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 9}}]}',
        b'{"inputs": ' + b"[" * 100_000,
        b'{"parameters": {"score": "high"}, "inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": []}]}',
    ],
)
def test_what_is_no_request_is_told(client, body) -> None:
    answer = client.post(INFER, content=body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["error"] == answer.json()["detail"]


def test_lengths_that_lie_are_told(client) -> None:
    for length in ("-1", "99999", "x"):
        answer = client.post(INFER, content=b"{}", headers={"Inference-Header-Content-Length": length})
        assert answer.status_code == 422
    short = b'{"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 6}}]}'
    answer = client.post(INFER, content=short + b"\xff\xff\0\0ab", headers={"Inference-Header-Content-Length": str(len(short))})
    assert answer.status_code == 422


def test_tritons_own_client() -> None:
    """Over a real socket, with binary tensors both ways, as it sends them by default."""
    tritonclient = pytest.importorskip("tritonclient.http", reason="needs tritonclient[http]")
    with live(create_app(BrightDetector(), ServerSettings())) as address:
        client = tritonclient.InferenceServerClient(address)
        assert client.is_server_live()
        assert client.is_model_ready("maskrcnn")
        assert client.get_model_metadata("maskrcnn")["name"] == "maskrcnn"
        tensor = tritonclient.InferInput("image", [2], "BYTES")
        tensor.set_data_from_numpy(np.array([image_bytes(), image_bytes(box=(1, 2, 33, 44))], object))
        wanted = [tritonclient.InferRequestedOutput(name) for name in ("count", "boxes", "masks")]
        for requested in (None, wanted):
            found = client.infer("maskrcnn", [tensor], outputs=requested)
            assert found.as_numpy("count").tolist() == [1, 1]
            assert found.as_numpy("boxes").tolist() == [[10, 20, 30, 50], [1, 2, 33, 44]]
            assert json.loads(found.as_numpy("masks")[0])["size"] == [64, 64]
        with pytest.raises(tritonclient.InferenceServerException, match="This server has model maskrcnn"):
            client.infer("other", [tensor])
        client.close()
