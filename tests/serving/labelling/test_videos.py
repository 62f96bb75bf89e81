"""Videos of a project: their tracks stay as they came, and corrections of identities are kept beside them."""

from __future__ import annotations

import io
import json
import sqlite3
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_server import BrightDetector
from starlette.testclient import TestClient

from maskrcnn.annotations.tracks import read_tracks
from maskrcnn.geometry.rle import mask_to_rle, rle_to_box
from maskrcnn.serving.app import create_app
from maskrcnn.serving.labelling.store import DATABASE, Store
from maskrcnn.serving.settings import ServerSettings

SIZE = (64, 64)
ADDRESS = "/v1/project/videos"


@pytest.fixture
def project(tmp_path: Path) -> Iterator[TestClient]:
    with TestClient(create_app(BrightDetector(), ServerSettings(project=tmp_path / "project", max_frames=10))) as client:
        yield client


def tracked(number: int, left: int, score: float = 0.9) -> dict[str, Any]:
    mask = np.zeros(SIZE, bool)
    mask[10:30, left : left + 8] = True
    text = mask_to_rle(mask)["counts"].decode()
    box = [left, 10, left + 8, 30]
    return {"id": number, "class": "square", "score": score, "box": box, "mask": {"size": list(SIZE), "counts": text}}


def frame(number: int, *objects: dict[str, Any]) -> dict[str, Any]:
    return {"frame": number, "time": number / 10, "height": 64, "width": 64, "objects": list(objects)}


FRAMES = [frame(2 * k, tracked(1, 2 + k), tracked(2, 40 - k)) for k in range(4)]  # each second frame was looked at


def lines(frames: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in frames)


def add(project: TestClient, frames: list[dict[str, Any]] = FRAMES) -> dict[str, Any]:
    answer = project.post(f"{ADDRESS}?name=folder/clip.mp4", content=lines(frames))
    assert answer.status_code == 200, answer.text
    return answer.json()


def correct(project: TestClient, version: int, frame: int, identity: int, other: int, author: str = "Ada") -> Any:
    body = {"version": version, "frame": frame, "identity": identity, "other": other, "author": author}
    return project.post(f"{ADDRESS}/1/identities", json=body)


def ids(project: TestClient) -> list[list[int]]:
    answer = project.get(f"{ADDRESS}/1/tracks")
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    return [[item["id"] for item in json.loads(line)["objects"]] for line in answer.text.splitlines()]


def test_tracks_come_back_as_they_came_and_are_kept_once(project) -> None:
    first = add(project)
    assert (first["name"], first["frames"], first["version"], first["new"], first["changes"]) == ("clip.mp4", 4, 0, True, [])
    assert [json.loads(line) for line in project.get(f"{ADDRESS}/1/tracks").text.splitlines()] == FRAMES
    again = add(project)
    assert (again["id"], again["new"]) == (first["id"], False)
    assert len(project.get(ADDRESS).json()["videos"]) == 1


def test_corrections_change_places_from_their_frame_on_and_follow_each_other(project) -> None:
    add(project)
    assert correct(project, 0, 2, 1, 2).json() == {"version": 1}
    assert ids(project) == [[1, 2], [2, 1], [2, 1], [2, 1]]
    assert correct(project, 1, 4, 2, 9).json() == {"version": 2}
    assert ids(project) == [[1, 2], [2, 1], [9, 1], [9, 1]]
    again = add(project)
    assert [(one["frame"], one["identity"], one["other"], one["author"]) for one in again["changes"]] == [
        (2, 1, 2, "Ada"), (4, 2, 9, "Ada")
    ]  # fmt: skip


def test_nobody_corrects_what_another_person_has_corrected_meanwhile(project) -> None:
    add(project)
    assert correct(project, 0, 0, 1, 5).status_code == 200
    late = correct(project, 0, 0, 1, 6, author="Bob")
    assert late.status_code == 409
    assert "Ada has saved version 1" in late.json()["detail"]
    assert ids(project)[0] == [5, 2]


def test_corrected_tracks_are_written_as_track_writes_them(project, tmp_path: Path) -> None:
    add(project)
    correct(project, 0, 4, 1, 7)
    for form, names in (("mot", ["mot.txt"]), ("csv", ["positions.csv", "tracks.csv"]), ("json", ["tracks.json"])):
        answer = project.get(f"{ADDRESS}/1/tracks?format={form}")
        assert answer.status_code == 200, answer.text
        assert zipfile.ZipFile(io.BytesIO(answer.content)).namelist() == names
    for form, new in (("mots", 7), ("ctc", 3)):  # the Cell Tracking Challenge numbers tracks without gaps
        folder = tmp_path / form
        zipfile.ZipFile(io.BytesIO(project.get(f"{ADDRESS}/1/tracks?format={form}").content)).extractall(folder)
        (video,) = read_tracks(folder / "mots.txt" if form == "mots" else folder).values()
        found = [sorted(video[number].ids.tolist()) for number in sorted(video) if len(video[number].ids)]
        assert found == [[1, 2], [1, 2], [2, new], [2, new]], form
    third = video[sorted(video)[2]]
    boxes = {number: rle_to_box(rle).tolist() for number, rle in zip(third.ids.tolist(), third.rles, strict=True)}
    assert boxes[3] == [4, 10, 12, 30]


@pytest.mark.parametrize(
    ("frames", "complaint"),
    [
        ([], "1 to 10 lines"),
        ([frame(k) for k in range(11)], "received 11"),
        ([frame(1), frame(1)], "Line 2: frames come in their order"),
        ([frame(0, tracked(1, 5), tracked(1, 9))], "Line 1: an identity is in a frame once"),
        ([frame(0, tracked(0, 5))], "Line 1: objects.0.id"),
        ([frame(0, tracked(1, 5) | {"score": float("nan")})], "Line 1: objects.0.score"),
        ([frame(0) | {"height": 10**6, "width": 10**6}], "up to 64 million pixels; received 1000000×1000000"),
        ([frame(0, tracked(1, 5) | {"class": "ghost"})], "no class 'ghost'"),
        ([frame(0, tracked(1, 5) | {"mask": {"size": [9, 9], "counts": "a"}})], "its frame's size [64, 64]; received [9, 9]"),
        ([frame(0, tracked(1, 5) | {"mask": {"size": list(SIZE), "counts": "nonsense"}})], "Line 1: "),
    ],
)
def test_what_is_no_track_is_told_by_its_line(project, frames, complaint) -> None:
    answer = project.post(ADDRESS, content=lines(frames))
    assert answer.status_code == 422
    assert complaint in answer.json()["detail"]
    assert project.get(ADDRESS).json() == {"videos": []}


def test_a_mask_without_pixels_is_in_no_file(project) -> None:
    nothing = {"size": list(SIZE), "counts": mask_to_rle(np.zeros(SIZE, bool))["counts"].decode()}
    add(project, [frame(0, tracked(1, 5), tracked(2, 20) | {"mask": nothing}), frame(1)])
    answer = project.get(f"{ADDRESS}/1/tracks?format=mot")
    assert zipfile.ZipFile(io.BytesIO(answer.content)).read("mot.txt").decode().count("\n") == 1


def test_wrong_corrections(project) -> None:
    assert correct(project, 0, 0, 1, 2).status_code == 404
    assert project.get(f"{ADDRESS}/1/tracks").status_code == 404
    add(project)
    assert correct(project, 0, 0, 3, 3).status_code == 422
    assert correct(project, 0, 0, 0, 3).status_code == 422
    assert project.get(f"{ADDRESS}/1/tracks?format=overlay").status_code == 422


def test_a_project_of_an_earlier_version_takes_videos(tmp_path: Path) -> None:
    Store(tmp_path, ["square"]).close()
    with sqlite3.connect(tmp_path / DATABASE) as database:
        database.executescript("DROP TABLE identities; DROP TABLE videos; PRAGMA user_version = 2;")
    with TestClient(create_app(BrightDetector(), ServerSettings(project=tmp_path))) as client:
        assert add(client)["new"] is True
