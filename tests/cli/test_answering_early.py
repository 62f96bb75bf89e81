"""What is wrong with a command's files and options is said before a backend is loaded, which takes many seconds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

HEAVY = ("keras", "tensorflow", "torch", "jax")
RUN = f"""
import sys
from maskrcnn.cli import app
try:
    app(sys.argv[1:])
except SystemExit as ended:
    print(ended.code, [name for name in {HEAVY} if name in sys.modules])
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image, a data set, one without objects, and a file that is neither."""
    folder = tmp_path_factory.mktemp("files")
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(folder / "a.png")
    square = {"bbox": [4, 4, 9, 9], "segmentation": [[4, 4, 13, 4, 13, 13, 4, 13]], "area": 81, "iscrowd": 0}
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": 20, "width": 30}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, **square}],
        "categories": [{"id": 1, "name": "square"}],
    }
    (folder / "data.json").write_text(json.dumps(content))
    (folder / "empty.json").write_text(json.dumps(content | {"annotations": []}))
    (folder / "text.json").write_text("no annotations")
    return folder


def test_images_that_their_headers_refuse_load_no_backend(folder: Path) -> None:
    done = subprocess.run([sys.executable, "-c", RUN, "predict", "text.json"], cwd=folder, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["0 of 1 images done", "1 []"], done.stdout + done.stderr
    assert done.stderr.strip() == "Skipped: Cannot read text.json: it is no image of a known kind."
    assert not (folder / "predictions").exists()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("train --data nowhere.json --out run", "nowhere.json"),
        ("train --data text.json --out run", "text.json"),
        ("train --data empty.json --val data.json --out run", "object"),
        ("train --data data.json --val nowhere.json --out run", "nowhere.json"),
        ("train --data data.json --val empty.json --out run --model resnet51_fpn", "resnet51_fpn"),
        ("train --data data.json --val empty.json --out run --set detect.scoer=1", "scoer"),
        ("predict nowhere.png", "nowhere.png"),
        ("predict a.png --save jpeg", "jpeg"),
        ("predict a.png --model nowhere", "nowhere"),
        ("track nowhere.mp4", "nowhere.mp4"),
        ("track a.png --save mp4", "mp4"),
        ("track a.png --save mot --codec h264", "codec"),
        ("evaluate --model nuclei --data text.json", "text.json"),
    ],
)
def test_a_wrong_command_loads_no_backend(folder: Path, command: str, said: str) -> None:
    done = subprocess.run([sys.executable, "-c", RUN, *command.split()], cwd=folder, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == ["2 []"], done.stdout + done.stderr
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (folder / "run").exists() and not (folder / "predictions").exists() and not (folder / "tracked").exists()
