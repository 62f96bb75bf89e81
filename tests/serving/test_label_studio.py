"""The requests that Label Studio sends to a model, by its label-studio-ml-backend's own server."""

from __future__ import annotations

import base64
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
from small_server import image_bytes
from starlette.testclient import TestClient

from maskrcnn.annotations.brush_rle import decode_brush
from maskrcnn.serving.app import create_app
from maskrcnn.serving.settings import ServerSettings

POLYGONS = (
    '<View><Image name="img" value="$photo" zoom="true"/><PolygonLabels name="tag" toName="img">'
    '<Label value="square"/><Label value="round"/></PolygonLabels></View>'
)
RECTANGLES = POLYGONS.replace("PolygonLabels", "RectangleLabels")


def task(address: str) -> dict:
    return {"id": 1, "data": {"photo": address}, "annotations": [], "predictions": []}


def data_address() -> str:
    return "data:image/png;base64," + base64.b64encode(image_bytes()).decode()


def test_the_three_questions_it_asks(client) -> None:
    setup = {"project": "3.1700000000", "schema": POLYGONS, "hostname": "http://localhost:8080", "access_token": "x"}
    version = client.post("/setup", json=setup).json()["model_version"]
    assert client.get("/health").json()["status"] == "UP"
    asked = {"tasks": [task(data_address())], "project": "3.1700000000", "label_config": POLYGONS, "params": {"context": None}}
    (result,) = client.post("/predict", json=asked).json()["results"]
    assert result["model_version"] == version
    assert result["score"] == pytest.approx(0.9)
    (shape,) = result["result"]
    assert (shape["from_name"], shape["to_name"], shape["type"]) == ("tag", "img", "polygonlabels")
    assert (shape["original_width"], shape["original_height"]) == (64, 64)
    assert shape["value"]["polygonlabels"] == ["square"]
    corners = np.array([(10, 20), (10, 50), (30, 50), (30, 20)]) * 100 / 64
    np.testing.assert_allclose(sorted(shape["value"]["points"]), sorted(corners.tolist()), atol=1e-3)
    assert client.post("/webhook", json={"action": "PROJECT_UPDATED"}).status_code == 201


def test_boxes_where_the_interface_has_those(client) -> None:
    asked = {"tasks": [task(data_address())], "label_config": RECTANGLES}
    (shape,) = client.post("/predict", json=asked).json()["results"][0]["result"]
    value = shape["value"]
    assert value.pop("rectanglelabels") == ["square"]
    assert value == {"x": 15.625, "y": 31.25, "width": 31.25, "height": 46.875, "rotation": 0}


def test_masks_where_the_interface_has_a_brush(client) -> None:
    asked = {"tasks": [task(data_address())], "label_config": POLYGONS.replace("PolygonLabels", "BrushLabels")}
    (shape,) = client.post("/predict", json=asked).json()["results"][0]["result"]
    assert shape["type"] == "brushlabels"
    assert shape["value"]["brushlabels"] == ["square"]
    wanted = np.zeros((64, 64), bool)
    wanted[20:50, 10:30] = True
    np.testing.assert_array_equal(decode_brush(shape["value"]["rle"], 64, 64), wanted)


def test_classes_that_the_interface_lacks_are_left_out(client) -> None:
    asked = {"tasks": [task(data_address())], "label_config": POLYGONS.replace('"square"', '"car"')}
    assert client.post("/predict", json=asked).json()["results"][0]["result"] == []


@pytest.mark.parametrize(
    "config",
    [
        None,
        "<View>",
        "<View><Image name='a' value='$b'/></View>",
        '<!DOCTYPE a [<!ENTITY b "c">]><View>&b;</View>',
        '<!DOCTYPE a SYSTEM "file:///etc/passwd"><View/>',
        7,
    ],
)
def test_an_interface_without_a_place_for_objects(client, config) -> None:
    answer = client.post("/predict", json={"tasks": [task(data_address())], "label_config": config})
    assert answer.status_code == 422
    assert "label" in answer.json()["detail"]


class _LabelStudio(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        ok = self.headers.get("Authorization") == "Token its-token" and self.path == "/data/upload/1/cell.png"
        self.send_response(200 if ok else 302)
        self.send_header("Location", "http://127.0.0.1:1/elsewhere")
        self.end_headers()
        if ok:
            self.wfile.write(image_bytes())

    def log_message(self, *_: object) -> None: ...


def test_images_come_from_the_one_label_studio_that_was_named(detector) -> None:
    server = HTTPServer(("127.0.0.1", 0), _LabelStudio)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    try:
        with TestClient(create_app(detector, ServerSettings(label_studio=address, label_studio_token="its-token"))) as client:

            def status(image: str) -> int:
                return client.post("/predict", json={"tasks": [task(image)], "label_config": POLYGONS}).status_code

            assert status("/data/upload/1/cell.png") == 200
            assert status(f"{address}/data/upload/1/cell.png") == 200
            assert status("/data/other.png") == 502  # a redirection is not followed
            for elsewhere in (
                "http://127.0.0.1:1/x.png",
                "file:///etc/passwd",
                "//evil.example/x.png",
                f"{address}@evil.example/",
            ):
                assert status(elsewhere) == 422, elsewhere
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_without_a_label_studio_nothing_is_fetched(client) -> None:
    for address in ("/etc/passwd", "http://127.0.0.1:1/x.png", "file:///etc/passwd"):
        answer = client.post("/predict", json={"tasks": [task(address)], "label_config": POLYGONS})
        assert answer.status_code == 422
        assert "--label-studio" in answer.json()["detail"]
