"""A file of matterport's becomes a model that gives matterport's answers; what it cannot say is asked for or told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from references import matterport as reference

from maskrcnn.api import MaskRCNN
from maskrcnn.weights.checkpoint import put
from maskrcnn.weights.files.read import read_tensors
from maskrcnn.weights.projects import matterport
from maskrcnn.weights.projects import matterport_layouts as layouts

# What a user has to say: the file does not hold it.
GIVEN = {name: value for name, value in reference.NUMBERS.items() if name in matterport.DEFAULTS}
SHAPES = {"as large as the frame": (192, 192), "tall and smaller": (90, 60), "wide": (71, 263), "larger": (307, 239)}


def image(height: int, width: int) -> np.ndarray:
    """Coloured clouds with noise: no two places look alike.

    Of like pixels the mean is a whole number, or by the last bit one less, as which it would then count.
    """
    rng = np.random.default_rng(height)
    clouds = reference.resize(rng.integers(0, 256, (8, 8, 3)).astype(float), (height, width))
    return (0.5 * clouds + rng.uniform(0, 120, (height, width, 3))).astype(np.uint8)


def write_h5(path: Path, weights: dict[str, np.ndarray], *, as_bytes: bool = True, under: str | None = None) -> Path:
    """A file as Keras 2 lays it out: a group a layer, with the weights in it again under the layer's name.

    Args:
        as_bytes: names are bytes, as h5py 2 left them, or text.
        under: the group of the weights in a file of a whole model.
    """

    def words(names: list[str]) -> np.ndarray | list[str]:
        return np.array([name.encode() for name in names]) if as_bytes else names

    groups: dict[str, list[str]] = {"input_image": [], "zero_padding2d_1": []}
    for name in weights:
        layer = name.partition("/")[0]
        groups.setdefault("rpn_model" if layer.startswith("rpn_") else layer, []).append(name)
    with h5py.File(path, "w") as file:
        root = file if under is None else file.create_group(under)
        root.attrs["layer_names"] = words(list(groups))
        for layer, names in groups.items():
            group = root.create_group(layer)
            group.attrs["weight_names"] = words([f"{name}:0" for name in names])
            for name in names:
                group.create_dataset(f"{name}:0", data=weights[name])
    return path


@pytest.fixture(scope="module")
def network() -> MaskRCNN:
    return MaskRCNN(matterport.read(reference.random_weights(reference.NUMBERS), config=GIVEN).config)


@pytest.mark.backend
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_model_from_the_file_answers_as_matterport(network, tmp_path, shape):
    model = reference.calibrated(image(*shape))
    path = write_h5(tmp_path / "mask_rcnn.h5", model.weights)
    report = put(matterport.read(read_tensors(path).tensors, config=GIVEN), network)
    assert not report.remade and not report.unused
    expected, found = model.detect(image(*shape)), network.detect(image(*shape))[0]
    assert len(expected["scores"]) > 30
    assert len(np.unique(found.labels)) == 5
    theirs = {(*box, label): row for row, (box, label) in enumerate(zip(expected["rois"], expected["class_ids"]))}
    ours = {(*box, label): row for row, (box, label) in enumerate(zip(found.boxes[:, [1, 0, 3, 2]], found.labels + 1))}
    # The reference counts in float64: NMS at an IoU of 0.3 but for rounding may fall the other way, and a side at half a pixel.
    assert len(theirs.keys() ^ ours.keys()) <= 2
    rows, ours_rows = np.array([(theirs[key], ours[key]) for key in theirs.keys() & ours.keys()]).T
    np.testing.assert_allclose(found.scores[ours_rows], expected["scores"][rows], atol=1e-4)
    masks, expected_masks = found.masks[ours_rows], expected["masks"].transpose(2, 0, 1)[rows]
    assert expected_masks.sum() > 1000
    different = (masks != expected_masks).sum(axis=(1, 2))
    assert different.max() <= 8  # pixels whose probability is 0.5 but for rounding; 3 seen, how many depends on the processor
    assert different.sum() < 1e-3 * expected_masks.sum()


# ── the file ──


@pytest.fixture(scope="module")
def tensors() -> dict[str, np.ndarray]:
    return reference.random_weights(reference.NUMBERS)


@pytest.mark.parametrize(("as_bytes", "under"), [(True, None), (False, None), (False, "model_weights")])
def test_every_layout_of_the_file_reads_alike(tensors, tmp_path, as_bytes, under):
    path = write_h5(tmp_path / "file.h5", tensors, as_bytes=as_bytes, under=under)
    read = read_tensors(path).tensors
    assert matterport.recognise(read)
    found, expected = (matterport.read(each, config=GIVEN).arrays for each in (read, tensors))
    assert found.keys() == expected.keys()
    assert all((found[name] == expected[name]).all() for name in expected)


def test_other_files_are_not_recognised(tensors):
    assert matterport.recognise(tensors)
    assert not matterport.recognise({name: tensors[name] for name in tensors if not name.startswith("mrcnn_")})
    assert not matterport.recognise({"conv1_conv/kernel": tensors["conv1/kernel"]})


def test_a_file_without_biases_before_norms_has_zeros_there():
    bare = reference.random_weights(reference.NUMBERS, biases=False)
    whole = reference.random_weights(reference.NUMBERS)
    zeros = bare | {name: np.zeros_like(values) for name, values in whole.items() if name not in bare}
    found, expected = matterport.read(bare, config=GIVEN), matterport.read(zeros, config=GIVEN)
    assert len(zeros) > len(bare)
    assert found.arrays.keys() == expected.arrays.keys()
    assert all((found.arrays[name] == expected.arrays[name]).all() for name in found.arrays)
    assert found.unused == ()


def test_resnet101_is_told_by_its_blocks():
    weights = reference.random_weights({**reference.NUMBERS, "BACKBONE": "resnet101"})
    checkpoint = matterport.read(weights, config=GIVEN)
    assert checkpoint.config.backbone.name == "resnet101"
    assert checkpoint.names["conv4_block23_3_conv/kernel"] == "res4w_branch2c/kernel"


def test_tensors_without_a_place_are_told(tensors):
    assert matterport.read({**tensors, "anchors/Variable": np.zeros(4)}, config=GIVEN).unused == ("anchors/Variable",)


@pytest.mark.parametrize(
    "name", ["bn4c_branch2b/gamma", "mrcnn_class_logits/kernel", "rpn_bbox_pred/bias", "conv1/kernel", "mrcnn_mask_bn3/beta"]
)
def test_a_missing_tensor_is_named(tensors, name):
    with pytest.raises(ValueError, match=f"'{name}'"):
        matterport.read({key: value for key, value in tensors.items() if key != name}, config=GIVEN)


def test_a_misshapen_tensor_is_named(tensors):
    with pytest.raises(ValueError, match="rpn_class_raw/kernel.*4 axes.*\\(40, 6\\)"):
        matterport.read({**tensors, "rpn_class_raw/kernel": np.zeros((40, 6))}, config=GIVEN)
    with pytest.raises(ValueError, match="images of 4 channels"):
        matterport.read({**tensors, "conv1/kernel": np.zeros((7, 7, 4, 64))}, config=GIVEN)
    with pytest.raises(ValueError, match="5 blocks in stage 4"):
        matterport.read({key: value for key, value in tensors.items() if "4f_" not in key}, config=GIVEN)


def test_layouts_are_undone():
    rng = np.random.default_rng(0)
    for layout, shape in (
        (layouts.SWAPPED, (5, 12)),
        (layouts.dense(7), (7, 7, 3, 5)),
        (layouts.less_bias(np.arange(4.0)), (4,)),
        (layouts.DENSE_1X1, (1, 1, 3, 5)),
    ):
        theirs = rng.normal(size=shape)
        np.testing.assert_allclose(layout.to_theirs(layout.to_ours(theirs)), theirs)
    for layout, shape in (
        (layouts.FOREGROUND, (5, 3)),
        (layouts.without_first(4, layouts.SWAPPED), (5, 12)),
        (layouts.MASK_CLASSES, (6, 5)),
    ):
        ours = rng.normal(size=shape)
        np.testing.assert_allclose(layout.to_ours(layout.to_theirs(ours)), ours)


# ── what the file does not say ──


def test_what_was_assumed_is_told_and_what_was_given_is_not(tensors):
    checkpoint = matterport.read(tensors)
    assert any("IMAGE_MAX_DIM is 1024" in sentence for sentence in checkpoint.assumed)
    assert any("known by number alone" in sentence for sentence in checkpoint.assumed)
    assert checkpoint.config.image.long_side == 1024
    told = matterport.read(tensors, class_names=list("abcde"), config={**matterport.DEFAULTS}).assumed
    assert told == ()


def test_the_users_config_class_gives_its_numbers(tensors):
    class UsersConfig:
        NAME = "balloon"
        IMAGE_MAX_DIM = 512
        RPN_ANCHOR_SCALES = (8, 16, 32, 64, 128)
        BBOX_STD_DEV = np.array([0.1, 0.2, 0.3, 0.4])
        DETECTION_MIN_CONFIDENCE = 0.9
        NUM_CLASSES = 1 + 5

    for config in (UsersConfig, UsersConfig()):
        found = matterport.read(tensors, config=config).config
        assert found.image.long_side == 512
        assert found.anchors.sizes == ((8.0,), (16.0,), (32.0,), (64.0,), (128.0,))
        assert found.box_head.delta_weights == pytest.approx((5.0, 10.0, 2.5, 10 / 3))
        assert found.detect.score == 0.9


def test_81_classes_are_cocos_in_the_order_of_its_ids():
    weights = reference.random_weights({**reference.NUMBERS, "NUM_CLASSES": 81})
    categories = matterport.read(weights, config=GIVEN).config.categories
    assert [(category.id, category.name) for category in (categories[0], categories[11], categories[79])] == [
        (1, "person"),
        (13, "stop sign"),
        (90, "toothbrush"),
    ]


def test_class_names_may_begin_with_the_background(tensors):
    for names in (["BG", *"abcde"], list("abcde")):
        assert matterport.read(tensors, class_names=names, config=GIVEN).config.class_names == list("abcde")
    with pytest.raises(ValueError, match="5 classes.*4 names"):
        matterport.read(tensors, class_names=list("abcd"), config=GIVEN)


def test_modes_without_a_square_keep_large_images_as_they_are(tensors):
    for mode, short in (("pad64", 128), ("none", 1)):
        image = matterport.read(tensors, config={**GIVEN, "IMAGE_RESIZE_MODE": mode}).config.image
        assert (image.frame, image.stride, image.short_side) == ("tight", 64, short)
        assert image.long_side >= 2**16


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"RPN_ANCHOR_RATIOS": [1]}, "3 anchors a place.*\\[1.0\\] are 1; give the 3"),
        ({"RPN_ANCHOR_SCALES": [32, 64]}, "one number for each of the five levels"),
        ({"RPN_ANCHOR_STRIDE": 2}, "RPN_ANCHOR_STRIDE=2"),
        ({"USE_RPN_ROIS": False}, "USE_RPN_ROIS=False"),
        ({"BACKBONE_STRIDES": [4, 8, 16, 32, 128]}, "BACKBONE_STRIDES"),
        ({"IMAGE_RESIZE_MODE": "crop"}, "'crop'"),
        ({"IMAGE_MAX_DIM": 1000}, "multiple of 64.*1000"),
        ({"MASK_POOL_SIZE": 10}, "14 or 28; received 10"),
        ({"NUM_CLASSES": 81}, "NUM_CLASSES is 81.*6 by the file"),
        ({"BACKBONE": "resnet101"}, "'resnet101'.*'resnet50'"),
        ({"IMAGE_MAX_DIMENSION": 512}, "nothing called IMAGE_MAX_DIMENSION"),
    ],
)
def test_numbers_that_cannot_be_followed_are_refused(tensors, changes: dict[str, Any], says: str):
    with pytest.raises(ValueError, match=says):
        matterport.read(tensors, config={**GIVEN, **changes})


def test_lists_as_numbers_are_taken_as_tuples_are(tensors):
    config = {**GIVEN, "BACKBONE_STRIDES": [4, 8, 16, 32, 64], "MEAN_PIXEL": np.array(GIVEN["MEAN_PIXEL"])}
    assert matterport.read(tensors, config=config).changes == matterport.read(tensors, config=GIVEN).changes
