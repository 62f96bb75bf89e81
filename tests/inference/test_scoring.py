"""Laws of evaluating a model."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from small_data import annotation, write_image

from maskrcnn.config.fields import replace
from maskrcnn.config.model import Category, ModelConfig
from maskrcnn.data.dataset import load_dataset
from maskrcnn.geometry import rle
from maskrcnn.inference.scoring import best_score_threshold, evaluate, write_scores
from maskrcnn.reports.tables import print_scores
from maskrcnn.structures import Detections, PaddedDetections, Sample
from maskrcnn.training.callbacks import CocoEvaluation

SIZE = (40, 50)


def sample_of(image_id: int, image: np.ndarray | None = None) -> Sample:
    box = (10, 10, 20 + image_id, 30)
    mask = np.zeros(SIZE, bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return Sample(
        image_id=image_id,
        file_name=f"{image_id}.png",
        path=f"folder/{image_id}.png",
        size=SIZE,
        boxes=np.array([box], np.float32),
        labels=np.zeros(1, np.int32),
        crowd=np.zeros(1, bool),
        rles=[rle.mask_to_rle(mask)],
        areas=np.array([mask.sum()], np.float32),
        annotation_ids=np.array([image_id]),
        image=image,
    )


def data(samples: Sequence[Sample], names: Sequence[str] = ("date",)) -> Any:
    categories = tuple(Category(k + 1, name) for k, name in enumerate(names))
    return SimpleNamespace(samples=list(samples), categories=categories)


class Oracle:
    """A model that knows the answer of each path."""

    def __init__(self, samples: Sequence[Sample], *, names: Sequence[str] = ("date",), max_detections: int = 100) -> None:
        config = ModelConfig(categories=tuple(Category(k, name) for k, name in enumerate(names)))
        self.config = replace(config, detect__max_detections=max_detections, detect__score=0.07)
        self.truth = {sample.path: sample for sample in samples}
        self.calls: list[tuple[list[Any], int, float]] = []

    def detect(self, images: list[Any], *, batch_size: int, score: float) -> list[Detections]:
        self.calls.append((images, batch_size, score))
        return [self.answer(self.truth[image]) for image in images]

    def answer(self, sample: Sample) -> Detections:
        num = len(sample.boxes)
        small, scores = np.ones((num, 28, 28), np.float32), np.ones(num, np.float32)
        return Detections(sample.boxes, scores, sample.labels, small, sample.size, self.config.class_names, sample.path)


class Unsure(Oracle):
    """It also finds something in a corner, with a score of 0.52."""

    def answer(self, sample: Sample) -> Detections:
        right = super().answer(sample)
        boxes = np.concatenate([right.boxes, np.array([[0, 0, 5, 5]], np.float32)])
        scores, labels = np.array([0.9, 0.52], np.float32), np.zeros(2, np.int32)
        return Detections(boxes, scores, labels, np.ones((2, 28, 28), np.float32), sample.size, right.class_names, sample.path)


def test_every_image_goes_through_the_model_once_in_batches() -> None:
    samples = [sample_of(k) for k in range(5)]
    model, steps = Oracle(samples), []
    scores = evaluate(model, data(samples), batch_size=2, progress=steps.append)
    assert [len(images) for images, _, _ in model.calls] == steps == [2, 2, 1]
    assert [image for images, _, _ in model.calls for image in images] == [sample.path for sample in samples]
    assert {(batch_size, score) for _, batch_size, score in model.calls} == {(2, 0.07)}
    assert [scores["mask"]["AP"], scores["box"]["AP"]] == pytest.approx([1.0, 1.0])


def test_a_model_is_given_batch_after_batch_and_scored_meanwhile() -> None:
    samples = [sample_of(k, np.full((*SIZE, 3), k, np.uint8)) for k in range(1, 6)]
    oracle = Oracle(samples)
    by_value = {sample.image_id: sample for sample in samples}
    threads: set[str] = set()

    def predict_on_batch(batch: dict[str, np.ndarray]) -> PaddedDetections:
        threads.add(threading.current_thread().name)
        known = [by_value.get(int(value), samples[0]) for value in batch["images"][:, 0, 0, 0]]
        ones = np.ones((len(known), 1))
        masks = np.ones((len(known), 1, 28, 28), np.float32)
        return PaddedDetections(np.stack([sample.boxes for sample in known]), ones, ones.astype(int) - 1, masks, ones > 0)

    model = SimpleNamespace(config=replace(oracle.config, image__short_side=40, image__long_side=64))
    model.predict_on_batch, steps = predict_on_batch, list[int]()
    scores = evaluate(model, data(samples), batch_size=2, progress=steps.append, biology=True)
    assert steps == [2, 2, 1] and threads == {threading.current_thread().name}
    assert scores == evaluate(oracle_of_values(oracle, by_value), data(samples), batch_size=2, biology=True)
    assert scores["mask"]["AP"] == pytest.approx(1.0)


def oracle_of_values(oracle: Oracle, by_value: dict[int, Sample]) -> Oracle:
    oracle.detect = lambda images, **_: [oracle.answer(by_value[image[0, 0, 0]]) for image in images]  # type: ignore[method-assign]
    return oracle


def test_images_in_memory_are_not_read_again() -> None:
    image = np.zeros((*SIZE, 3), np.uint8)
    sample = sample_of(1, image)
    model = Oracle([sample])
    model.detect = lambda images, **options: [model.answer(sample)] if images[0] is image else []  # type: ignore[method-assign]
    assert evaluate(model, data([sample]))["mask"]["AP"] == pytest.approx(1.0)


def test_a_model_that_finds_more_than_100_is_scored_on_all_of_them() -> None:
    samples = [sample_of(1)]
    assert evaluate(Oracle(samples), data(samples))["max_detections"] == [1, 10, 100]
    assert evaluate(Oracle(samples, max_detections=20), data(samples))["max_detections"] == [1, 10, 100]
    scores = evaluate(Oracle(samples, max_detections=400), data(samples))
    assert scores["max_detections"] == [1, 10, 100, 400]
    assert [scores["mask"]["AR_400"], scores["mask"]["AP50"]] == pytest.approx([1.0, 1.0])


def test_no_image_has_no_score() -> None:
    assert evaluate(Oracle([]), data([]))["mask"]["AP"] is None


def test_data_may_be_a_path_and_a_model_may_not(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    images = [{"id": 1, "file_name": "a.png", "height": 20, "width": 30}]
    content = {"images": images, "annotations": [annotation(1)], "categories": [{"id": 7, "name": "date"}]}
    (tmp_path / "val.json").write_text(json.dumps(content))
    samples = load_dataset(tmp_path / "val.json").samples
    assert evaluate(Oracle(samples), str(tmp_path / "val.json"))["mask"]["AP"] == pytest.approx(1.0)
    assert CocoEvaluation(tmp_path / "val.json").dataset.samples[0].path == samples[0].path
    with pytest.raises(ValueError, match=r"needs a model, not 'run1'; open a file with maskrcnn.load_model"):
        evaluate("run1", data(samples))


def test_classes_of_other_data_are_refused() -> None:
    samples = [sample_of(1)]
    with pytest.raises(ValueError, match=r"model knows cat, dog, .*data has date"):
        evaluate(Oracle(samples, names=["cat", "dog"]), data(samples))


def test_classes_the_model_does_not_know_are_told() -> None:
    samples = [sample_of(1)]
    with pytest.warns(UserWarning, match="doesn't know fig"):
        evaluate(Oracle(samples), data(samples, names=["date", "fig"]))


def test_scores_are_printed_and_written(tmp_path: Path) -> None:
    samples = [sample_of(1)]
    with pytest.warns(UserWarning, match="fig"):
        scores = evaluate(Oracle(samples, max_detections=300), data(samples, names=["date", "fig"]))
    text = io.StringIO()
    print_scores(scores, Console(file=text, width=100))
    for word in ("AP50", "AR small", "date", "fig", "1.000", "–", "300 detections"):
        assert word in text.getvalue()
    write_scores(tmp_path / "scores.json", scores)
    assert json.loads((tmp_path / "scores.json").read_text()) == scores
    assert scores["per_class"]["fig"]["mask_AP"] is None


# ── biology ──


def test_biology_is_scored_in_the_same_pass() -> None:
    samples = [sample_of(k) for k in range(3)]
    model = Oracle(samples)
    scores = evaluate(model, data(samples), biology=True)
    assert len(model.calls) == 3
    assert scores["biology"]["score_threshold"] == 0.5
    assert [scores["biology"][name] for name in ("DSB", "PQ", "AJI")] == pytest.approx([1.0, 1.0, 1.0])
    assert {name: scores[name] for name in scores if name != "biology"} == evaluate(model, data(samples))


def test_biology_counts_from_its_threshold_up() -> None:
    samples = [sample_of(1), sample_of(2)]
    model = Unsure(samples)
    assert evaluate(model, data(samples), biology=0.55)["biology"]["AP50"] == pytest.approx(1.0)
    assert evaluate(model, data(samples), biology=True)["biology"]["AP50"] == pytest.approx(0.5)
    assert evaluate(model, data(samples), biology=0.0)["biology"]["AP50"] == pytest.approx(0.5)
    assert best_score_threshold(model, data(samples), batch_size=2) == 0.55
    assert evaluate(model, data(samples))["mask"]["AP50"] == pytest.approx(1.0)  # COCO's counts everything


def test_a_model_of_one_class_finds_what_nobody_named() -> None:
    samples = [sample_of(1)]
    unnamed = data(samples, names=["object"])
    scores = evaluate(Oracle(samples), unnamed, biology=True)
    assert [scores["mask"]["AP"], scores["biology"]["DSB"]] == pytest.approx([1.0, 1.0])
    assert list(scores["per_class"]) == list(scores["biology"]["per_class"]) == ["date"]
    with pytest.raises(ValueError, match="data has object"):
        evaluate(Oracle(samples, names=["date", "fig"]), unnamed)


def test_biology_is_printed(tmp_path: Path) -> None:
    samples = [sample_of(1)]
    with pytest.warns(UserWarning, match="fig"):
        scores = evaluate(Oracle(samples), data(samples, names=["date", "fig"]), biology=0.45)
    text = io.StringIO()
    print_scores(scores, Console(file=text, width=100))
    for words in ("from 0.45 up", "Data Science Bowl", "aggregated Jaccard", "PQ", "each class"):
        assert words in text.getvalue()
    write_scores(tmp_path / "scores.json", scores)
    assert json.loads((tmp_path / "scores.json").read_text()) == scores
