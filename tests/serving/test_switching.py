"""A faster engine in the place of the model that answers: prepared meanwhile, never instead of another model."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from small_server import BrightDetector, image_bytes, whole_boxes
from starlette.testclient import TestClient

from maskrcnn.serving.app import Abilities, create_app
from maskrcnn.serving.settings import ServerSettings
from maskrcnn.structures import Detector
from maskrcnn.verbs import serve as verb
from maskrcnn.verbs.serve import Exported, make_app, open_detector, serve

WAIT = 20  # seconds


class Faster(BrightDetector):
    """Stands for an export."""


class Preparing:
    """Stands for what writes exports: waits until it is let go, then gives or raises what it was told to."""

    def __init__(self, result: Any) -> None:
        self.result, self.go = result, threading.Event()
        self.asked: list[str] = []
        self.stopped: list[bool] = []

    def __call__(self, model: str, detector: Detector, stop: threading.Event) -> Detector | None:
        self.asked.append(model)
        while not self.go.wait(0.01) and not stop.is_set():
            pass
        self.stopped.append(stop.is_set())
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def app_with(preparing: Preparing, project: Any = None) -> Any:
    def engine_of(detector: Detector) -> str:
        return "fast" if isinstance(detector, Faster) else "keras"

    abilities = Abilities(open_detector=lambda path: BrightDetector(), model="nuclei", prepare=preparing, engine_of=engine_of)
    return create_app(BrightDetector(), ServerSettings(project=project), abilities)


def engine(client: TestClient) -> str:
    return client.get("/v1/model").json()["engine"]


def test_it_answers_at_once_and_changes_when_the_faster_one_is_ready(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "maskrcnn.serving")
    faster = Faster()
    with TestClient(app_with(preparing := Preparing(faster))) as client:
        assert client.post("/v1/detect", content=image_bytes()).status_code == 200
        assert engine(client) == "keras" and preparing.asked == ["nuclei"]
        preparing.go.set()
        until(lambda: engine(client) == "fast")
        assert faster.batches == [1], "it has seen an image before it answers"
        assert client.post("/v1/detect", content=image_bytes()).json()["images"][0]["detections"]
        assert faster.batches == [1, 1]
        lines = [line for line in client.get("/metrics").text.splitlines() if line.startswith("maskrcnn_model_info{")]
        assert lines == ['maskrcnn_model_info{classes="2",engine="fast",model="maskrcnn"} 1.0']
    changes = [record.fields for record in caplog.records if record.getMessage() == "another model answers"]
    assert changes == [{"model": "maskrcnn", "engine": "fast"}]


@pytest.mark.parametrize("result", [None, RuntimeError("no space left")])
def test_where_none_is_faster_or_it_fails_the_model_stays(result: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "maskrcnn.serving")
    with TestClient(app_with(preparing := Preparing(result))) as client:
        preparing.go.set()
        until(lambda: preparing.stopped == [False])
        assert client.post("/v1/detect", content=image_bytes()).status_code == 200
        assert engine(client) == "keras"
        until(lambda: any("engine" in record.getMessage() for record in caplog.records))
    said = [(record.getMessage(), record.fields) for record in caplog.records if "engine" in record.getMessage()]
    expected = ("no other engine is faster", {"engine": "keras"})
    assert said == [expected if result is None else ("no engine was prepared", {"error": "no space left"})]


def test_the_end_of_the_server_ends_the_preparation() -> None:
    with TestClient(app_with(preparing := Preparing(Faster()))):
        until(lambda: preparing.asked == ["nuclei"])
    assert preparing.stopped == [True]


def test_a_model_that_people_chose_meanwhile_is_not_replaced_and_gets_its_own(tmp_path: Any) -> None:
    app = app_with(preparing := Preparing(Faster()), tmp_path / "project")
    model = tmp_path / "project/runs/0001/model/last.keras"
    with TestClient(app) as client:
        until(lambda: preparing.asked == ["nuclei"])
        model.parent.mkdir(parents=True)
        model.write_bytes(b"a model")
        assert client.post("/v1/project/runs/1/use").status_code == 200
        assert preparing.stopped == [True] and engine(client) == "keras"
        until(lambda: preparing.asked == ["nuclei", str(model)])
        preparing.go.set()
        until(lambda: engine(client) == "fast")


def test_the_queue_replaces_only_the_model_that_is_meant(client: TestClient, detector: BrightDetector) -> None:
    service, other = client.app.state.service, BrightDetector()
    assert not service.replace(Faster(), instead_of=other)
    assert service.queue.detector is detector
    assert service.replace(other, instead_of=detector)
    assert service.queue.detector is other


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A model's file, and its export where `export` is set; what is loaded, in order."""
    seen = SimpleNamespace(model=tmp_path / "model.keras", export=None, order=[])
    seen.model.write_bytes(b"a model")

    def load(name: str, answer: Detector) -> Detector:
        seen.order.append(name)
        return answer

    for name in ("has_choice", "is_wanted"):
        monkeypatch.setattr(verb, name, lambda: True)
    monkeypatch.setattr(verb, "remembered_export", lambda folder: seen.export)
    monkeypatch.setattr(verb, "_on_keras", lambda model: load("keras", BrightDetector()))
    monkeypatch.setattr(verb.engines, "load", lambda path, engine=None: load("export", Faster()))
    monkeypatch.setattr(verb.engines, "name_of", lambda detector: "fast" if isinstance(detector, Faster) else None)
    return seen


def test_a_prepared_export_answers_from_the_start_and_keras_is_loaded_for_the_first_box(opened: SimpleNamespace) -> None:
    opened.export = Path("openvino")
    detector = open_detector(opened.model)
    assert opened.order == ["export"] and verb._engine_of(detector) == "fast"
    assert isinstance(detector, Exported) and detector.network is detector.network
    assert opened.order == ["export", "keras"]
    opened.order.clear()
    open_detector(opened.model, with_boxes=True)
    assert sorted(opened.order) == ["export", "keras"]


def test_who_wants_keras_gets_it_and_nothing_is_prepared(opened: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    opened.export = Path("openvino")
    monkeypatch.setattr(verb, "prepare_apart", lambda *_: pytest.fail("an export was prepared"))
    with TestClient(make_app(opened.model, engine="keras")) as client:
        assert engine(client) == "keras"
    assert opened.order == ["keras"]


def test_without_an_export_one_is_prepared_and_answers_with_the_model_beside_it(
    opened: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verb, "prepare_apart", lambda model, folder, stop: Path("openvino"))
    monkeypatch.setattr(verb, "_segment", lambda detector, image, boxes: whole_boxes(detector.network, image, boxes))
    with TestClient(make_app(opened.model)) as client:
        until(lambda: engine(client) == "fast")
        answer = client.post("/v1/segment?box=10,20,30,50", content=image_bytes())
        assert answer.status_code == 200 and len(answer.json()["detections"]) == 1
    assert opened.order == ["keras", "export"], "the model that answered first is the one that is asked for boxes"


def test_a_published_model_is_served_by_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(verb, "file_here", lambda model: tmp_path / "downloaded.pth")
    assert verb._checked("torchvision-v2", "auto") == "torchvision-v2"
    assert verb._checked("runs/first", "auto") == tmp_path / "downloaded.pth"


def test_an_export_for_another_engine_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no exported model"):
        serve(tmp_path, engine="openvino", port=0)
