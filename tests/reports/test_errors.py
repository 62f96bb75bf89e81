"""Laws of the error report: one file, nothing from outside, the same numbers as the analysis."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pages import Elements, assert_looks_right, assert_self_contained
from random_results import CATEGORIES, RandomSet, random_set

from maskrcnn.config.model import Category
from maskrcnn.metrics.analysis import analyse
from maskrcnn.metrics.coco import evaluate_coco
from maskrcnn.metrics.rows import Evaluation
from maskrcnn.reports.errors import write_error_report
from maskrcnn.structures import Sample


def grey(sample: Sample) -> np.ndarray:
    return np.full((*sample.size, 3), 90, np.uint8)


def report_of(folder: Path, data: RandomSet, *, read: Any = grey, categories: Any = CATEGORIES) -> tuple[str, dict[str, Any]]:
    """The page and the numbers."""
    evaluation = data.evaluation()
    evaluation = Evaluation(evaluation.samples, categories, evaluation.rows, evaluation.max_detections)
    scores = evaluate_coco(data.samples, categories, [])  # of nothing: the page shows what it is given
    page = write_error_report(folder, evaluation, analyse(evaluation, resamples=5), scores, title="Model on data", read=read)
    numbers = json.loads((folder / "report.json").read_text(), parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
    return page.read_text(), numbers


def test_the_page_asks_for_nothing_from_outside(tmp_path: Path) -> None:
    page, _ = report_of(tmp_path / "report", random_set(0))
    assert_self_contained(page, images=11)
    assert {path.name for path in (tmp_path / "report").iterdir()} == {"report.html", "report.json"}


@pytest.mark.browser
def test_the_page_looks_right_in_a_browser(tmp_path: Path) -> None:
    report_of(tmp_path, random_set(0))
    assert_looks_right(tmp_path / "report.html")


def test_every_entry_of_the_contents_has_its_section(tmp_path: Path) -> None:
    page, _ = report_of(tmp_path, random_set(0))
    elements = Elements(page)
    wanted = [attributes["href"][1:] for _, attributes in elements.all if (attributes.get("href") or "").startswith("#")]
    ids = [attributes["id"] for _, attributes in elements.all if "id" in attributes]
    assert len(wanted) >= 11
    assert set(wanted) <= set(ids)
    assert len(set(ids)) == len(ids)
    images = [attributes for tag, attributes in elements.all if tag == "img"]
    assert images
    assert all(attributes["alt"] for attributes in images)
    scrolling = [attributes for _, attributes in elements.all if "card" in (attributes.get("class") or "").split()]
    assert any(attributes.get("tabindex") == "0" and attributes.get("aria-label") for attributes in scrolling)


def test_the_numbers_are_those_of_the_analysis(tmp_path: Path) -> None:
    data = random_set(3)
    _, numbers = report_of(tmp_path, data)
    expected = json.loads(json.dumps(analyse(data.evaluation(), resamples=5)))
    assert {name: numbers[name] for name in expected} == expected
    assert numbers["title"] == "Model on data"


def test_names_are_text_not_html(tmp_path: Path) -> None:
    data = random_set(0)
    samples = [sample.replace(file_name=f"<script>{sample.image_id}</script>.png") for sample in data.samples]
    nasty = tuple(Category(category.id, f"<img src=x>{category.name}&amp;") for category in CATEGORIES)
    page, numbers = report_of(tmp_path, data._replace(samples=samples), categories=nasty)
    assert not {"script"} & {tag for tag, _ in Elements(page).all}
    assert "<img src=x>" not in page
    assert "&lt;img src=x&gt;date&amp;amp;" in page
    assert numbers["confusion"]["classes"][0] == "<img src=x>date&amp;"


def test_an_image_that_is_gone_is_black(tmp_path: Path) -> None:
    def gone(sample: Sample) -> np.ndarray:
        raise FileNotFoundError(sample.path)

    page, _ = report_of(tmp_path, random_set(0), read=gone)
    assert page.count("<img ") > 10


def test_data_without_objects_and_results_without_errors_have_a_report(tmp_path: Path) -> None:
    data = random_set(0)
    page, _ = report_of(tmp_path / "none", data._replace(samples=[data.samples[1]], results=[]))
    assert not Elements(page).open
    perfect = [
        {
            "image_id": sample.image_id,
            "category_id": CATEGORIES[label].id,
            "score": 0.9,
            "segmentation": {**rle, "counts": rle["counts"].decode()},
        }
        for sample in data.samples
        for label, rle, crowd in zip(sample.labels.tolist(), sample.rles, sample.crowd)
        if not crowd
    ]
    page, numbers = report_of(tmp_path / "all", data._replace(results=perfect))
    assert numbers["missed"] == numbers["false_positives"] == []
    assert 'id="wrong"' not in page
    assert not Elements(page).open
