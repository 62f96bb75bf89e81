"""`maskrcnn serve`: what it takes, from the command line and from the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from maskrcnn.cli.app import app
from maskrcnn.serving.settings import ServerSettings
from maskrcnn.verbs import serve as verb


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the verb is called with, instead of a server."""
    pytest.importorskip("fastapi", reason='needs the extra "serve"')
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr("maskrcnn.serving.running.leave", lambda: None)
    monkeypatch.setattr(verb, "serve", lambda model, **options: calls.append({"model": model, **options}))
    return calls


def run(*words: str, **environment: str) -> Any:
    return CliRunner().invoke(app, ["serve", *words], env={"COLUMNS": "200", **environment})


def test_it_listens_on_the_loopback_unless_told(served) -> None:
    assert run().exit_code == 0
    (call,) = served
    assert (call["model"], call["host"], call["port"], call["workers"]) == ("nuclei", "127.0.0.1", 8000, 1)
    assert call["settings"] == ServerSettings(model_name="nuclei")


def test_options_and_the_environment_say_the_same(served, tmp_path: Path) -> None:
    words = {
        "host": "0.0.0.0", "port": "9", "score": "0.25", "batch_size": "8", "wait_ms": "2", "queue": "7", "max_megabytes": "1",
        "max_megapixels": "2", "max_images": "3", "timeout": "4", "grace": "5", "token": "a-token-that-is-long", "workers": "2",
        "keep": str(tmp_path), "project": str(tmp_path / "p"), "engine": "keras", "label_studio": "http://ls",
        "label_studio_token": "x", "origin": "https://lab.example",
    }  # fmt: skip
    run(*(part for name, value in words.items() for part in (f"--{name.replace('_', '-')}", value)))
    run(**{f"MASKRCNN_{name.upper()}": value for name, value in words.items()})
    first, second = served
    assert first["settings"].max_bytes == 2**20
    assert first["settings"].max_pixels == 2_000_000
    assert first["settings"].origins == ("https://lab.example",)
    assert {name: value for name, value in first.items() if name != "log"} == {k: v for k, v in second.items() if k != "log"}


def test_scores_are_a_number_or_auto(served) -> None:
    assert run("--score", "auto").exit_code == 0
    assert served[0]["settings"].score == "auto"
    assert "a number from 0 to 1, or auto; received 2" in run("--score", "2").stderr


def test_a_short_token_is_an_error_of_one_line(served) -> None:
    result = run("--token", "secret")
    assert result.exit_code == 2
    assert "at least 16 characters" in result.stderr
    assert served == []


def test_a_model_that_is_not_there_is_told_before_anything_is_loaded() -> None:
    pytest.importorskip("fastapi", reason='needs the extra "serve"')
    result = run("--model", "nowhere.keras")
    assert result.exit_code == 2
    assert "No model file at nowhere.keras" in result.stderr
