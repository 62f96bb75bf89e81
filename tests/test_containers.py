"""What the Dockerfiles and the development container name is there: files, extras, commands."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from maskrcnn.cli.app import app

ROOT = Path(__file__).parents[1]
DOCKERFILES = ("Dockerfile", "Dockerfile.gpu")
pytestmark = pytest.mark.skipif(not (ROOT / "Dockerfile").exists(), reason="the source archive has no Dockerfile")


def instructions(name: str) -> list[tuple[str, str]]:
    """Each instruction with what follows it, lines joined, without comments."""
    lines = [line for line in (ROOT / name).read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def extras_of(command: str) -> set[str]:
    """The extras of this project that a command of pip installs."""
    return {name for found in re.findall(r"\s['\"]?\.\[([\w,-]+)\]", command) for name in found.split(",")}


def extras() -> set[str]:
    return set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])


@pytest.mark.parametrize("name", DOCKERFILES)
def test_what_is_copied_is_there_and_not_ignored(name: str) -> None:
    copied = [shlex.split(rest)[:-1] for word, rest in instructions(name) if word == "COPY" and not rest.startswith("--from")]
    sources = {source for each in copied for source in each}
    assert {"pyproject.toml", "src"} <= sources
    assert [source for source in sources if not (ROOT / source).exists()] == []
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert ignored[0] == "*"
    assert {line.removeprefix("!") for line in ignored if line.startswith("!")} == sources


@pytest.mark.parametrize("name", DOCKERFILES)
def test_what_the_build_reads_is_copied(name: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    copied = " ".join(rest for word, rest in instructions(name) if word == "COPY").split()
    assert [file for file in (project["readme"], *project["license-files"]) if file not in copied] == []
    (command,) = [rest for word, rest in instructions(name) if word == "RUN" and "pip install" in rest]
    for file in re.findall(r"--constraint (\S+)", command):
        assert file in copied


@pytest.mark.parametrize("name", DOCKERFILES)
def test_the_extras_of_a_dockerfile_are_there(name: str) -> None:
    (wanted,) = [found for word, rest in instructions(name) if word == "RUN" and (found := extras_of(rest))]
    assert "serve" in wanted
    assert wanted <= extras()


def test_the_extras_of_the_development_container_are_there() -> None:
    container = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text())
    command = shlex.split(container["postCreateCommand"])
    wanted = extras_of(f" {command[-1]}")
    assert "dev" in wanted
    assert wanted <= extras()
    assert (ROOT / command[command.index("--constraint") + 1]).exists()
    markers = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]["markers"]
    chosen = container["customizations"]["vscode"]["settings"]["python.testing.pytestArgs"]
    assert any(marker.startswith(f"{chosen[chosen.index('-m') + 1]}:") for marker in markers)


@pytest.mark.parametrize("name", DOCKERFILES)
def test_the_command_takes_the_variables_that_are_set(name: str) -> None:
    (start,) = [json.loads(rest) for word, rest in instructions(name) if word == "ENTRYPOINT"]
    assert start[0] == "maskrcnn"
    shown = CliRunner().invoke(app, [*start[1:], "--help"], env={"COLUMNS": "200"}).output
    variables = [found for word, rest in instructions(name) if word == "ENV" for found in re.findall(r"MASKRCNN_\w+", rest)]
    assert len(variables) == 2
    assert [variable for variable in variables if variable not in shown] == []


@pytest.mark.parametrize("name", DOCKERFILES)
def test_nothing_runs_as_root_and_the_health_check_asks_an_open_path(name: str) -> None:
    words = dict(instructions(name))
    assert words["USER"].isdecimal()
    assert int(words["USER"]) > 0
    assert "/v2/health/ready" in words["HEALTHCHECK"]
