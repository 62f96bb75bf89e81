"""The command line: what it offers, and that every failure is one line on stderr with exit code 2."""

import dataclasses
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import small_checkpoint
import tifffile
from PIL import Image
from small_checkpoint import torchvision_tensors, with_shallow_resnet, write_torchvision
from typer.testing import CliRunner

import maskrcnn
from maskrcnn.annotations.formats import WRITERS
from maskrcnn.cli import app
from maskrcnn.cli.options import parse_setting, parse_settings
from maskrcnn.config.model import Category, ImageConfig, ModelConfig
from maskrcnn.config.run import RunConfig, about
from maskrcnn.data.shapes import make_shapes
from maskrcnn.results.files import SAVE_FORMATS
from maskrcnn.results.large import LARGE_FORMATS
from maskrcnn.structures import PaddedDetections
from maskrcnn.weights.published import PUBLISHED, SHIPPED

OPTIONS = {
    "train": "--data --val --out --model --init --epochs --batch-size --image-size --input-channels --optimizer "
    "--learning-rate --seed --strict --coordinator --process --processes",
    "evaluate": "--model --data --json --images --biology",
    "predict": "--model --out --score --measure --save --window --axis",
    "convert": "--out --to --from --classes --num-classes --precision --set",
    "demo": "--out",
    "info": "MODEL",
}


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "200"})


class StandIn:
    """Stands in for a model; finds one object in every image: all of it."""

    config = ModelConfig(categories=(Category(1, "thing"),), image=ImageConfig(short_side=64, long_side=96))

    def predict_on_batch(self, batch):
        sizes = np.asarray(batch["sizes"], np.float32)  # (B, 2) height, width
        num = len(sizes)
        return PaddedDetections(
            boxes=np.stack([np.zeros(num), np.zeros(num), sizes[:, 1], sizes[:, 0]], axis=-1)[:, None].astype(np.float32),
            scores=np.full((num, 1), 0.9, np.float32),
            labels=np.zeros((num, 1), np.int32),
            masks=np.ones((num, 1, 28, 28), np.float32),
            valid=np.ones((num, 1), bool),
        )


@pytest.fixture
def run_folder(tmp_path, monkeypatch):
    """A run whose model is a stand-in."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "best.keras").write_bytes(b"")
    monkeypatch.setitem(vars(maskrcnn), "load_model", lambda path: StandIn())
    return folder


@pytest.mark.parametrize("command", OPTIONS)
def test_every_command_offers_its_options(command):
    done = run(command, "--help")
    assert done.exit_code == 0
    for option in OPTIONS[command].split():
        assert option in done.stdout


@pytest.mark.parametrize("words", [[], ["train"], ["predict"], ["data"], ["track"], ["evaluate"]])
def test_help_fits_a_narrow_terminal_with_whole_words(words):
    lines = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "80"}).stdout.splitlines()
    assert len(lines) > 10 and max(map(len, lines)) <= 80
    if not words:
        shown = " ".join("".join(line.strip("│╭╰─ ") + " " for line in lines).split())
        assert "Print the version and exit." in shown and "Show versions, backend and devices; or a model's layers" in shown


def test_shells_complete_commands_and_options(monkeypatch):
    def completed(text):
        monkeypatch.setenv("COMP_WORDS", text)
        monkeypatch.setenv("COMP_CWORD", str(text.count(" ")))
        monkeypatch.setenv("_MASKRCNN_COMPLETE", "complete_bash")
        done = CliRunner().invoke(app, [], prog_name="maskrcnn")
        return done.stdout.split()

    assert completed("maskrcnn tr") == ["train", "track"]
    assert completed("maskrcnn predict --eng") == ["--engine"]
    assert "--install-completion" in run("--help").stdout


def test_help_loads_no_keras():
    code = "import sys, maskrcnn.cli; print([m for m in ('keras', 'tensorflow', 'cv2', 'grain') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_version_is_the_package_version():
    assert run("--version").stdout.strip() == f"maskrcnn {maskrcnn.__version__}"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fly"], "No such command 'fly'"),
        (["train", "--data", "."], "Missing option '--out'"),
        (["train", "--data", ".", "--val", ".", "--out", "z", "--epochs", "0"], "'--epochs'"),
        (["train", "--data", ".", "--val", ".", "--out", "z", "--optimizer", "lion"], "'lion' is not one of"),
        (["train", "--data", ".", "--out", "z", "--processes", "2"], "need --coordinator HOST:PORT"),
        (["predict", "--model", "nowhere", "--out", "out", SHIPPED["nuclei"].with_suffix(".png")], "No model file at nowhere"),
        (["predict", "--model", ".", "--out", "out", "nothing.png"], "nothing.png"),
        (["predict", "--model", "nowhere", "--out", "out", "--score", "2", "x.png"], "'--score'"),
        (["predict", "--out", __file__, "x.png"], "'--out'"),
        (["predict", "--out", "s3://bucket/found", "x.png"], "'--out'"),
        (["predict", "--workers", "2", "x.png"], "--ray local"),
        (["predict", "--ray", "local", "--save", "cvat", "--tta", "x.png"], "leave out --save, --tta"),
        (["predict", "--ray", "local"], "Missing argument"),
        (["predict", "--ray", "local", "--out", "out", "nothing.png"], "There is no file or folder"),
        (["evaluate", "--model", ".", "--data", "missing.json"], "missing.json"),
        (["evaluate", "--model", ".", "--data", "."], "a folder with nothing in it"),
        (["info", "nowhere"], "No model file at nowhere"),
    ],
)
def test_an_error_is_one_line_and_exit_code_2(words, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run(*words)
    assert done.exit_code == 2
    assert said in done.stderr
    assert done.stderr.startswith("Error: ")
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_an_unknown_preset_is_told_with_those_that_are_possible(tmp_path):
    data, val = make_shapes(tmp_path / "shapes", num_train=1, num_val=1)
    done = run("train", "--data", data, "--val", val, "--out", tmp_path / "run", "--model", "resnet9000")
    assert done.exit_code == 2
    assert len(done.stderr.splitlines()) == 1
    assert "'resnet9000'" in done.stderr
    assert "mobilenet_v2_fpn" in done.stderr


def test_a_run_folder_without_a_model_says_so(tmp_path):
    done = run("info", tmp_path)
    assert done.exit_code == 2
    assert "neither best.keras nor last.keras" in done.stderr


@pytest.mark.parametrize("place", [0, 2])
def test_debug_shows_the_traceback_wherever_it_stands(place):
    words = ["info", "nowhere"]
    words.insert(place, "--debug")
    done = run(*words)
    assert done.exit_code == 2
    assert "Traceback" in done.stderr


def test_a_long_error_of_another_library_becomes_one_short_line(run_folder, monkeypatch):
    def fail(path):
        raise RuntimeError("node failed\n" + "stack\n" * 1000)

    monkeypatch.setitem(vars(maskrcnn), "load_model", fail)
    done = run("info", run_folder)
    assert done.exit_code == 2
    assert len(done.stderr.splitlines()) == 1
    assert len(done.stderr) < 1000
    assert "RuntimeError: node failed" in done.stderr
    assert "--debug" in done.stderr


def test_predict_writes_its_results_and_ends_with_0(run_folder, tmp_path):
    Image.new("RGB", (60, 40)).save(tmp_path / "good.png")
    done = run("predict", "--model", run_folder, "--out", tmp_path / "out", tmp_path / "good.png")
    assert done.exit_code == 0, done.stderr
    assert "1 of 1 images" in done.stdout
    assert (tmp_path / "out" / "predictions.json").is_file()


def test_several_models_look_at_an_image_together_and_with_tta_six_times_each(run_folder, tmp_path, monkeypatch):
    Image.new("RGB", (60, 40)).save(tmp_path / "good.png")
    looks = []
    monkeypatch.setattr("maskrcnn.inference.ensemble.fuse", lambda answers, **_: looks.append(len(answers)) or answers[0])
    for options, count in ((("--model", run_folder), 2), (("--tta",), 6)):
        done = run("predict", "--model", run_folder, *options, "--out", tmp_path / "out", tmp_path / "good.png")
        assert done.exit_code == 0, done.stderr
        assert looks.pop() == count


def test_predict_shows_a_window_and_saves_what_is_asked_for(run_folder, tmp_path):
    tifffile.imwrite(tmp_path / "deep.tif", np.full((2, 40, 60), 500, np.uint16), photometric="minisblack")
    options = ("--window", "-40,400", "--save", "geojson", "--save", "overlay", "--out", tmp_path / "out")
    done = run("predict", "--model", run_folder, tmp_path / "deep.tif", *options)
    assert done.exit_code == 0, done.stderr
    assert "2 of 2 images" in done.stdout
    names = {"predictions.json", "images.json", "deep.geojson", "deep_0001_overlay.png", "deep_0002_overlay.png"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names


def test_predict_writes_for_annotation_tools_and_says_what_they_cannot_hold(run_folder, tmp_path):
    Image.new("RGB", (60, 40)).save(tmp_path / "one.png")
    saves = [word for name in sorted(WRITERS) for word in ("--save", name)]
    done = run("predict", "--model", run_folder, tmp_path / "one.png", *saves, "--out", tmp_path / "out")
    assert done.exit_code == 0, (done.stderr, done.exception)
    assert {path.name for path in (tmp_path / "out").iterdir() if path.is_dir()} == {f"predictions-{name}" for name in WRITERS}
    assert "Not in predictions-yolo/: the scores of 1 objects" in done.stdout
    assert len(maskrcnn.load_dataset(tmp_path / "out/predictions-cvat", strict=True).samples[0].labels) == 1


def test_what_results_cannot_be_saved_as_is_said_before_a_model_is_loaded(tmp_path, monkeypatch):
    def load(*_, **__):
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("maskrcnn.cli.predict.models_to_run", load)
    Image.new("RGB", (60, 40)).save(tmp_path / "one.png")
    for name, why in (("bmp", "Results are saved as overlay, labels, .*; received 'bmp'"), ("zarr", "found in tiles")):
        done = run("predict", tmp_path / "one.png", "--save", name, "--out", tmp_path / "out")
        assert done.exit_code == 2 and re.search(why, done.stderr), done.stderr
    assert not (tmp_path / "out").exists()


def test_the_help_of_save_names_every_format():
    told = run("predict", "--help").stdout
    assert [name for name in {*SAVE_FORMATS, *LARGE_FORMATS, *WRITERS} if name not in told] == []


@pytest.mark.parametrize("window", ["bone", "40,400,7", "nan,10", "40,"])
def test_a_window_that_is_none_is_refused(run_folder, tmp_path, window):
    done = run("predict", "--model", run_folder, tmp_path / "a.png", f"--window={window}")
    assert done.exit_code == 2
    assert f"a window is CENTER,WIDTH, such as 40,400, or a number; received {window}" in done.stderr


def test_images_in_tiles_and_others_share_no_names(run_folder, tmp_path):
    for name, side in (("one/a.png", 300), ("two/A.png", 300), ("one/a_2.png", 300), ("two/a.jpg", 50)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (side, side)).save(tmp_path / name)
    out = tmp_path / "out"
    folders = (tmp_path / "one", tmp_path / "two")
    done = run("predict", "--model", run_folder, *folders, "--tile", 200, "--save", "geojson", "--out", out)
    assert done.exit_code == 0, done.stderr
    assert len({path.name.lower() for path in out.glob("*.geojson")}) == 4


def test_results_that_are_not_there_are_not_promised(run_folder, tmp_path):
    Image.new("RGB", (300, 300)).save(tmp_path / "a.png")
    done = run("predict", "--model", run_folder, tmp_path / "a.png", "--tile", 200, "--overlap", 199, "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert done.stdout.splitlines()[-1] == "0 of 1 images done"


def test_predict_skips_an_unreadable_image_does_the_rest_and_ends_with_1(run_folder, tmp_path):
    Image.new("RGB", (60, 40)).save(tmp_path / "good.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    done = run("predict", "--model", run_folder, "--out", tmp_path / "out", tmp_path / "broken.png", tmp_path / "good.png")
    assert done.exit_code == 1
    assert "Skipped: " in done.stderr
    assert "broken.png" in done.stderr
    assert "1 of 2 images" in done.stdout
    assert "good.png" in (tmp_path / "out" / "predictions.json").read_text()


def test_an_interruption_keeps_what_is_done_and_ends_with_130(run_folder, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(StandIn, "predict_on_batch", interrupt)
    Image.new("RGB", (8, 8)).save(tmp_path / "one.png")
    done = run("predict", "--model", run_folder, "--out", tmp_path / "out", tmp_path / "one.png")
    assert done.exit_code == 130
    assert "Traceback" not in done.stderr
    assert (tmp_path / "out" / "predictions.json").read_text().split() == ["[", "]"]


@pytest.mark.parametrize(
    ("word", "name", "value"),
    [
        ("detect.max_detections=400", "detect__max_detections", 400),
        ("anchors.ratios=[1, 2]", "anchors__ratios", [1, 2]),
        ("detect.nms=class_agnostic", "detect__nms", "class_agnostic"),
    ],
)
def test_a_setting_is_a_place_and_a_value(word, name, value):
    assert parse_setting(word) == (name, value)


# ── Weights of other projects ──


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Iterator[Path]:
    """A folder of files, of a ResNet that is shallow while this fixture lives."""
    folder = tmp_path_factory.mktemp("files")
    tensors = torchvision_tensors()
    write_torchvision(folder / "whole.pth", tensors)
    write_torchvision(folder / "missing.pth", {name: tensors[name] for name in tensors if not name.endswith("fc7.bias")})
    write_torchvision(folder / "nan.pth", tensors | {"rpn.head.bbox_pred.bias": np.full(12, np.nan, np.float32)})
    (folder / "cut.pth").write_bytes((folder / "whole.pth").read_bytes()[:100_000])
    (folder / "text.pth").write_text("hello")
    (folder / "names.txt").write_text("cat\n dog \n\ncow\n", "utf-8")
    (folder / "two.txt").write_text("cat\ndog\n", "utf-8")
    (folder / "empty.txt").write_text("", "utf-8")
    small_checkpoint.write_resnet(folder / "resnet50.pth")
    with with_shallow_resnet():
        yield folder


def test_convert_writes_a_model_that_info_shows_with_its_origin(files, tmp_path):
    out = tmp_path / "model.keras"
    words = ["--classes", files / "names.txt", "--num-classes", 3, "--set", "detect.score=0.3"]
    done = run("convert", files / "whole.pth", "--out", out, *words)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == f"{files / 'whole.pth'}: torchvision v1, 3 classes."
    assert "127 weights loaded, 0 start anew" in done.stdout
    assert done.stdout.splitlines()[-1] == f"{out}: 3 classes; weights: torchvision v1, whole.pth"
    shown = run("info", out).stdout
    assert "Weights: torchvision v1, whole.pth" in shown
    assert "Classes (3): cat, dog, cow" in shown


def test_convert_list_shows_every_published_name_and_its_licence():
    done = run("convert", "list")
    assert done.exit_code == 0
    assert all(name in done.stdout for name in PUBLISHED)
    assert "CC BY-SA 3.0" in done.stdout and "47.4" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["whole.pth"], "--out FILE"),
        (["whole.pth", "--out", "OUT/model.pth"], "ends with .keras; received model.pth"),
        (["whole.pth", "--out", "OUT/model.pth", "--to", "torchvision"], "whole.pth"),
        (["whole.pth", "--out", "OUT/model.keras", "--to", "onnx"], "'onnx' is not one of"),
        (["whole.pth", "--out", "OUT/model.keras", "--from", "mmdet"], "torchvision names them, not mmdet"),
        (["whole.pth", "--out", "OUT/model.keras", "--num-classes", "5"], "knows 3 classes"),
        (["whole.pth", "--out", "OUT/model.keras", "--classes", "two.txt"], "2 names were given"),
        (["whole.pth", "--out", "OUT/model.keras", "--classes", "empty.txt"], "0 names were given"),
        (["whole.pth", "--out", "OUT/model.keras", "--classes", "none.txt"], "'none.txt' does not exist"),
        (["whole.pth", "--out", "OUT/model.keras", "--set", "IMAGE_MAX_DIM=512"], "matterport's names (IMAGE_MAX_DIM)"),
        (["whole.pth", "--out", "OUT/model.keras", "--set", "detect.colour=1"], "has no field 'colour'"),
        (["missing.pth", "--out", "OUT/model.keras"], "no tensor 'roi_heads.box_head.fc7.bias'"),
        (["nan.pth", "--out", "OUT/model.keras"], "'rpn.head.bbox_pred.bias' holds values that are not finite"),
        (["cut.pth", "--out", "OUT/model.keras"], "cut.pth"),
        (["text.pth", "--out", "OUT/model.keras"], "text.pth"),
        (["resnet50.pth", "--out", "OUT/model.keras"], "backbone of a PyTorch ResNet alone"),
        (["nothing.pth", "--out", "OUT/model.keras"], "No weights file at nothing.pth"),
        (["torchvison-v1", "--out", "OUT/model.keras"], "published are torchvision-v1"),
    ],
)
def test_a_conversion_that_fails_is_one_line_exit_code_2_and_no_file(files, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(files)
    done = run("convert", *(word.replace("OUT", str(tmp_path)) for word in words))
    assert done.exit_code == 2
    assert said in done.stderr
    assert done.stderr.startswith("Error: ") and len(done.stderr.splitlines()) == 1
    assert "--debug" not in done.stderr  # as for errors that nobody foresaw
    assert not list(tmp_path.iterdir())


def test_a_setting_in_capitals_is_matterports():
    assert parse_settings(["detect.score=0.3", "IMAGE_MAX_DIM=512", "RPN_ANCHOR_SCALES=[8, 16]"]) == {
        "detect__score": 0.3,
        "matterport_config": {"IMAGE_MAX_DIM": 512, "RPN_ANCHOR_SCALES": [8, 16]},
    }


# ── options of `train` and `evaluate` that only pass through ──

TOLD = {
    "--epochs 3": {"epochs": 3},
    "--augment microscopy": {"augment": "microscopy"},
    "--class-weights balanced": {"class_weights": "balanced"},
    "--class-weights car=1,red=bus=2.5": {"class_weights": {"car": 1.0, "red=bus": 2.5}},
    "--repeat-threshold 0.1": {"repeat_threshold": 0.1},
    "--focal-gamma 2": {"focal_gamma": 2.0},
    "--label-smoothing 0.1": {"label_smoothing": 0.1},
    "--dropout 0.5": {"dropout": 0.5},
    "--stochastic-depth 0.2": {"stochastic_depth": 0.2},
    "--schedule step": {"schedule": "step"},
    "--warm-up-steps 10": {"warm_up_steps": 10},
    "--weight-decay 0.01": {"weight_decay": 0.01},
    "--clip-norm 1": {"clip_norm": 1.0},
    "--accumulate 4": {"accumulate": 4},
    "--ema 0.998": {"ema": 0.998},
    "--backbone-rate 0.1": {"backbone_rate": 0.1},
    "--precision bfloat16": {"precision": "bfloat16"},
    "--freeze backbone --freeze fpn": {"freeze": ["backbone", "fpn"]},
    "--monitor val_loss --patience 5": {"monitor": "val_loss", "patience": 5},
    "--resume": {"resume": True},
    "--val val.json": {"val": "val.json"},
    "--learning-rate 0 --strict": {"learning_rate": 0.0, "strict": True},
    "--classes a,b --set rpn.proposals=50": {"reading": {"classes": ["a", "b"]}, "changes": {"rpn__proposals": 50}},
    "--save-minutes 0.5": {"save_minutes": 0.5},
}


@pytest.fixture
def told(tmp_path, monkeypatch):
    """What differs from the defaults of a run that the words of a command ask for."""
    from maskrcnn.training import plan, tuning
    from maskrcnn.verbs import train as verb

    def told_by(words: str) -> dict:
        asked: list[dict] = []

        def remember(data, val, out, config, *, resume, log, auto, owns_folder):
            assert owns_folder
            fields = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
            changed = {name: value for name, value in fields.items() if value != getattr(RunConfig(), name)}
            asked.append(changed | {"val": val, "resume": resume, **({} if auto else {"auto": False})})

        monkeypatch.setattr(plan, "make_plan", remember)
        monkeypatch.setattr(tuning, "tuned", lambda plan, given, log: asked[-1].update(given=set(given)))
        monkeypatch.setattr(verb, "run_plan", lambda *_, **__: None)
        done = run("train", "--data", tmp_path, "--out", tmp_path / "run", *words.split())
        assert done.exit_code == 0, done.output
        return asked[0]

    return told_by


@pytest.mark.parametrize("words", TOLD)
def test_train_is_told_what_the_command_line_says_and_nothing_else(told, words):
    asked = told(words)
    del asked["given"]
    assert asked == {"val": 0.2, "resume": False, **TOLD[words]}


def test_what_is_given_is_not_chosen_even_where_it_is_the_default(told):
    assert told("--epochs 20 --set rpn.proposals=50")["given"] == {"epochs", "rpn__proposals"}
    assert told("")["given"] == set()
    assert told("--no-auto") == {"val": 0.2, "resume": False, "auto": False}


def test_every_number_of_a_run_has_an_option_with_its_help():
    fields = {field.name: about(field) for field in dataclasses.fields(RunConfig)}
    in_python_alone = {"matterport_config", "changes", "reading", "milestones"}  # the first two are --set
    assert {name for name, text in fields.items() if not text.metavar} == in_python_alone
    shown = " ".join(run("train", "--help").stdout.replace("│", " ").split())
    assert len(fields) > 30
    for name, text in fields.items():
        if text.metavar:
            assert f"--{name.replace('_', '-')} " in shown and text.help in shown, name


def test_class_weights_that_are_no_numbers_are_one_line(told, tmp_path):
    done = run("train", "--data", tmp_path, "--val", tmp_path, "--out", tmp_path / "run", "--class-weights", "car=many")
    assert done.exit_code == 2 and "received car=many" in done.stderr and done.stderr.count("\n") == 1
