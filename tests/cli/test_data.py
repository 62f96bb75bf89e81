"""The command group `maskrcnn data`."""

import dataclasses
import json
import shlex
import subprocess
import sys

import pytest
from faulty_data import write_faulty
from small_data import dataset_of
from typer.testing import CliRunner

import maskrcnn
from maskrcnn.cli import app
from maskrcnn.cli.options import parse_settings
from maskrcnn.config import fields, presets
from maskrcnn.data.shapes import make_shapes
from maskrcnn.doctor.suggest import suggest


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "200"})


@pytest.fixture
def shapes(tmp_path):
    return make_shapes(tmp_path / "shapes", num_train=3, num_val=1)[0]


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("stats", "DATA --images --model --image-size --json"),
        ("preview", "DATA --out --augment --images --model --image-size --input-channels --num-images --seed"),
        ("check", "DATA --val --model --out --json --fix --to --place-images --images --val-images --strict"),
        ("view", "DATA --out --num-images --only-faulty --seed --images --open"),
        ("convert", "DATA --to --out --images --place-images"),
        ("split", "DATA --out --val --test --seed --group-by --keep-alike --ignore-alike --to --images --place-images"),
        ("merge", "DATA --out --rename --to --place-images"),
        ("select", "DATA --class --without-class --min-area --max-area --files --rest-as-crowds --drop-empty-classes --to"),
        ("sample", "DATA --num-images --seed --out --to --images --place-images"),
    ],
)
def test_every_command_offers_its_options(command, options):
    done = run("data", command, "--help")
    assert done.exit_code == 0
    for option in options.split():
        assert option in done.stdout


def test_stats_are_printed_and_written(shapes, tmp_path):
    done = run("data", "stats", shapes, "--image-size", 96, "--json", tmp_path / "stats.json")
    assert done.exit_code == 0, done.stderr
    written = json.loads((tmp_path / "stats.json").read_text())
    assert (written["images"], written["short_side"], written["long_side"]) == (3, 96, 160)
    assert f"{written['objects']} objects" in done.stdout and "Anchors: the best one" in done.stdout


def test_stats_of_a_preset_load_no_keras(shapes):
    code = (
        "import sys\nfrom maskrcnn.cli import app\ntry:\n    app()\nfinally:\n"
        "    print([name for name in ('keras', 'tensorflow', 'torch', 'jax') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, "data", "stats", shapes], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_every_suggestion_can_be_pasted(tmp_path):
    """Its arguments mean its changes, to the parser of `--set`, to the shell and to the config."""
    uneven = [[0] * 400, [1], *([[0]] * 12)]
    long = dataset_of(uneven, num_classes=2, sides=(4.0, 60.0), sizes=[(512, 1200)] * 14)
    small = dataset_of([[0], [0]], num_classes=2, sides=(9.0, 9.0))
    config = presets.preset("mobilenet_v2_fpn", long.categories)
    found = [*suggest(long, config), *suggest(small, config)]
    named = {word.partition("=")[0] for suggestion in found for word in shlex.split(suggestion.arguments)}
    assert named >= {"--image-size", "image.long_side", "anchors.sizes", "anchors.ratios", "detect.max_detections"}
    assert named >= {"--class-weights", "rpn.proposals"}
    for suggestion in found:
        words = shlex.split(suggestion.arguments)
        pairs = list(zip(words[::2], words[1::2], strict=True))
        changes = parse_settings(value for option, value in pairs if option == "--set")
        for option, value in pairs:
            if option == "--image-size":
                changes |= {"image__short_side": int(value), "image__long_side": round(int(value) * 5 / 3)}
        if changes:
            assert fields.replace(config, **changes) == fields.replace(config, **suggestion.changes)
        else:
            assert {option for option, _ in pairs} <= {"--class-weights", "--repeat-threshold"}


def test_a_preview_is_written(shapes, tmp_path):
    sheets = [tmp_path / name for name in ("one.png", "same.png", "other.png")]
    for sheet, seed in zip(sheets, (1, 1, 2)):
        words = ["--augment", "photos", "--image-size", 96, "--num-images", 2, "--seed", seed]
        done = run("data", "preview", shapes, "--out", sheet, *words)
        assert done.exit_code == 0, done.stderr
    one, same, other = (sheet.read_bytes() for sheet in sheets)
    assert one == same != other


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["data"], "Missing command"),
        (["data", "stats", "nothing.json"], "'nothing.json' does not exist"),
        (["data", "stats", "DATA", "--model", "resnet9000"], "there is no 'resnet9000'"),
        (["data", "preview", "DATA"], "Missing option '--out'"),
        (["data", "preview", "DATA", "--out", "x.png", "--augment", "wild"], "Unknown augmentation 'wild'"),
        (["data", "split", "DATA", "--out", "."], "is not empty; name a new folder"),
        (["data", "split", "DATA", "--out", "parts", "--group-by", "["], "is none: "),
        (["data", "merge", "DATA", "--out", "both", "--rename", "circle"], "--rename takes OLD=NEW, two class names"),
        (["data", "select", "DATA", "--out", "some", "--class", "owl"], "has no class 'owl'; it has"),
        (["data", "sample", "DATA", "--out", "some", "--to", "odd"], "written as coco"),
    ],
)
def test_an_error_is_one_line_and_exit_code_2(words, said, shapes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run(*(str(shapes) if word == "DATA" else word for word in words))
    assert done.exit_code == 2
    assert said in done.stderr and done.stderr.startswith("Error: ")
    assert len(done.stderr.splitlines()) == 1


def test_settings_of_a_model_are_those_it_holds(shapes, tmp_path, monkeypatch):
    config = presets.preset("resnet50_fpn", presets.placeholder_categories(2))
    config = fields.replace(config, image=dataclasses.replace(config.image, short_side=128, long_side=192))
    monkeypatch.setattr("maskrcnn.cli.models.load_keras", lambda: None)
    monkeypatch.setitem(vars(maskrcnn), "load_model", lambda path: type("StandIn", (), {"config": config}))
    (tmp_path / "model.keras").write_bytes(b"")
    done = run("data", "stats", shapes, "--model", tmp_path / "model.keras")
    assert done.exit_code == 0, done.stderr
    assert "short side 128, long side at most 192" in done.stdout


def test_parts_are_written_joined_and_thinned_out(tmp_path):
    """What one command writes the next one reads."""
    made = make_shapes(tmp_path / "shapes", num_train=6, num_val=2)[0]
    commands = [
        ["split", made, "--out", tmp_path / "parts", "--val", 0.34, "--place-images", "link", "--ignore-alike"],
        ["merge", tmp_path / "parts/train", tmp_path / "parts/val", "--out", tmp_path / "both", "--rename", "circle=disc"],
        ["select", tmp_path / "both", "--class", "disc", "--drop-empty-images", "--out", tmp_path / "discs", "--to", "labelme"],
        ["sample", tmp_path / "discs", "--num-images", 1, "--out", tmp_path / "one", "--to", "yolo"],
    ]
    for words in commands:
        done = run("data", *words)
        assert done.exit_code == 0, done.stderr
        assert "Written to" in done.stdout
    parts = [maskrcnn.load_dataset(tmp_path / "parts", split=name) for name in ("train", "val")]
    assert [len(part) for part in parts] == [4, 2]
    assert len(maskrcnn.load_dataset(tmp_path / "both", strict=True)) == 6
    one = maskrcnn.load_dataset(tmp_path / "one", strict=True)
    assert len(one) == 1 and [category.name for category in one.categories] == ["disc"]


def test_a_check_lists_writes_and_repairs(tmp_path):
    train, val = write_faulty(tmp_path / "data")
    outputs = ["--out", tmp_path / "check.html", "--json", tmp_path / "check.json", "--fix", tmp_path / "fixed"]
    done = run("data", "check", train, "--val", val, *outputs)
    assert done.exit_code == 0, done.stderr
    assert "same image twice:" in done.stdout and "twice.png, again.png: 2 files have the same pixels" in done.stdout
    assert "train: 6 images are written, 5 left out" in done.stdout
    assert "same image twice" in (tmp_path / "check.html").read_text()
    assert json.loads((tmp_path / "check.json").read_text())["counts"]["same image twice"] == 1
    assert run("data", "check", train, "--strict").exit_code == 1
    repaired = run("data", "check", tmp_path / "fixed", "--val", tmp_path / "fixed", "--strict")
    assert repaired.exit_code == 0, repaired.stdout


def test_a_check_without_a_model_loads_no_keras(tmp_path):
    train, _ = write_faulty(tmp_path / "data")
    code = (
        "import sys\nfrom maskrcnn.cli import app\ntry:\n    app()\nfinally:\n"
        "    print([name for name in ('keras', 'tensorflow', 'torch', 'jax') if name in sys.modules])"
    )
    words = ["data", "check", train, "--out", tmp_path / "check.html", "--val", "0.3"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "words",
    [
        "data check train.json --json train.json",
        "data check train.json --val val.json --json val.json",
        "data check folder --json folder/some.json",
        "data check train.json --out link.json",
        "data stats train.json --json train.json",
        "data view train.json --out train.json",
        "data preview folder --out folder/a.png",
        "inspect folder/a.png --out folder/a.png",
        "evaluate --model nuclei --data train.json --json train.json",
        "evaluate --model nuclei --data train.json --save-results train.json",
        "evaluate --compare val.json folder --data train.json --json val.json",
    ],
)
def test_a_file_of_the_data_is_not_written_over(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    files = ["train.json", "val.json", "folder/some.json", "folder/a.png"]
    for name in files:
        (tmp_path / name).write_text("valuable")
    (tmp_path / "link.json").symlink_to("train.json")
    done = run(*words.split())
    assert done.exit_code == 2 and "is a file of the data itself" in done.stderr
    assert [(tmp_path / name).read_text() for name in files] == ["valuable"] * 4


def test_a_page_and_numbers_of_before_are_replaced(shapes, tmp_path):
    for _ in range(2):
        done = run("data", "check", shapes, "--out", shapes.parent / "check.html", "--json", tmp_path / "check.json")
        assert done.exit_code == 0, done.stderr
