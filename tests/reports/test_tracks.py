"""Laws of the report of tracks."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from pages import assert_looks_right, assert_self_contained
from typer.testing import CliRunner

from maskrcnn.cli.app import app
from maskrcnn.reports.timeline import _runs
from maskrcnn.verbs.evaluate_tracks import evaluate_tracks

pytest.importorskip("trackeval", reason="the extra `tracking` is not installed")


def write_mot(path: Path, *, seed: int, switch: int | None, num_tracks: int = 5, num_frames: int = 30) -> Path:
    """A MOT text of boxes that stand still, the first of which goes on as 99 from a frame on, the second is lost for five."""
    lines = []
    for frame in range(1, num_frames + 1):
        for track in range(1, num_tracks + 1):
            if switch is not None and track == 2 and 10 <= frame < 15:
                continue
            number = 99 if track == 1 and switch is not None and frame >= switch else track
            lines.append(f"{frame},{number},{20 * track},30,15,20,1,-1,-1,-1")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    for video in ("a<b>", "b"):
        write_mot(tmp_path / "truth" / f"{video}.txt", seed=0, switch=None)
        write_mot(tmp_path / "result" / f"{video}.txt", seed=0, switch=20)
    return tmp_path / "truth", tmp_path / "result"


def test_it_shows_when_tracks_were_lost_and_switched(files: tuple[Path, Path], tmp_path: Path) -> None:
    scores = evaluate_tracks(*files, folder=tmp_path / "report")
    page = (tmp_path / "report" / "report.html").read_text("utf-8")
    assert_self_contained(page, images=0)
    assert "a&lt;b&gt;" in page and "<b>.txt" not in page
    assert scores["switches"] == 2 and scores["missed"] == 10
    assert page.count("track 1, frame 19: 1 becomes 99") == 2
    assert page.count("track 2, frames 9 to 13: missed") == 2
    assert page.count('class="switch"') == 2
    numbers = json.loads((tmp_path / "report" / "report.json").read_text())
    assert numbers["scores"] == json.loads(json.dumps(scores))
    assert numbers["videos"]["b"]["switches"] == [{"frame": 19, "track": 1, "before": 1, "after": 99}]
    assert sum(numbers["videos"]["b"]["missed"]) == 5
    assert {path.name for path in (tmp_path / "report").iterdir()} == {"report.html", "report.json"}


def test_long_videos_of_many_tracks_stay_bounded(tmp_path: Path) -> None:
    truth = write_mot(tmp_path / "truth.txt", seed=0, switch=None, num_tracks=90, num_frames=200)
    result = write_mot(tmp_path / "result.txt", seed=0, switch=20, num_tracks=90, num_frames=200)
    evaluate_tracks(truth, result, folder=tmp_path)
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "60 of 90 tracks" in page
    assert len(page) < 100_000
    assert len(re.findall("<rect", page)) < 100


def test_stretches_of_a_track() -> None:
    assert list(_runs(np.array([-2, 5, 5, -1, 7]))) == [(1, 3, 5), (3, 4, -1), (4, 5, 7)]
    assert list(_runs(np.array([-2, -2]))) == []
    assert list(_runs(np.zeros(0, int))) == []


def test_the_command_writes_it(files: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "page"
    done = CliRunner().invoke(app, ["evaluate", "--tracks", *map(str, files), "--report", str(out)])
    assert done.exit_code == 0, done.output
    assert str(out / "report.html") in done.stdout.replace("\n", "")
    assert (out / "report.html").is_file()


@pytest.mark.browser
def test_the_page_looks_right_in_a_browser(files: tuple[Path, Path], tmp_path: Path) -> None:
    evaluate_tracks(*files, folder=tmp_path)
    assert_looks_right(tmp_path / "report.html")
