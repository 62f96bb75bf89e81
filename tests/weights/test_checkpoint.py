"""Every weight is filled or said not to be; nothing is filled where something does not fit."""

import dataclasses

import numpy as np
import pytest
from small_network import small_network

from maskrcnn.weights import layouts
from maskrcnn.weights.checkpoint import Checkpoint, Report, Rule, put, translate
from maskrcnn.weights.class_rows import belongs_to_classes

OF_CLASSES = {
    "box_head/classes/kernel",
    "box_head/classes/bias",
    "box_head/deltas/kernel",
    "box_head/deltas/bias",
    "mask_head/class_kernel",
    "mask_head/class_bias",
}


@pytest.fixture(scope="module")
def network():
    return small_network()


def parts(network):
    return (network.backbone, network.fpn, network.rpn, network.box_head, network.mask_head)


def values(network) -> dict[str, np.ndarray]:
    return {weight.path: np.array(weight) for part in parts(network) for weight in part.weights}


@pytest.fixture
def checkpoint(network) -> Checkpoint:
    """Other values for every weight of the network, under names that are the paths in capitals."""
    arrays = {path: array + np.float32(1) for path, array in values(network).items()}
    return Checkpoint("tests", network.config.categories, {}, arrays, {path: path.upper() for path in arrays})


def test_translate_takes_what_the_rules_name_in_our_layout():
    kernel = np.arange(24, dtype=np.float16).reshape(2, 3, 2, 2)
    arrays, names = translate({"conv.weight": kernel, "more": kernel}, [Rule("conv.weight", "conv/kernel", layouts.CONV)])
    np.testing.assert_array_equal(arrays["conv/kernel"], kernel.transpose(2, 3, 1, 0))
    assert arrays["conv/kernel"].dtype == np.float32 and arrays["conv/kernel"].flags.c_contiguous
    assert names == {"conv/kernel": "conv.weight"}


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        ({}, "no tensor 'a', which 'b' needs"),
        ({"a": np.array([1, np.nan])}, "'a' holds values that are not finite"),
        ({"a": np.array([1, -np.inf])}, "'a' holds values that are not finite"),
        ({"a": np.zeros(3)}, r"'a' has shape \(3,\), which cannot become 'b'"),
    ],
)
def test_translate_names_a_tensor_that_cannot_be_taken_in_one_line(tensor, message):
    with pytest.raises(ValueError, match=message) as refusal:
        translate(tensor, [Rule("a", "b", layouts.CONV)])
    assert "\n" not in str(refusal.value)


def test_put_fills_every_weight(network, checkpoint):
    report = put(checkpoint, network)
    for path, array in values(network).items():
        np.testing.assert_array_equal(array, checkpoint.arrays[path])
    assert set(report.loaded) == set(checkpoint.arrays) and report.remade == report.unused == ()


@pytest.mark.parametrize("fault", ["missing", "misshapen"])
def test_put_changes_nothing_where_one_weight_does_not_fit(network, checkpoint, fault):
    before = values(network)
    last = list(before)[-1]
    if fault == "missing":
        del checkpoint.arrays[last]
        message = f"nothing for '{last}' of shape"
    else:
        checkpoint.arrays[last] = np.zeros((1, 2, 3), np.float32)
        message = rf"Tensor '{last.upper()}' has shape \(1, 2, 3\) as '{last}'; the model needs"
    with pytest.raises(ValueError, match=message):
        put(checkpoint, network)
    for path, array in values(network).items():
        np.testing.assert_array_equal(array, before[path])


def test_layers_of_other_classes_stay_as_they_are_and_are_reported_on_both_sides(network, checkpoint):
    before = values(network)
    report = put(checkpoint, network, source_classes=["of", "others"])
    after = values(network)
    assert {path for path in after if np.array_equal(after[path], before[path])} == OF_CLASSES
    assert set(report.remade) == OF_CLASSES
    assert set(report.unused) == {path.upper() for path in OF_CLASSES}
    assert not OF_CLASSES & set(report.loaded)


def test_layers_of_other_classes_need_not_be_in_the_file(network, checkpoint):
    for path in OF_CLASSES:
        del checkpoint.arrays[path]
    assert put(checkpoint, network, source_classes=["of", "others"]).unused == ()


def test_a_backbone_fills_the_backbone_alone_and_the_rest_is_reported(network, checkpoint):
    alone = dataclasses.replace(checkpoint, categories=None)
    before = values(network)
    report = put(alone, network)
    inside = {weight.path for weight in network.backbone.weights}
    assert {path for path, array in values(network).items() if not np.array_equal(array, before[path])} == inside
    assert set(report.loaded) == inside and set(report.remade) == set(before) - inside
    with pytest.raises(ValueError, match="backbone of tests alone"):
        alone.config  # noqa: B018


def test_what_has_no_place_is_reported_by_the_files_name(network, checkpoint):
    checkpoint.arrays["rpn/conv9/kernel"] = np.zeros(1, np.float32)
    checkpoint.names["rpn/conv9/kernel"] = "rpn.conv9.weight"
    report = put(dataclasses.replace(checkpoint, unused=("fc.weight",)), network)
    assert report.unused == ("rpn.conv9.weight", "fc.weight")


def test_class_layers_are_those_whose_shapes_change_with_the_classes(network):
    others = values(small_network(num_classes=5))
    changed = {path for path, array in values(network).items() if array.shape != others[path].shape}
    assert changed == OF_CLASSES == {path for path in others if belongs_to_classes(path)}


def test_the_summary_counts():
    assert Report(("a", "b"), ("c",), ()).summary() == "2 weights loaded, 1 start anew, 0 of the file not used"
