"""`maskrcnn track` and `evaluate --tracks`: what is written, what is told, and how it ends."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from small_tracks import WhiteBox, drawn, write_video
from typer.testing import CliRunner

import maskrcnn
from maskrcnn import engines
from maskrcnn.cli import app

pytest.importorskip("av", reason="the extra `video` is not installed")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """The command on a stand-in for a model, in a folder of its own that holds a video of six frames."""
    monkeypatch.chdir(tmp_path)
    Path("model.keras").write_bytes(b"")
    monkeypatch.setitem(vars(maskrcnn), "load_model", lambda path: WhiteBox())
    write_video(tmp_path / "a.mp4", [drawn([(4 * k, 20, 4 * k + 20, 40)]) for k in range(6)])

    def command(*words):
        done = CliRunner().invoke(app, list(map(str, words)), env={"COLUMNS": "200"})
        return done.exit_code, re.sub(r"\s+", " ", done.output)

    return command


def test_track_writes_its_files_and_says_where(run):
    code, told = run("track", "--model", "model.keras", "a.mp4", "--out", "found")
    assert code == 0, told
    assert "6 frames done; the results are in found" in told
    assert {path.name for path in Path("found").iterdir()} == {
        "overlay.mp4", "mot.txt", "mots.txt", "tracks.json", "tracks.csv", "positions.csv"
    }  # fmt: skip


def test_options_reach_the_tracks(run):
    given = ("track", "--model", "model.keras", "a.mp4", "--out")
    code, told = run(*given, "found", "--every", 2, "--save", "mot", "--save", "ctc")
    assert code == 0, told
    assert {path.name for path in Path("found").iterdir()} == {"mot.txt", "ctc"}
    assert [line.split(",")[0] for line in Path("found/mot.txt").read_text().splitlines()] == ["1", "3", "5"]
    code, told = run(*given, "none", "--score", 0.95)
    assert code == 0 and Path("none/mot.txt").read_text() == ""


def test_scores_are_a_number_or_auto(run):
    code, told = run("track", "--model", "model.keras", "a.mp4", "--score", "auto")
    assert code == 2 and "no best scores" in told
    for score in ("0", "1.5", "best"):
        code, told = run("track", "--model", "model.keras", "a.mp4", "--score", score)
        assert code == 2 and f"a number from 0.01 to 1, or auto; received {score}" in told


def test_a_broken_video_says_so_in_one_line_keeps_what_is_done_and_fails(run):
    content = Path("a.mp4").read_bytes()
    Path("a.mp4").write_bytes(content[:-20])
    code, told = run("track", "--model", "model.keras", "a.mp4", "--out", "found")
    assert code == 2
    assert "Stopped after 5 frames; the results up to there are in found" in told
    assert re.search(r"Error: a.mp4 is damaged from frame \d on", told)
    assert len(Path("found/mot.txt").read_text().splitlines()) == 5


def test_what_is_no_video_is_told_in_one_line(run):
    Path("text.mp4").write_text("no video at all")
    code, told = run("track", "--model", "model.keras", "text.mp4")
    assert (code, told.strip()) == (2, "Error: Cannot read text.mp4: Invalid data found when processing input.")
    code, told = run("track", "--model", "model.keras", "none.mp4")
    assert code == 2 and "There is no file or folder none.mp4" in told


def test_an_exported_model_tracks_without_keras(run, monkeypatch):
    monkeypatch.setattr(engines, "recognise", lambda path: "openvino")
    monkeypatch.setattr(engines, "load", lambda path, engine: WhiteBox())
    monkeypatch.setitem(vars(maskrcnn), "load_model", None)
    assert run("track", "--model", "exported", "a.mp4", "--save", "mot")[0] == 0


def test_tracks_are_scored_against_the_truth(run):
    pytest.importorskip("trackeval", reason="the extra `tracking` is not installed")
    run("track", "--model", "model.keras", "a.mp4", "--out", "found")
    code, told = run("evaluate", "--tracks", "found/mots.txt", "found", "--json", "scores.json")
    assert code == 0, told
    assert "Tracks, compared by their masks" in told and "HOTA" in told
    scores = json.loads(Path("scores.json").read_text())
    assert (scores["IDF1"], scores["sMOTSA"], scores["objects"]) == (1, 1, 6)
    truth = re.sub(r"^(\d+ \d+) 3", r"\1 2", Path("found/mots.txt").read_text(), flags=re.MULTILINE)
    Path("truth.txt").write_text(truth)
    code, told = run("evaluate", "--tracks", "truth.txt", "found")
    assert code == 0 and "The truth's only class is 2, the result's 3: they were taken for the same." in told
    code, told = run("evaluate", "--tracks", "found/mots.txt", "found", "--model", "model.keras")
    assert code == 2 and "--tracks scores two files of tracks and needs neither --model nor --data" in told
    code, told = run("evaluate", "--tracks", "found/mots.txt", "nowhere")
    assert code == 2 and "There is no file or folder nowhere" in told
