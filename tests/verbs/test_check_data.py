"""A data set's check: every kind of fault is found, told, and put right in a copy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faulty_data import scene, square, write_faulty, write_set

from maskrcnn.config.model import Category
from maskrcnn.data.dataset import Dataset, load_dataset
from maskrcnn.doctor.findings import REPAIRED, Checkup
from maskrcnn.doctor.labels import suspects
from maskrcnn.metrics.rows import Evaluation, collect_rows
from maskrcnn.verbs.check_data import check_data, write_repaired


@pytest.fixture
def faulty(tmp_path: Path) -> tuple[Path, Path]:
    return write_faulty(tmp_path / "data")


def told(checkup: Checkup) -> dict[str, list[list[str]]]:
    """The kinds, and of each finding the files."""
    return {
        kind: [[checkup.place_of(where)["file_name"] for where in finding.where] for finding in found]
        for kind, found in checkup.kinds().items()
    }


def test_every_fault_is_found(faulty: tuple[Path, Path]) -> None:
    looked: list[int] = []
    checkup = check_data(*faulty, progress=lambda: looked.append(1))
    assert len(looked) == 14
    assert told(checkup) == {
        "unreadable image": [["cut.png"]],
        "image of one color": [["black.png"]],
        "same image twice": [["twice.png", "again.png"]],
        "image in both parts": [["leaked.png", "leaked too.png"]],
        "nearly the same image in both parts": [["close.png", "close too.png"]],
        "nearly the same images": [["alike.png", "darker.png"]],
        "object may be drawn twice": [["good.png"]],
        "two classes for one object": [["odd.png"]],
        "object of the whole image": [["alike.png"]],
        "object of hardly a pixel": [["darker.png"]],
        "class in one part only": [[]],
        "class names that may mean one": [[]],
        "image without objects": [["empty.png"]],
        "class without objects": [[]],
        "channels vary": [["empty.png"]],
        "sizes vary": [[]],
        "box contradicts its mask": [["leaked.png"]],
    }
    levels = [finding.level for finding in checkup.findings if finding.remedy != REPAIRED]
    assert levels == sorted(levels, key=["fault", "warning", "note"].index)
    assert checkup.findings[-1].remedy == REPAIRED


def test_findings_name_the_objects(faulty: tuple[Path, Path]) -> None:
    checkup = check_data(faulty[0])
    kinds = checkup.kinds()
    (finding,) = kinds["two classes for one object"]
    place = checkup.place_of(finding.where[0])
    assert place["annotation_ids"] == [22, 23] and place["boxes"][0] == [5, 5, 45, 35]
    assert finding.message == "cat and dog overlap with IoU 0.94"
    assert checkup.place_of(kinds["box contradicts its mask"][0].where[0])["annotation_ids"] == [26]
    assert not {"image in both parts", "class in one part only"} & set(kinds)


def test_all_of_it_is_json(faulty: tuple[Path, Path]) -> None:
    numbers = json.loads(json.dumps(check_data(*faulty).as_json(), allow_nan=False))
    assert numbers["parts"]["train"]["images"] == 11
    assert numbers["parts"]["val"]["classes"]["cat"] == {"objects": 3, "images": 3}
    assert numbers["counts"]["same image twice"] == 1
    assert sum(numbers["counts"].values()) == len(numbers["findings"])
    twice = next(finding for finding in numbers["findings"] if finding["kind"] == "same image twice")
    assert [where["file_name"] for where in twice["where"]] == ["twice.png", "again.png"]


def test_good_data_has_no_findings(tmp_path: Path) -> None:
    path = write_set(tmp_path, "train", {f"{k}.png": scene(k) for k in range(4)}, [square(k, k) for k in range(1, 5)])
    data = load_dataset(path)
    good = Dataset(data.samples, data.categories[:1], name="good")
    assert check_data(good).findings == []


def test_the_copy_is_repaired_and_the_original_stays(faulty: tuple[Path, Path], tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()}
    checkup = check_data(*faulty)
    written = write_repaired(checkup, tmp_path / "fixed")
    assert written.left_out == {"train": 5, "val": 0}
    train, val = (load_dataset(tmp_path / "fixed", split=name, strict=True) for name in ("train", "val"))
    files = [sample.file_name for sample in train.samples]
    assert files == ["good.png", "again.png", "alike.png", "darker.png", "empty.png", "odd.png"]  # the fuller of the two
    assert len(val) == 3
    again = check_data(train, val)
    assert again.of_level("fault") == []
    assert "nearly the same images" in again.kinds()  # a person's to decide
    assert {path: path.read_bytes() for path in before} == before


def test_one_part_is_repaired_in_the_folder_itself(faulty: tuple[Path, Path], tmp_path: Path) -> None:
    write_repaired(check_data(faulty[0]), tmp_path / "fixed", to="labelme", images="link")
    names = {sample.file_name for sample in load_dataset(tmp_path / "fixed", strict=True).samples}
    assert {"leaked.png", "close.png"} < names and not {"black.png", "cut.png", "twice.png"} & names


def test_nothing_left_is_an_error(tmp_path: Path) -> None:
    path = write_set(tmp_path, "train", {"a.png": np.zeros((20, 30, 3), np.uint8)}, [square(1, 1, box=[2, 2, 9, 9])])
    with pytest.raises(ValueError, match="No image of train is left"):
        write_repaired(check_data(path), tmp_path / "fixed")
    assert not (tmp_path / "fixed").exists()


def test_what_the_model_contradicts_is_told(tmp_path: Path) -> None:
    """A cat called dog, a cat that nobody drew, and a cat that is right."""
    images = {f"{k}.png": scene(k) for k in range(3)}
    path = write_set(tmp_path, "train", images, [square(1, 1), square(2, 2, category=2), square(3, 3)])
    data = load_dataset(path)
    cat = data.categories[0].id

    def result(image: int, box: list[float], score: float) -> dict[str, Any]:
        return {
            "image_id": image,
            "category_id": cat,
            "score": score,
            "segmentation": square(9, image, box=box)["segmentation"],
        }

    results = [result(1, [10, 12, 40, 30], 0.95), result(2, [10, 12, 40, 30], 0.9), result(3, [10, 12, 40, 30], 0.97)]
    results += [result(3, [70, 60, 30, 20], 0.96)]
    evaluation = Evaluation(data.samples, data.categories, collect_rows(data.samples, data.categories, results))
    found = list(suspects("train", evaluation, [10, 11, 12]))
    assert [(finding.kind, finding.where[0].place, finding.where[0].objects) for finding in found] == [
        ("object may be missing", 12, ()),
        ("class may be wrong", 11, (0,)),
    ]
    assert found[1].message == "annotated as dog, the model sees cat with score 0.90"
    assert found[0].where[0].rle is not None


def test_the_model_sees_every_image_that_can_be_read(faulty: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def evaluate(model: Any, data: Dataset, progress: Callable[[int], None]) -> Any:
        seen.append(len(data))
        progress(1)
        rows = collect_rows(data.samples, data.categories, [])
        return type("Scores", (), {"evaluation": Evaluation(data.samples, data.categories, rows)})

    monkeypatch.setattr("maskrcnn.verbs.evaluate.evaluate", evaluate)
    checkup = check_data(*faulty, model=object())  # type: ignore[arg-type]
    assert seen == [10, 3]
    assert len(checkup.findings) == len(check_data(*faulty).findings)
    assert all(isinstance(category, Category) for category in checkup.parts["val"].categories)
