"""The table of formats: what is recognised, what is asked, and how what is not read is named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from drawn import save, write_images
from small_data import annotation

from maskrcnn.annotations.formats import FORMATS, WRITERS, write_annotations
from maskrcnn.data.dataset import load_dataset

BOX = {"label": "cat", "coordinates": {"x": 1, "y": 1, "width": 2, "height": 2}}


def test_names_are_those_of_the_command_line():
    assert len(FORMATS) >= 16 and set(WRITERS) <= set(FORMATS)
    for name, module in FORMATS.items():
        assert module.NAME == name == name.lower() and module.TITLE


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("results.json", json.dumps([{"image_id": 1, "category_id": 1, "score": 0.5}]), "a COCO result file"),
        ("boxes.json", json.dumps([{"image": "a.png", "annotations": [BOX]}]), "CreateML's JSON, which knows boxes alone"),
        ("captions.json", json.dumps({"images": [], "annotations": []}), "COCO without categories"),
        ("test.json", json.dumps({"images": [], "categories": []}), "COCO without annotations"),
        ("some.json", json.dumps({"a": 1}), "a JSON object with 'a', which no known format has"),
        ("odd.xml", "<odd/>", "XML with the root 'odd'"),
        ("table.csv", "a,b\n1,2\n", "a CSV with the columns a, b"),
        ("shapes.csv", "index,shape-type,vertex-index,axis-0,axis-1\n", "a CSV of shapes by napari"),
        ("a_seg.npy", b"\x93NUMPY", "one file of Cellpose: name the folder"),
        ("data.zip", b"PK", "an archive: unpack it"),
        ("train.tfrecord", b"", "a TFRecord"),
        ("a.png", b"\x89PNG", "a single image"),
        ("notes.txt", "hello", "a file of no known format"),
    ],
)
def test_what_is_not_read_is_named_in_one_line(tmp_path, name, content, words):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match="Cannot read") as error:
        load_dataset(path)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_folders_without_annotations_are_named(tmp_path):
    write_images(tmp_path, "a.png", "b.png")
    with pytest.raises(ValueError, match="a folder of 2 images without annotations"):
        load_dataset(tmp_path)


def test_what_a_pickle_says_is_never_run(tmp_path):
    write_images(tmp_path, "a.png")
    target = tmp_path / "was_run"
    bomb = f"cos\nsystem\n(S'touch {target}'\ntR.".encode()
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (), }"
    (tmp_path / "a_seg.npy").write_bytes(b"\x93NUMPY\x01\x00" + (len(header) + 1).to_bytes(2, "little") + header + b"\n" + bomb)
    with pytest.raises(ValueError, match="wants to run 'os.system' when opened"):
        load_dataset(tmp_path)
    with pytest.raises(ValueError, match="one file of Cellpose: name the folder"):
        load_dataset(tmp_path / "a_seg.npy")
    assert not target.exists()


def test_what_may_be_two_formats_is_asked_about_and_decided(write_coco, tmp_path):
    write_coco([annotation(1)], folder="images")
    save(tmp_path / "masks/a.png", np.ones((20, 30), np.uint8))
    with pytest.raises(ValueError, match="may be read as label-maps or coco; decide with --format"):
        load_dataset(tmp_path)
    assert load_dataset(tmp_path, format="coco").categories[0].name == "cat"
    assert load_dataset(tmp_path, format="label-maps").categories[0].name == "object"
    with pytest.raises(ValueError, match="is not YOLO labels .*; it is"):
        load_dataset(tmp_path, format="yolo")
    with pytest.raises(ValueError, match="Unknown format 'odd'; possible: coco, via"):
        load_dataset(tmp_path, format="odd")


def test_a_split_decides_between_files(write_coco, tmp_path):
    for split in ("train", "valid"):
        path = write_coco([annotation(1)], folder=split)
        path.rename(tmp_path / split / "_annotations.coco.json")
    with pytest.raises(ValueError, match=r"several files of annotations, train/_ann.*, valid/_ann.*, or the split"):
        load_dataset(tmp_path)
    assert "valid" in load_dataset(tmp_path, split="val", strict=True).samples[0].path
    for split in ("train", "val"):
        write_images(tmp_path / f"maps/{split}/images", f"{split}.png")
        save(tmp_path / f"maps/{split}/masks/{split}.png", np.ones((40, 60), np.uint8))
    assert load_dataset(tmp_path / "maps", split="val", strict=True).samples[0].file_name == "val.png"
    with pytest.raises(ValueError, match="label maps .*, and no part of it is called val"):
        load_dataset(tmp_path / "maps/train", split="val")
    with pytest.raises(ValueError, match="Splits are train, val, test; received 'odd'"):
        load_dataset(tmp_path, split="odd")


def test_files_are_named_before_any_backend_is_imported(tmp_path):
    (tmp_path / "a.json").write_text("[]")
    code = (
        "import sys\nfrom maskrcnn.data.dataset import load_dataset\n"
        f"try:\n    load_dataset({str(tmp_path / 'a.json')!r})\nexcept ValueError as error:\n    print(error)\n"
        "sys.exit(any(name in sys.modules for name in ('keras', 'tensorflow', 'torch', 'jax')))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, env=environment)
    assert ran.returncode == 0 and "a JSON list without annotations" in ran.stdout


def test_a_format_that_is_not_written_is_an_error(write_coco, tmp_path):
    with pytest.raises(ValueError, match="Data sets are written as coco, yolo.*; received 'cityscapes'"):
        write_annotations(load_dataset(write_coco([])), "cityscapes", tmp_path / "out")


def test_memory_does_not_grow_with_the_masks(tmp_path):
    """600 objects as bitmaps would take 150 MB; as run lengths they take next to nothing."""
    for number in range(10):
        save(tmp_path / f"images/{number}.png", np.zeros((498, 500, 3), np.uint8))
        boxes = np.kron(np.arange(1, 61).reshape(6, 10), np.ones((83, 50), int))  # (498, 500)
        save(tmp_path / f"masks/{number}.png", boxes.astype(np.uint16))
    tracemalloc.start()
    try:
        data = load_dataset(tmp_path, strict=True)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [len(sample.rles) for sample in data.samples] == [60] * 10
    assert peak < 30e6


@pytest.mark.parametrize("name", ["export.json", "trainval.json", "annotations/all.json"])
@pytest.mark.parametrize("split", ["train", "val"])
def test_a_folder_without_such_a_part_is_not_read_whole_in_its_place(write_coco, tmp_path, name, split):
    """The same folder to train on and to validate with would be scored on what it learned."""
    path = write_coco([annotation(1)], folder="images")
    (tmp_path / "annotations").mkdir()
    path.rename(tmp_path / name)
    with pytest.raises(ValueError, match=f"no part that is called {split}, only {name}; maskrcnn data split"):
        load_dataset(tmp_path, split=split)
    assert len(load_dataset(tmp_path, strict=True)) == 1


def test_a_word_decides_before_a_part_of_one(write_coco, tmp_path):
    for name in ("evaluation_train", "instances_val2017"):
        write_coco([annotation(1)], folder=name).rename(tmp_path / f"{name}.json")
    assert "evaluation_train" in load_dataset(tmp_path, split="train", strict=True).samples[0].path
    assert "val2017" in load_dataset(tmp_path, split="val", strict=True).samples[0].path
