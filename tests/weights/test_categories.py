"""Labels of published weights mean what their publishers say."""

import json
from pathlib import Path

import pytest

from maskrcnn.config.model import Category
from maskrcnn.weights.categories import COCO, COCO_WITH_GAPS, categories_of

GOLDEN = Path(__file__).parents[1] / "golden" / "torchvision_names.json"


def test_rows_of_coco_are_those_of_torchvision():
    background, *names = json.loads(GOLDEN.read_text())["classes"]
    assert background == "__background__" and len(COCO_WITH_GAPS) == 90 and len(COCO) == 80
    for number, (category, name) in enumerate(zip(COCO_WITH_GAPS, names, strict=True), start=1):
        assert category == Category(number, f"unused {number}" if name == "N/A" else name)
        assert (category in COCO) == (name != "N/A")


def test_classes_are_the_callers_else_the_publishers_else_numbers():
    published = {80: COCO}
    assert categories_of(80, published=published) == COCO
    assert categories_of(2, ["cat", Category(7, "dog")]) == (Category(1, "cat"), Category(7, "dog"))
    assert [category.name for category in categories_of(2, published=published)] == ["class 1", "class 2"]
    with pytest.raises(ValueError, match="knows 80 classes, background not counted, and 1 names were given"):
        categories_of(80, ["cat"], published=published)
