"""Laws of evaluate and compare, as people call them."""

from __future__ import annotations

import json
import re
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from random_results import CATEGORIES, RandomSet, random_set
from typer.testing import CliRunner

import maskrcnn
from maskrcnn.cli.app import app
from maskrcnn.config.model import ModelConfig
from maskrcnn.data.dataset import Dataset
from maskrcnn.inference import scoring
from maskrcnn.metrics.analysis import analyse
from maskrcnn.metrics.lvis import evaluate_lvis
from maskrcnn.structures import Detections
from maskrcnn.verbs.evaluate import Scores, check_lvis, compare, evaluate


class Recalled:
    """A model that finds what a set of results says of each path."""

    def __init__(self, data: RandomSet) -> None:
        self.config = ModelConfig(categories=CATEGORIES)
        by_id = dict(data.results)
        self.answers = {sample.path: by_id[sample.image_id] for sample in data.samples}

    def detect(self, images: Any, *, batch_size: int, score: float) -> list[Detections]:
        return [self.answers[image] for image in images]


def dataset(data: RandomSet) -> Dataset:
    return Dataset(data.samples, CATEGORIES, name="val.json")


def rows_of(data: RandomSet) -> list[dict[str, Any]]:
    """As `predict` writes them: ids of its own, but the images' names."""
    names = {sample.image_id: sample.file_name for sample in data.samples}
    return [
        {
            "file_name": f"folder/{names[image_id]}",
            "image_id": number,
            "category_id": label + 1,
            "category_name": CATEGORIES[label].name,
            "bbox": [*box[:2], box[2] - box[0], box[3] - box[1]],
            "score": score,
            "segmentation": {**rle, "counts": rle["counts"].decode()},
        }
        for number, (image_id, found) in enumerate(data.results, start=1)
        for box, score, label, rle in zip(found.boxes.tolist(), found.scores.tolist(), found.labels.tolist(), found.rle())
    ]


def test_the_scores_are_a_dict_as_ever_and_know_their_results() -> None:
    data = random_set(2)
    scores = evaluate(Recalled(data), dataset(data), biology=True)
    assert isinstance(scores, dict)
    assert scores == scoring.evaluate(Recalled(data), dataset(data), biology=True)
    assert json.loads(json.dumps(scores)) == json.loads(json.dumps(dict(scores)))
    expected = data.evaluation()
    np.testing.assert_array_equal(scores.evaluation.rows.scores, expected.rows.scores)
    assert scores.evaluation.rows.counts == expected.rows.counts
    assert scores.best_scores() == analyse(expected, resamples=2)["best_scores"]


def lvis_json(data: RandomSet) -> dict[str, Any]:
    """The truth as LVIS's JSON, with one more image that the data lacks; every class was looked for."""
    every = [category.id for category in CATEGORIES]
    images = [{"id": sample.image_id, "height": sample.size[0], "width": sample.size[1]} for sample in data.samples]
    images.append({**images[0], "id": 10_000})
    objects = [(sample.image_id, sample, row) for sample in data.samples for row in range(len(sample.labels))]
    objects.append((10_000, *objects[0][1:]))
    annotations = [
        {
            "id": number,
            "image_id": image_id,
            "category_id": CATEGORIES[sample.labels[row]].id,
            "bbox": [*sample.boxes[row][:2].tolist(), *(sample.boxes[row][2:] - sample.boxes[row][:2]).tolist()],
            "area": float(sample.areas[row]),
            "segmentation": {**sample.rles[row], "counts": sample.rles[row]["counts"].decode()},
        }
        for number, (image_id, sample, row) in enumerate(objects, start=1)
    ]
    return {
        "images": [image | {"neg_category_ids": every, "not_exhaustive_category_ids": []} for image in images],
        "categories": [{"id": category.id, "name": category.name, "frequency": "f"} for category in CATEGORIES],
        "annotations": annotations,
    }


def test_lvis_scores_are_of_the_images_that_were_looked_at(tmp_path: Path) -> None:
    data = random_set(2)
    path, truth = tmp_path / "lvis_v1_val.json", lvis_json(data)
    path.write_text(json.dumps(truth))
    scores = evaluate(Recalled(data), dataset(data))
    found = scores.lvis(path)
    rows = list(scores.evaluation.as_json())
    assert found == evaluate_lvis({**truth, "images": truth["images"][:-1], "annotations": truth["annotations"][:-1]}, rows)
    assert found != evaluate_lvis(truth, rows) and 0 < found["mask"]["AP_frequent"] < 1


def test_lvis_scores_need_its_json(tmp_path: Path) -> None:
    answer = CliRunner().invoke(app, ["evaluate", "--model", "nuclei", "--data", str(tmp_path), "--lvis"])
    assert answer.exit_code == 2 and "LVIS's own JSON as --data" in re.sub(r"[\s│]+", " ", answer.output)
    path = tmp_path / "coco.json"
    path.write_text(json.dumps({"images": [{"id": 1}], "annotations": [], "categories": []}))
    with pytest.raises(ValueError, match="LVIS says neg_category_ids of each of its images"):
        check_lvis(path)


def test_the_report_of_scores_has_their_table_and_biologys(tmp_path: Path) -> None:
    data = random_set(2)
    scores = maskrcnn.evaluate(Recalled(data), dataset(data), biology=0.4)
    page = scores.report(tmp_path / "report")
    assert page == tmp_path / "report" / "report.html"
    numbers = json.loads((tmp_path / "report" / "report.json").read_text())
    assert numbers["scores"] == json.loads(json.dumps(dict(scores)))
    text = page.read_text()
    assert f"{scores['mask']['AP']:.3f}" in text
    assert "val.json" in text
    assert "from score 0.40 up" in text


def test_result_files_are_matched_by_their_images_names(tmp_path: Path) -> None:
    data, other = random_set(2), random_set(2)._replace(results=random_set(2).results[:3])
    for name, one in (("a.json", data), ("b.json", other)):
        (tmp_path / name).write_text(json.dumps(rows_of(one)))
    first, second = (evaluate(Recalled(data), dataset(data)) for _ in range(2))
    assert isinstance(first, Scores)
    by_files = compare(tmp_path / "a.json", tmp_path / "b.json", dataset(data), folder=tmp_path / "page", names=("A", "<B>"))
    assert by_files["first"]["AP"] == pytest.approx(first["mask"]["AP"], abs=1e-6)
    assert by_files["difference"]["AP"]["value"] < 0
    mixed = compare(second, tmp_path / "b.json")
    assert mixed["difference"]["AP"]["value"] == pytest.approx(by_files["difference"]["AP"]["value"], abs=1e-6)
    page = (tmp_path / "page" / "comparison.html").read_text()
    assert "&lt;B&gt;" in page
    assert "<B>" not in page
    assert page.count("<img ") == 2 * len(by_files["images"]) > 0
    assert not re.search(r"https?:", re.sub(r'src="[^"]*"', "", page))
    assert json.loads((tmp_path / "page" / "comparison.json").read_text())["per_class"] == by_files["per_class"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"images": []}, "no COCO result file"),
        ([{"image_id": 1}], "Result 0 .* lacks category_id, score, segmentation"),
        ([{"file_name": "x.png", "image_id": 1, "category_id": 1, "score": 1.0, "segmentation": {}}], r"x\.png"),
        ([{"image_id": -5, "category_id": 3, "score": 1.0, "segmentation": {}}], "image_id -5"),
    ],
)
def test_what_is_no_result_of_the_data_is_refused(tmp_path: Path, content: Any, message: str) -> None:
    data = random_set(0)
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        compare(tmp_path / "a.json", tmp_path / "a.json", dataset(data))


def test_files_alone_ask_for_the_ground_truth(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="third argument"):
        compare(tmp_path / "a.json", tmp_path / "b.json")


def test_the_command_compares_and_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = random_set(2)
    (tmp_path / "a.json").write_text(json.dumps(rows_of(data)))
    (tmp_path / "b.json").write_text(json.dumps(rows_of(data)[::2]))
    (tmp_path / "val.json").write_text("{}")
    monkeypatch.setattr(maskrcnn, "load_dataset", lambda path, **_: dataset(data))
    monkeypatch.setattr("maskrcnn.cli.evaluate.models_to_run", lambda *_, **__: nullcontext(Recalled(data)))
    files = [str(tmp_path / name) for name in ("a.json", "b.json", "val.json")]
    out = tmp_path / "page"
    result = CliRunner().invoke(app, ["evaluate", "--compare", *files[:2], "--data", files[2], "--report", str(out)])
    assert result.exit_code == 0, result.output
    assert "difference" in result.output
    assert (out / "comparison.html").is_file()
    result = CliRunner().invoke(app, ["evaluate", "--model", "any", "--data", files[2], "--report", str(out)])
    assert result.exit_code == 0, result.output
    assert (out / "report.html").is_file()
    result = CliRunner().invoke(app, ["evaluate", "--compare", *files[:2]])
    assert result.exit_code != 0


def test_models_that_are_compared_run_on_the_engine_that_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, asked = random_set(2), []
    for name in ("a.keras", "b.keras", "val.json"):
        (tmp_path / name).write_text("{}")
    monkeypatch.setattr(maskrcnn, "load_dataset", lambda path, **_: dataset(data))

    def to_run(path: Path, engine: str, **_: Any) -> Any:
        asked.append((path.name, engine))
        return nullcontext(Recalled(data))

    monkeypatch.setattr("maskrcnn.cli.evaluate.model_to_run", to_run)
    words = ["evaluate", "--compare", *(str(tmp_path / name) for name in ("a.keras", "b.keras"))]
    result = CliRunner().invoke(app, [*words, "--data", str(tmp_path / "val.json"), "--engine", "onnxruntime"])
    assert result.exit_code == 0, result.output
    assert asked == [("a.keras", "onnxruntime"), ("b.keras", "onnxruntime")]


def test_a_finder_needs_no_more_than_its_protocol() -> None:
    assert isinstance(Recalled(random_set(0)), scoring.Finder)
    assert not isinstance(SimpleNamespace(config=None), scoring.Finder)


def test_saved_results_have_the_truths_own_ids_and_score_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = random_set(2)
    (tmp_path / "val.json").write_text("{}")
    monkeypatch.setattr(maskrcnn, "load_dataset", lambda path, **_: dataset(data))
    monkeypatch.setattr("maskrcnn.cli.evaluate.models_to_run", lambda *_, **__: nullcontext(Recalled(data)))
    rows, scores = tmp_path / "new" / "rows.json", tmp_path / "scores.json"
    options = ["--data", str(tmp_path / "val.json"), "--save-results", str(rows), "--json", str(scores)]
    result = CliRunner().invoke(app, ["evaluate", "--model", "any", *options])
    assert result.exit_code == 0, result.output
    saved, names = json.loads(rows.read_text()), {sample.image_id: sample.file_name for sample in data.samples}
    assert len(saved) == sum(len(found) for _, found in data.results) > 0
    assert all(row["file_name"] == names[row["image_id"]] for row in saved)
    assert {row["category_id"] for row in saved} <= {category.id for category in CATEGORIES}
    without_names = [{name: value for name, value in row.items() if name != "file_name"} for row in saved]
    rows.write_text(json.dumps(without_names))  # as pycocotools sees them
    again = compare(rows, rows, dataset(data))
    assert again["first"]["AP"] == pytest.approx(json.loads(scores.read_text())["mask"]["AP"], abs=1e-6)
    assert CliRunner().invoke(app, ["evaluate", "--compare", "a", "b", *options]).exit_code != 0


def test_images_of_one_name_are_told_apart_by_their_ids(tmp_path: Path) -> None:
    data = random_set(2)
    first, *rest, second = data.samples
    twins = [first.replace(file_name="cam1/1.png"), *rest, second.replace(file_name="cam2/1.png")]
    data = data._replace(samples=twins)
    path = evaluate(Recalled(data), dataset(data)).save_results(tmp_path / "rows.json")
    rows = json.loads(path.read_text())
    assert {row["file_name"] for row in rows} >= {"cam1/1.png", "cam2/1.png"}
    assert compare(path, path, dataset(data))["difference"]["AP"]["value"] == 0
    wrong = [{**row, "image_id": second.image_id} if row["file_name"] == "cam1/1.png" else row for row in rows]
    path.write_text(json.dumps(wrong))
    with pytest.raises(ValueError, match="cam1/1.png, which is not one image"):
        compare(path, path, dataset(data))
