"""torchvision's Mask R-CNN in, every weight once, and back."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from weights import layout_files
from weights.layout_files import R50, fill, narrow, torchvision_of_2019, zeros

from maskrcnn.config import fields
from maskrcnn.model.mask_rcnn import Network
from maskrcnn.weights.categories import COCO_PERSON, COCO_WITH_GAPS
from maskrcnn.weights.checkpoint import put
from maskrcnn.weights.files.pth import write_pth
from maskrcnn.weights.projects import torchvision

GOLDEN = Path(__file__).parents[2] / "golden" / "torchvision_names.json"
NAMES = torchvision.NAMES
STEM_COUNTER = "backbone.body.bn1.num_batches_tracked"


def small(*, v2: bool = False, live: bool = False, seed: int = 0, **sizes) -> dict[str, np.ndarray]:
    return fill(layout_files.torchvision(narrow(**sizes), v2=v2, live=live), seed)


@pytest.mark.parametrize(
    ("kind", "options"), [("v1", {}), ("v1 live", {"live": True}), ("v2", {"v2": True})], ids=["v1", "v1 live", "v2"]
)
def test_files_of_the_tests_have_the_names_and_shapes_of_torchvision(kind, options):
    golden = {name: tuple(shape) for name, shape in json.loads(GOLDEN.read_text())[kind].items()}
    assert layout_files.torchvision(R50, num_classes=90, **options) == golden


@pytest.mark.parametrize("v2", [False, True], ids=["v1", "v2"])
def test_published_file_fills_every_weight_once_and_leaves_nothing(v2):
    tensors = zeros(layout_files.torchvision(R50, v2=v2, num_classes=90))
    checkpoint = torchvision.read(tensors)
    report = put(checkpoint, Network(checkpoint.config))
    assert (report.remade, report.unused, checkpoint.assumed) == ((), (), ())
    named = [name for name in tensors if not name.endswith("num_batches_tracked")]
    assert sorted(checkpoint.names.values()) == sorted(named)
    assert checkpoint.categories == COCO_WITH_GAPS
    assert checkpoint.source == f"torchvision v{1 + v2}"


def test_published_v1_has_frozen_norms_of_epsilon_0_and_v2_live_ones():
    v1, v2 = (torchvision.read(zeros(layout_files.torchvision(R50, v2=v2, num_classes=90))).config for v2 in (False, True))
    assert (v1.backbone.epsilon, v1.backbone.norm, v1.fpn.norm, v1.rpn.num_convs, v1.box_head.kind) == (
        *(0.0, "frozen", "none", 1),
        "2fc",
    )
    assert (v2.backbone.epsilon, v2.backbone.norm, v2.fpn.norm, v2.rpn.num_convs, v2.box_head.kind) == (
        *(1e-5, "live", "live", 2),
        "4conv1fc",
    )
    assert (v2.box_head.norm, v2.mask_head.norm) == ("live", "live")


def test_norms_that_counted_batches_are_live_of_epsilon_1e_5():
    config = torchvision.read(small(live=True)).config
    assert (config.backbone.norm, config.backbone.epsilon, config.backbone.frozen_stages) == ("live", 1e-5, 0)


def test_epsilon_of_a_users_frozen_norms_is_said_to_be_assumed():
    checkpoint = torchvision.read(small())
    assert checkpoint.config.backbone.epsilon == 0.0 and "--set backbone.epsilon=1e-5" in checkpoint.assumed[0]


def test_frozen_norms_of_resnet101_have_torch_epsilon():
    assert torchvision.read(small(blocks=(3, 4, 23, 3))).config.backbone.epsilon == 1e-5


def test_names_of_2019_give_the_same_weights():
    tensors = small()
    old = {torchvision_of_2019(name): tensor for name, tensor in tensors.items()}
    assert len(set(old) - set(tensors)) == 16 + 2 + 8
    new, checkpoint = torchvision.read(tensors), torchvision.read(old)
    assert checkpoint.changes == new.changes and checkpoint.unused == ()
    assert checkpoint.names["rpn/conv/kernel"] == "rpn.head.conv.weight"
    for path, array in new.arrays.items():
        np.testing.assert_array_equal(checkpoint.arrays[path], array)


def test_model_within_a_file_is_found_and_the_rest_is_unused():
    tensors = {f"ema.model.{name}": tensor for name, tensor in small().items()} | {"steps": np.zeros(3, np.float32)}
    checkpoint = torchvision.read(tensors)
    assert torchvision.recognise(tensors) and checkpoint.unused == ("steps",)
    assert checkpoint.names["conv1_conv/kernel"] == "ema.model.backbone.body.conv1.weight"


def test_values_arrive_where_they_belong():
    tensors = small(num_classes=3)
    arrays = torchvision.read(tensors).arrays
    np.testing.assert_array_equal(arrays["box_head/classes/bias"], tensors["roi_heads.box_predictor.cls_score.bias"])
    np.testing.assert_array_equal(arrays["box_head/deltas/kernel"].T, tensors["roi_heads.box_predictor.bbox_pred.weight"][4:])
    np.testing.assert_array_equal(
        arrays["mask_head/class_kernel"], tensors["roi_heads.mask_predictor.mask_fcn_logits.weight"][1:, :, 0, 0]
    )
    np.testing.assert_array_equal(
        arrays["conv3_block2_1_bn/moving_variance"], tensors["backbone.body.layer2.1.bn1.running_var"]
    )
    np.testing.assert_array_equal(
        arrays["fpn/lateral5/kernel"][0, 0].T, tensors["backbone.fpn.inner_blocks.3.0.weight"][..., 0, 0]
    )


def test_class_names_are_taken_and_must_be_as_many_as_classes():
    assert torchvision.read(small(), class_names=["a", "b", "c"]).config.class_names == ["a", "b", "c"]
    with pytest.raises(ValueError, match="knows 3 classes, background not counted, and 2 names were given"):
        torchvision.read(small(), class_names=["a", "b"])


@pytest.mark.parametrize(
    "name",
    ["backbone.body.layer3.5.bn3.running_var", "roi_heads.box_head.fc7.bias", "roi_heads.mask_predictor.conv5_mask.weight"],
)
def test_missing_tensor_is_named(name):
    tensors = small()
    del tensors[name]
    with pytest.raises(ValueError, match=f"no tensor '{name}'"):
        torchvision.read(tensors)


def test_value_that_is_not_finite_is_named():
    tensors = small()
    tensors["backbone.fpn.layer_blocks.2.0.bias"][0] = np.nan
    with pytest.raises(ValueError, match=r"'backbone.fpn.layer_blocks.2.0.bias' holds values that are not finite"):
        torchvision.read(tensors)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("roi_heads.box_predictor.bbox_pred.weight", (12, 10), r"'roi_heads.box_predictor.bbox_pred.weight'.* needs 16 rows"),
        ("roi_heads.mask_predictor.mask_fcn_logits.weight", (3, 6, 1, 1), "mask_fcn_logits.weight'.* needs 4 rows"),
        ("backbone.body.layer2.0.bn2.bias", (8, 1), r"'backbone.body.layer2.0.bn2.bias' has shape \(8, 1\)"),
        ("rpn.head.cls_logits.weight", (3,), r"'rpn.head.cls_logits.weight' has shape \(3,\)"),
    ],
)
def test_tensor_of_a_wrong_shape_is_named(name, shape, message):
    tensors = small() | {name: np.zeros(shape, np.float32)}
    with pytest.raises(ValueError, match=message) as raised:
        torchvision.read(tensors)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["layer1.0.conv2.conv_offset.weight", "layer2.1.se.fc1.weight", "conv1.3.weight"])
def test_tensor_that_no_plain_resnet_has_is_refused_by_name(name):
    with pytest.raises(ValueError, match=f"'backbone.body.{name}' has no place in a plain ResNet"):
        torchvision.read(small() | {f"backbone.body.{name}": np.zeros(1, np.float32)})


def test_other_depths_are_refused_with_their_blocks():
    with pytest.raises(ValueError, match=r"has \(3, 8, 36, 3\) blocks.*resnet50"):
        torchvision.read(small(blocks=(3, 8, 36, 3)))


def test_other_anchors_are_asked_for():
    tensors = small() | {"rpn.head.cls_logits.weight": np.zeros((5, 6, 1, 1), np.float32)}
    assert any("5 anchors" in sentence and "anchors__sizes" in sentence for sentence in torchvision.read(tensors).assumed)


# ── Back ──


def torchvision_without_background(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What comes back: zeros for the rows that nothing reads, and counters that begin anew."""
    tensors = {name: np.zeros_like(array) if array.dtype == np.int64 else array.copy() for name, array in tensors.items()}
    for name, rows in ((NAMES.deltas, 4), (NAMES.masks, 1)):
        tensors[f"{name}.weight"][:rows] = tensors[f"{name}.bias"][:rows] = 0
    return tensors


HEADS = {"channels": 256, "hidden": 1024, "pool": 7}  # as torchvision's constructors make them


@pytest.fixture(scope="module")
def exportable() -> dict[str, np.ndarray]:
    return small(**HEADS)


@pytest.mark.parametrize("v2", [False, True], ids=["v1", "v2"])
def test_back_undoes_in(v2):
    tensors = small(v2=v2, live=True, **HEADS)
    checkpoint = torchvision.read(tensors)
    back, expected = torchvision.to_torchvision(checkpoint.arrays, checkpoint.config), torchvision_without_background(tensors)
    assert set(back) == set(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(back[name], array)
        assert back[name].dtype == array.dtype


def normed(arrays, epsilon, x, *, conv="backbone.body.conv1", norm="backbone.body.bn1"):
    """The first convolution at one place, and its norm, in torch's layout."""
    x = np.einsum("chw,ochw->o", x, arrays[f"{conv}.weight"])
    scale = arrays[f"{norm}.weight"] / np.sqrt(arrays[f"{norm}.running_var"] + epsilon)
    return (x - arrays[f"{norm}.running_mean"]) * scale + arrays[f"{norm}.bias"]


def test_colours_biases_and_epsilons_move_without_changing_the_answer(exportable):
    checkpoint = torchvision.read(exportable)
    arrays = dict(checkpoint.arrays)
    bias = np.linspace(-1, 1, 4, dtype=np.float32)
    for path in checkpoint.arrays:
        if path.endswith("_conv/kernel"):
            arrays[path.replace("kernel", "bias")] = np.zeros(arrays[path].shape[-1], np.float32)
    arrays["conv1_conv/bias"] = bias
    config = fields.replace(checkpoint.config, backbone__conv_bias=True, backbone__epsilon=1e-1, image__channel_order="bgr")
    mean, patch = "backbone.body.bn1.running_mean", np.random.default_rng(1).normal(size=(3, 7, 7))
    expected = normed(exportable | {mean: exportable[mean] - bias}, 1e-1, patch)
    for epsilon in (1e-5, 0.0):
        back = torchvision.to_torchvision(arrays, config, epsilon=epsilon)
        np.testing.assert_allclose(normed(back, epsilon, patch[::-1]), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone__stride_in": "1x1"}, "backbone.stride_in='1x1'; its own is '3x3'"),
        ({"backbone__name": "mobilenet_v2"}, "backbone.name='mobilenet_v2'"),
        ({"roi_align__aligned": True}, "roi_align.aligned=True"),
        ({"fpn__norm": "group"}, "fpn.norm='group'; its own is 'live'"),
        ({"box_head__kind": "4conv1fc"}, "box_head.kind='4conv1fc'"),
        ({"mask_head__paste": "exact"}, "mask_head.paste='exact'"),
        ({"rpn__max_scale": 1e6}, "rpn.max_scale=1000000.0"),
    ],
)
def test_field_that_torchvision_cannot_have_is_named(exportable, changes, message):
    checkpoint = torchvision.read(exportable)
    with pytest.raises(ValueError, match=f"torchvision's Mask R-CNN cannot have {message}"):
        torchvision.to_torchvision(checkpoint.arrays, fields.replace(checkpoint.config, **changes))


def test_sizes_that_torchvision_makes_otherwise_are_named():
    checkpoint = torchvision.read(small(**HEADS | {"pool": 5}))
    with pytest.raises(ValueError, match="cannot have box_head.pool_size=5; its own is 7"):
        torchvision.to_torchvision(checkpoint.arrays, checkpoint.config)


def test_arguments_carry_what_the_weights_do_not():
    config = fields.replace(
        torchvision.read(small()).config, detect__score=0.3, image__short_side=512, image__std=(51.0, 102.0, 255.0)
    )
    arguments = torchvision.torchvision_arguments(config)
    assert (arguments["num_classes"], arguments["box_score_thresh"], arguments["min_size"]) == (4, 0.3, 512)
    assert arguments["image_std"] == pytest.approx([0.2, 0.4, 1.0])


def test_written_file_is_what_torch_loads(tmp_path):
    torch = pytest.importorskip("torch")
    tensors = small(v2=True)
    write_pth(tmp_path / "model.pth", tensors)
    loaded = torch.load(tmp_path / "model.pth", weights_only=True)
    assert list(loaded) == list(tensors)
    for name, tensor in tensors.items():
        assert loaded[name].dtype == {"f": torch.float32, "i": torch.int64}[tensor.dtype.kind]
        np.testing.assert_array_equal(loaded[name].numpy(), tensor)
    assert [path.name for path in tmp_path.iterdir()] == ["model.pth"]


def test_file_that_cannot_be_written_whole_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", fail)
    with pytest.raises(OSError, match="disk full"):
        write_pth(tmp_path / "model.pth", {"x": np.zeros(3, np.float32)})
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="'x' is float64"):
        write_pth(tmp_path / "model.pth", {"x": np.zeros(3)})


def test_every_tensor_of_keypoint_rcnn_is_read_once():
    tensors = fill(layout_files.keypoint_rcnn(narrow(), channels=4))
    checkpoint = torchvision.read(tensors)
    assert checkpoint.unused == checkpoint.assumed == ()
    assert sorted(checkpoint.names.values()) == sorted(tensors)
    assert checkpoint.categories == (COCO_PERSON,) and checkpoint.config.backbone.epsilon == 0.0
    head = checkpoint.config.keypoint_head
    assert (head.num_keypoints, head.num_convs, head.channels, checkpoint.config.mask_head.kind) == (17, 8, 4, "none")


def test_a_file_with_masks_and_keypoints_has_both():
    tensors = fill(layout_files.torchvision(narrow()) | layout_files.keypoint_rcnn(narrow(), num_keypoints=5, channels=4))
    tensors |= small()  # rows of three classes
    config = torchvision.read(tensors).config
    assert (config.keypoint_head.num_keypoints, config.mask_head.kind, config.num_classes) == (5, "fcn", 3)


def test_keypoints_are_not_written_for_torchvision():
    checkpoint = torchvision.read(fill(layout_files.keypoint_rcnn(narrow(), channels=4)))
    with pytest.raises(ValueError, match=r"cannot have mask_head.kind='none'|cannot have"):
        torchvision.to_torchvision(checkpoint.arrays, checkpoint.config)


def test_the_keypoint_file_of_the_tests_has_the_names_and_shapes_of_torchvision():
    golden = {name: tuple(shape) for name, shape in json.loads(GOLDEN.read_text())["keypoints"].items()}
    assert layout_files.keypoint_rcnn(R50) == golden
