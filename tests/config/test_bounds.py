"""Every number of a model has bounds, and what lies outside is refused before anything is built."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, get_type_hints

import pytest

from maskrcnn.config import presets
from maskrcnn.config.bounds import BOUNDS
from maskrcnn.config.fields import replace, to_dict
from maskrcnn.config.model import Category, ModelConfig, from_dict

CONFIG = ModelConfig((Category(1, "cell"),))


def numbers_of(kind: Any) -> set[str]:
    """Fields that hold numbers, by their annotations."""
    hints = get_type_hints(kind)
    return {
        known.name
        for known in dataclasses.fields(kind)
        if hints[known.name] in (int, float) or ("tuple" in str(hints[known.name]) and "float" in str(hints[known.name]))
    }


def test_every_number_has_bounds():
    sections = {
        known.name: type(getattr(CONFIG, known.name))
        for known in dataclasses.fields(CONFIG)
        if dataclasses.is_dataclass(getattr(CONFIG, known.name))
    }
    assert len(sections) >= 9
    found = {name: numbers_of(kind) for name, kind in sections.items()}
    assert sum(map(len, found.values())) >= 55
    assert found == {name: set(BOUNDS.get(name, {})) for name in sections}


@pytest.mark.parametrize("field", [f"{section}__{name}" for section, names in BOUNDS.items() for name in names])
def test_a_number_out_of_bounds_is_refused_by_name(field):
    section, _, name = field.partition("__")
    low, high = BOUNDS[section][name]
    value = getattr(getattr(CONFIG, section), name)
    tried = [wrong for wrong in (low - 1, high + 1, math.nan) if not low <= wrong <= high]
    assert tried
    for wrong in tried:
        wrong = int(wrong) if isinstance(value, int) and math.isfinite(wrong) else wrong
        given: Any = wrong
        if isinstance(value, tuple):
            given = tuple((wrong,) * len(item) if isinstance(item, tuple) else wrong for item in value) or (wrong,)
        elif isinstance(value, int) and not isinstance(wrong, int):
            continue  # NaN is no whole number
        with pytest.raises(ValueError, match=rf"{section}\.({name}|mean)"):  # mean has one number a channel
            replace(CONFIG, **{field: given})


@pytest.mark.parametrize("change", [{"rpn": {"num_convs": 10**6}}, {"rpn": {"proposals": 0}}, {"mask_head": {"pool_size": 0}}])
def test_a_file_that_asks_for_too_much_or_nothing_is_refused(change):
    values = to_dict(CONFIG)
    for section, fields in change.items():
        values[section] |= fields
    with pytest.raises(ValueError, match=r"(num_convs|proposals|pool_size) is \d+ to \d+"):
        from_dict(values)


def test_files_of_before_that_name_a_limit_of_samples_still_open():
    values = to_dict(CONFIG)
    values["roi_align"]["max_samples"] = 4
    assert from_dict(values) == CONFIG


def test_anchors_of_no_ratio_are_refused():
    with pytest.raises(ValueError, match=r"anchors\.sizes and anchors\.ratios"):
        replace(CONFIG, anchors__ratios=())


def test_every_preset_lies_within_the_bounds():
    assert presets.PRESETS
    for name in presets.PRESETS:
        presets.preset(name, CONFIG.categories)
