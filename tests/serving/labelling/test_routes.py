from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from small_server import BrightDetector, image_bytes, whole_boxes
from starlette.testclient import TestClient

from maskrcnn.data.dataset import load_dataset
from maskrcnn.geometry.rle import mask_to_rle, rle_from_json, rle_to_mask
from maskrcnn.serving.app import Abilities, create_app
from maskrcnn.serving.labelling.store import Store
from maskrcnn.serving.settings import ServerSettings


@pytest.fixture
def project(tmp_path: Path) -> Iterator[TestClient]:
    abilities = Abilities(segment=whole_boxes, open_detector=lambda path: BrightDetector(), model="nuclei")
    with TestClient(create_app(BrightDetector(), ServerSettings(project=tmp_path / "project"), abilities)) as client:
        yield client


def add(client: TestClient, box: tuple[int, int, int, int] = (10, 20, 30, 50)) -> int:
    answer = client.post("/v1/project/images", files={"file": ("cell.png", image_bytes(box=box), "image/png")})
    assert answer.status_code == 200, answer.text
    (image,) = answer.json()["images"]
    return image["id"]


def drawn(box: tuple[int, int, int, int], name: str = "square") -> dict:
    mask = np.zeros((64, 64), bool)
    left, top, right, bottom = box
    mask[top:bottom, left:right] = True
    return {"class": name, "source": "person", "mask": {"size": [64, 64], "counts": mask_to_rle(mask)["counts"].decode()}}


def test_without_a_project_there_are_no_such_routes(client) -> None:
    assert client.get("/v1/project").status_code == 404


def test_an_added_image_has_what_the_model_proposes(project) -> None:
    number = add(project)
    answer = project.get(f"/v1/project/images/{number}").json()
    assert (answer["image"]["state"], answer["image"]["version"], answer["image"]["author"]) == ("proposed", 1, "model")
    (item,) = answer["objects"]
    assert (item["class"], item["source"], item["score"]) == ("square", "model", 0.9)
    assert rle_to_mask(rle_from_json(item["mask"], (64, 64))).sum() == 600
    assert project.get(f"/v1/project/images/{number}/file").content == image_bytes()
    overview = project.get("/v1/project").json()
    assert [one["id"] for one in overview["next"]] == [number]
    assert overview["can_segment"] is True


def test_a_second_save_of_the_same_version_is_a_conflict_that_names_the_other(project) -> None:
    number = add(project)
    address = f"/v1/project/images/{number}"
    first = project.put(address, json={"version": 1, "author": "Ada", "objects": [drawn((1, 2, 9, 9))]})
    assert first.json() == {"version": 2}
    second = project.put(address, json={"version": 1, "author": "Bob", "objects": []})
    assert second.status_code == 409
    assert "Ada has saved version 2" in second.json()["detail"]
    assert len(project.get(address).json()["objects"]) == 1
    assert project.put(address, json={"version": 2, "author": "Bob", "objects": []}).json() == {"version": 3}
    assert len(project.get(f"{address}?version=2").json()["objects"]) == 1
    assert [row["author"] for row in project.get(address).json()["history"]] == ["Bob", "Ada", "model"]


def test_what_is_no_mask_of_the_image_is_refused(project) -> None:
    number = add(project)
    faulty = [
        drawn((1, 2, 9, 9), "ghost"),
        drawn((1, 2, 9, 9)) | {"mask": {"size": [9, 9], "counts": "PQ"}},
        drawn((1, 2, 9, 9)) | {"mask": {"size": [64, 64], "counts": "\x00"}},
        drawn((0, 0, 0, 0)),
        {"class": "square"},
    ]
    for item in faulty:
        answer = project.put(f"/v1/project/images/{number}", json={"version": 1, "objects": [item]})
        assert answer.status_code == 422, answer.text
    assert project.get(f"/v1/project/images/{number}").json()["image"]["version"] == 1


def test_boxes_become_masks(project) -> None:
    number = add(project)
    answer = project.post(f"/v1/project/images/{number}/segment", json={"boxes": [[4, 5, 14, 25], [-5, 0, 8, 8]]})
    assert answer.status_code == 200, answer.text
    first, second = answer.json()["detections"]
    assert rle_to_mask(rle_from_json(first["mask"], (64, 64))).sum() == 200
    assert second["box"] == [0, 0, 8, 8]
    alone = project.post("/v1/segment?box=4,5,14,25", content=image_bytes())
    assert alone.json()["detections"][0]["mask"] == first["mask"]
    for box in ("9,9,9,9", "70,70,90,90", "a,b,c,d", "1,2,3", "nan,0,5,5"):
        assert project.post("/v1/segment", params={"box": box}, content=image_bytes()).status_code == 422, box


def test_classes_and_export(project) -> None:
    number = add(project)
    assert project.post("/v1/project/classes", json={"name": "debris"}).json()["classes"] == ["square", "round", "debris"]
    objects = [drawn((1, 2, 9, 9), "debris")]
    project.put(f"/v1/project/images/{number}", json={"version": 1, "state": "corrected", "objects": objects})
    data = project.get("/v1/project/export").json()
    assert [category["name"] for category in data["categories"]] == ["square", "round", "debris"]
    assert data["annotations"][0]["bbox"] == [1, 2, 8, 7]
    assert data["annotations"][0]["category_id"] == 3


@pytest.mark.parametrize("form", ["coco", "yolo", "labelme", "label-maps", "cvat"])
def test_every_format_is_read_again(project, tmp_path, form) -> None:
    for left in (4, 20, 40):
        number = add(project, (left, 5, left + 8, 20))
        objects = [drawn((1, 2, 9, 9)), drawn((20, 30, 40, 50))]
        project.put(f"/v1/project/images/{number}", json={"version": 1, "state": "corrected", "objects": objects})
    answer = project.get("/v1/project/export", params={"format": form, "images": True})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/zip"
    zipfile.ZipFile(io.BytesIO(answer.content)).extractall(tmp_path / form)
    dataset = load_dataset(tmp_path / form)
    assert [len(sample.labels) for sample in dataset.samples] == [2, 2, 2]
    assert [sorted(sample.areas.tolist()) for sample in dataset.samples] == [[56, 400]] * 3


def test_nothing_to_export_is_told(project) -> None:
    answer = project.get("/v1/project/export?format=yolo")
    assert answer.status_code == 409
    assert "nothing to export" in answer.json()["detail"]


def test_unknown_images_and_runs(project) -> None:
    for path in ("/v1/project/images/77", "/v1/project/images/77/file"):
        assert project.get(path).status_code == 404
    assert project.post("/v1/project/runs/7/use").status_code == 404


def test_training_needs_something_to_train_on(project) -> None:
    answer = project.post("/v1/project/training", json={"epochs": 1})
    assert answer.status_code == 409
    assert "there are 0 and 0" in answer.json()["detail"]
    events = project.get("/v1/project/training").text
    assert '"stage": "idle"' in events


def test_a_model_of_a_run_answers_from_then_on(project) -> None:
    service = project.app.state.service
    folder = service.settings.project / "runs" / "0001" / "model"
    folder.mkdir(parents=True)
    (folder / "last.keras").write_bytes(b"the fake opener does not look")
    before = service.queue.detector
    assert project.post("/v1/project/runs/1/use").json() == {"classes": ["square", "round"]}
    assert service.queue.detector is not before
    assert project.post("/v1/detect", content=image_bytes()).status_code == 200


def test_a_model_that_is_not_better_is_not_used(project) -> None:
    settings = project.app.state.service.settings
    model = settings.project / "runs" / "0001" / "model" / "last.keras"
    model.parent.mkdir(parents=True)
    model.write_bytes(b"the fake opener does not look")
    store = Store(settings.project, [])
    store.add_run()
    store.set_run(1, scores={"before": {"mask AP": 0.755}, "after": {"mask AP": 0.718}})
    before = project.app.state.service.queue.detector
    answer = project.post("/v1/project/runs/1/use")
    assert answer.status_code == 409 and "is not better" in answer.json()["detail"]
    assert project.app.state.service.queue.detector is before
    assert [run["verdict"] for run in project.get("/v1/project").json()["runs"]] == ["not better"]
    store.set_run(1, scores={"before": {"mask AP": 0.718}, "after": {"mask AP": 0.755}})
    assert project.post("/v1/project/runs/1/use").status_code == 200
    store.close()
