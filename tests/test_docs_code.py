"""Every command and snippet of the documentation is checked without running it; tests/test_docs.py runs those marked as tested.

Commands go through the real command line up to the function behind it, which is not called. Python is compiled, and its names
of this package, their attributes and the arguments of calls are looked up.
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer
from docs_blocks import PAGES, ROOT, blocks, commands, prose
from docs_names import Reader, attribute_of, is_setting

from maskrcnn.cli import app
from maskrcnn.cli.options import parse_settings
from maskrcnn.config.fields import replace
from maskrcnn.config.model import Category, ModelConfig

SHELL = ("sh", "bash")
OTHER_PROGRAMS = {  # commands that are not ours
    "curl": "asks a running server; tests/serving does so in Python",
    "docker": "not on every machine; tests/test_containers.py reads the Dockerfiles",
    "srun": "SLURM's; tests/distributed set its variables",
    "duckdb": "another program over our files; tests/distributed read their columns",
    "python3": "makes an environment",
    "source": "enters it",
}
PLACEHOLDERS = {"COMMAND", "…"}
ANY_MODEL = ModelConfig(categories=(Category(1, "nucleus"),))


@pytest.fixture(scope="module")
def command() -> Iterator[Any]:
    """The command line whose commands do nothing, and whose files need not exist."""
    tree = typer.main.get_command(app)
    with pytest.MonkeyPatch.context() as patch:
        for one in with_subcommands(tree):
            one.callback = lambda **_: None
            for parameter in one.params:
                patch.setattr(parameter.type_descriptor.parameter_info, "exists", False)
        yield tree


def with_subcommands(command: Any) -> Iterator[Any]:
    yield command
    for one in getattr(command, "commands", {}).values():
        yield from with_subcommands(one)


def fault(command: Any, words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What the command line says against these words, in one line; nothing if it takes them."""
    with pytest.raises(SystemExit) as stop:
        command.main(words)
    told = " ".join(capsys.readouterr().err.split())
    changes = [value for word, value in pairwise(words) if word == "--set"]
    if not stop.value.code and changes and "matterport" not in words:
        replace(ANY_MODEL, **parse_settings(changes))
    return told if stop.value.code else ""


def shell_blocks() -> Iterator[tuple[str, list[str]]]:
    for page in PAGES:
        for block in blocks(page):
            if block.language in SHELL:
                for words in commands(block.text):
                    yield f"{page.relative_to(ROOT)}: {' '.join(words)}", words


def test_commands_are_understood(command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    ours = [(where, words[1:]) for where, words in shell_blocks() if Path(words[0]).name == "maskrcnn"]
    assert len(ours) > 80
    faults = {where: fault(command, words, capsys) for where, words in ours}
    assert {where: told for where, told in faults.items() if told} == {}


def test_commands_in_sentences_are_understood(command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Parts of commands too: what is missing there may be missing."""
    found = [(page.name, text) for page in PAGES for text in re.findall(r"`maskrcnn ([^`]+)`", prose(page))]
    assert len(found) > 80
    faults = {}
    for page, text in found:
        (words,) = commands(" ".join(text.split()))  # a line may end within
        if not PLACEHOLDERS & set(words):
            faults[f"{page}: {text}"] = fault(command, words, capsys)
    assert {where: told for where, told in faults.items() if told and "Missing " not in told} == {}


def test_a_wrong_command_is_noticed(command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--epoch" in fault(command, ["train", "--data", "a", "--out", "b", "--epoch", "3"], capsys)
    assert "dat" in fault(command, ["dat", "stats"], capsys)
    assert "fast" in fault(command, ["train", "--data", "a", "--out", "b", "--schedule", "fast"], capsys)
    assert "Missing" in fault(command, ["train", "--data", "a"], capsys)
    with pytest.raises(ValueError, match="detekt"):
        fault(command, ["train", "--data", "a", "--out", "b", "--set", "detekt.score=0.1"], capsys)


def test_other_commands_are_of_this_repository_or_named() -> None:
    """Scripts exist and know their options, extras exist; what is another project's is in the list, with the reason."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    others = [(where, words) for where, words in shell_blocks() if Path(words[0]).name != "maskrcnn"]
    assert len(others) > 20
    used = set()
    for where, (program, *words) in others:
        name = Path(program).name
        if name == "pip":
            wanted = [
                extra
                for word in words
                for listed in re.findall(r"^(?:maskrcnn|\.)\[(.+)\]$", word)
                for extra in listed.split(",")
            ]
            assert set(wanted) <= set(extras), where
        elif name == "python" or program.startswith("scripts/"):
            script, options = (words[0], words[1:]) if name == "python" else (program, words)
            source = (ROOT / script).read_text("utf-8")
            assert [word for word in options if word.startswith("--") and word not in source] == [], where
        else:
            used.add(name)
    assert used == set(OTHER_PROGRAMS)


OTHERS_OPTIONS = {  # page: options of other programs or of scripts that its sentences name
    "docs/measurements.md": {"--fast-decode", "--static"},
    "docs/serve.md": {"--file", "--gpus"},
    "docs/video.md": {"--seed"},
}


def test_options_in_sentences_exist(command: Any) -> None:
    parameters = [parameter for one in with_subcommands(command) for parameter in one.params]
    known = {word for parameter in parameters for word in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}
    checked = 0
    for page in PAGES:
        name = page.relative_to(ROOT).as_posix()
        named = {word for text in re.findall(r"`(--[^`]*)`", prose(page)) for word in re.findall(r"(?<!\S)--[a-z-]+", text)}
        assert named - known - OTHERS_OPTIONS.get(name, set()) == set(), name
        checked += len(named)
    assert checked > 150


def test_settings_in_sentences_exist() -> None:
    """`detect.max_detections`, and as `--set` takes them with a value."""
    sections = {field.name for field in dataclasses.fields(ModelConfig)}
    files = re.compile(r"\.(py|csv|json|html|txt|yaml|keras)$")
    checked = 0
    for page in PAGES:
        for text in re.findall(r"`(?:--set )?([a-z_]+(?:\.[a-z_]+)+)[^`]*`", prose(page)):
            if text.partition(".")[0] in sections and not files.search(text):
                assert is_setting(text), f"{page.relative_to(ROOT)} names {text}, which is no setting"
                checked += 1
    assert checked > 60


def test_python_names_what_exists() -> None:
    count = resolved = 0
    faults = {}
    for page in PAGES:
        reader = Reader()
        for block in blocks(page):
            if block.language == "python" and not block.mark.startswith("from "):
                reader.read(block.text)
                count += 1
        resolved += reader.resolved
        faults[page.name] = reader.faults
    assert {page: found for page, found in faults.items() if found} == {}
    assert count >= 25
    assert resolved > 100


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("maskrcnn.evaluate()", "maskrcnn is used before"),
        ("import maskrcnn\nmaskrcnn.predikt('a')", "maskrcnn has no predikt"),
        ("from maskrcnn.verbs.train import trian", "maskrcnn.verbs.train has no trian"),
        ("import maskrcnn\nmaskrcnn.train('a', 'b', 'c', epoch=3)", "train(): there is no setting epoch"),
        ("import maskrcnn\nmaskrcnn.train('a', 'b', 'c', detect__scores=3)", "train(): there is no setting detect__scores"),
        ("import maskrcnn\nmodel = maskrcnn.load_model('a')\nmodel.detect('a', threshold=1)", "got an unexpected keyword"),
        ("import maskrcnn\nmodel = maskrcnn.MaskRCNN.from_preset('a')\nmodel.detekt('a')", "MaskRCNN has no detekt"),
        ("import maskrcnn\n(found,) = maskrcnn.load_model('a').detect('a')\nprint(found.boxs)", "Detections has no boxs"),
        ("import maskrcnn\nfor one in maskrcnn.read_planes('a'):\n    print(one.pixels)", "Plane has no pixels"),
    ],
)
def test_wrong_python_is_noticed(text: str, told: str) -> None:
    reader = Reader()
    reader.read(text)
    assert len(reader.faults) == 1
    assert told in reader.faults[0]


def test_names_in_sentences_exist() -> None:
    """`maskrcnn.verbs.track.track_frames`, with or without a call behind it."""
    checked = 0
    for page in PAGES:
        for name in re.findall(r"`(maskrcnn(?:\.\w+)+)[^`]*`", prose(page)):
            if not name.endswith((".json", ".html", ".lock")):
                attribute_of(name)
                checked += 1
    assert checked > 25
