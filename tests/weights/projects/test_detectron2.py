"""detectron2's Mask R-CNN in, every weight once, with its conventions."""

import keras
import numpy as np
import pytest
from weights import layout_files
from weights.layout_files import R50, R101, X101, fill, narrow, zeros

from maskrcnn.config import presets
from maskrcnn.model.heads.point_rend import PointRendHead
from maskrcnn.model.mask_rcnn import Network
from maskrcnn.weights.categories import COCO
from maskrcnn.weights.checkpoint import put
from maskrcnn.weights.projects import detectron2

IMAGENET_STD = (58.395, 57.12, 57.375)


def small(*, lsj: bool = False, stages: int = 0, **sizes) -> dict[str, np.ndarray]:
    return fill(layout_files.detectron2(narrow(**sizes), lsj=lsj, stages=stages))


@pytest.mark.parametrize(
    ("sizes", "kind"),
    [
        pytest.param(R50, {}, id="R50"),
        pytest.param(R50, {"lsj": True}, id="R50 LSJ"),
        pytest.param(R50, {"stages": 3}, id="R50 cascade"),
        pytest.param(R101, {}, id="R101", marks=pytest.mark.slow),
        pytest.param(X101, {}, id="X101", marks=pytest.mark.slow),
    ],
)
def test_published_file_fills_every_weight_once_and_leaves_nothing(sizes, kind):
    tensors = zeros(layout_files.detectron2(sizes, **kind))
    checkpoint = detectron2.read(tensors)
    report = put(checkpoint, Network(checkpoint.config))
    assert (report.remade, report.unused) == ((), ())
    named = [name for name in tensors if not name.endswith("num_batches_tracked")]
    assert sorted(checkpoint.names.values()) == sorted(named)
    assert checkpoint.categories == COCO


def test_zoo_files_have_as_many_tensors_as_published():
    assert len(layout_files.detectron2(R50)) == 307 and len(layout_files.detectron2(R50, lsj=True)) == 432


def test_colours_and_strides_of_resnets_are_caffes_and_of_resnext_are_caffe2s():
    resnet = detectron2.read(zeros(layout_files.detectron2(R101))).config
    resnext = detectron2.read(zeros(layout_files.detectron2(X101))).config
    assert (resnet.image.channel_order, resnet.image.std, resnet.backbone.stride_in) == ("bgr", (1.0, 1.0, 1.0), "1x1")
    assert (resnext.image.channel_order, resnext.image.std, resnext.backbone.stride_in) == ("bgr", IMAGENET_STD, "3x3")
    assert (resnext.backbone.name, resnext.backbone.groups, resnext.backbone.width_per_group) == ("resnet101", 32, 8)
    assert resnet.image.mean == (123.675, 116.28, 103.53)  # red, green, blue


def test_new_baselines_have_live_norms_everywhere_and_freeze_nothing():
    config = detectron2.read(small(lsj=True)).config
    norms = [part.norm for part in (config.backbone, config.fpn, config.box_head, config.mask_head)]
    assert norms == ["live"] * 4 and config.backbone.frozen_stages == 0
    assert (config.rpn.num_convs, config.box_head.kind, config.backbone.stride_in) == (2, "4conv1fc", "1x1")


def test_zoo_has_frozen_norms_and_pools_adaptively():
    config = detectron2.read(small()).config
    assert (config.backbone.norm, config.backbone.epsilon, config.backbone.frozen_stages) == ("frozen", 1e-5, 2)
    assert (config.roi_align.sampling_ratio, config.roi_align.aligned, config.rpn.min_size) == (0, True, 1e-12)
    assert (config.rpn.box_beta, config.box_head.box_beta, config.detect.min_side) == (0.0, 0.0, 1e-12)
    assert config.detect.drop_thin == "at_the_end"


def test_group_norm_in_the_heads_is_told_from_its_lack_of_statistics():
    tensors = {name: tensor for name, tensor in small(lsj=True).items() if "fpn" not in name or "running" not in name}
    checkpoint = detectron2.read(tensors)
    assert checkpoint.config.fpn.norm == "group" and "fpn/lateral2_norm/gamma" in checkpoint.arrays
    assert "fpn/lateral2_norm/moving_mean" not in checkpoint.arrays


def test_group_norm_in_the_backbone_is_that_of_the_zoo():
    """`configs/Misc/mask_rcnn_R_50_FPN_3x_gn.yaml`: no statistics anywhere, strides in the 3×3 convolutions."""
    tensors = {
        name: tensor
        for name, tensor in fill(layout_files.detectron2(R50)).items()
        if not name.endswith(("running_mean", "running_var"))
    }
    checkpoint = detectron2.read(tensors)
    backbone = checkpoint.config.backbone
    assert (backbone.norm, backbone.stride_in, backbone.epsilon, backbone.frozen_stages) == ("group", "3x3", 1e-5, 2)
    assert checkpoint.config.image.std == (1.0, 1.0, 1.0) and "group norm" in checkpoint.assumed[0]
    network = Network(checkpoint.config)
    report = put(checkpoint, network)
    assert (report.remade, report.unused) == ((), ())
    norm = network.backbone.get_layer("conv3_block1_2_bn")
    assert isinstance(norm, keras.layers.GroupNormalization) and norm.groups == 32
    theirs = tensors["backbone.bottom_up.res3.0.conv2.norm.weight"]
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(norm.gamma), theirs)


def test_a_backbone_that_lacks_one_mean_alone_is_damaged():
    tensors = small()
    del tensors["backbone.bottom_up.res3.0.conv2.norm.running_mean"]
    with pytest.raises(ValueError, match="no tensor 'backbone.bottom_up.res3.0.conv2.norm.running_mean'"):
        detectron2.read(tensors)


def test_a_cascade_has_its_numbers_and_one_box_for_all_classes():
    tensors = small(stages=3)
    checkpoint = detectron2.read(tensors)
    config = checkpoint.config
    assert config.cascade == presets.CASCADE and config.cascade.mean == "scores"
    assert (config.box_head.class_agnostic, config.box_head.kind, config.rpn.train_proposals) == (True, "2fc", 2000)
    for ours, theirs in (("box_head", 0), ("box_head/stage2", 1), ("box_head/stage3", 2)):
        found = tensors[f"roi_heads.box_predictor.{theirs}.bbox_pred.bias"]
        np.testing.assert_array_equal(checkpoint.arrays[f"{ours}/shared_deltas/bias"], found)
        found = tensors[f"roi_heads.box_predictor.{theirs}.cls_score.bias"]
        np.testing.assert_array_equal(checkpoint.arrays[f"{ours}/classes/bias"], found[[3, 0, 1, 2]])


def test_a_cascade_of_two_stages_is_refused():
    with pytest.raises(ValueError, match="a cascade of 2 box heads; those that are read have 3"):
        detectron2.read(small(stages=2))


def test_one_box_and_one_mask_for_all_classes_are_told_from_its_rows():
    """`configs/Misc/mask_rcnn_R_50_FPN_1x_cls_agnostic.yaml`. With a single class both have the same rows and answers."""
    shared = {
        f"roi_heads.box_predictor.bbox_pred.{name}": small(num_classes=1)[f"roi_heads.box_predictor.bbox_pred.{name}"]
        for name in ("weight", "bias")
    }
    name = "roi_heads.mask_head.predictor"
    shared |= {f"{name}.{kind}": small(num_classes=1)[f"{name}.{kind}"] for kind in ("weight", "bias")}
    checkpoint = detectron2.read(small(num_classes=3) | shared)
    assert checkpoint.unused == ()
    assert checkpoint.config.mask_head.class_agnostic and checkpoint.arrays["mask_head/shared_bias"].shape == (1,)
    assert checkpoint.config.box_head.class_agnostic and checkpoint.arrays["box_head/shared_deltas/bias"].shape == (4,)
    assert not detectron2.read(small(num_classes=1)).config.box_head.class_agnostic


def test_background_goes_from_last_to_first():
    tensors = small(num_classes=3)
    arrays = detectron2.read(tensors).arrays
    theirs = tensors["roi_heads.box_predictor.cls_score.weight"]
    np.testing.assert_array_equal(arrays["box_head/classes/kernel"].T, theirs[[3, 0, 1, 2]])
    np.testing.assert_array_equal(arrays["box_head/deltas/bias"], tensors["roi_heads.box_predictor.bbox_pred.bias"])
    np.testing.assert_array_equal(arrays["mask_head/class_bias"], tensors["roi_heads.mask_head.predictor.bias"])


def test_colours_that_the_file_tells_count():
    told = {"pixel_mean": np.array([1, 2, 3.5]).reshape(3, 1, 1), "pixel_std": np.array([4, 5, 6]).reshape(3, 1, 1)}
    checkpoint = detectron2.read(small() | told)
    assert checkpoint.config.image.mean == (3.5, 2.0, 1.0) and checkpoint.config.image.std == (6.0, 5.0, 4.0)
    assert checkpoint.unused == () and detectron2.read(small()).assumed


@pytest.mark.parametrize("values", [[1, 2], [0, 1, 1], [1, np.nan, 1]])
def test_colours_that_are_none_are_refused(values):
    with pytest.raises(ValueError, match="'pixel_std' holds .*three finite numbers"):
        detectron2.read(small() | {"pixel_std": np.array(values, np.float32)})


def test_cell_anchors_of_old_files_are_ignored_and_others_reported():
    cells = {f"proposal_generator.anchor_generator.cell_anchors.{level}": np.zeros((3, 4)) for level in range(5)}
    assert detectron2.read(small() | cells | {"teacher.x": np.zeros(2)}).unused == ("teacher.x",)


def with_offsets(channels: int) -> dict[str, np.ndarray]:
    """In C3 … C5 of a narrow ResNet-50."""
    rng = np.random.default_rng(1)
    tensors = small()
    for stage, blocks in ((3, 4), (4, 6), (5, 3)):
        for block in range(blocks):
            name, width = f"backbone.bottom_up.res{stage}.{block}.conv2_offset", 4 * 2 ** (stage - 2)
            tensors[f"{name}.weight"] = rng.normal(size=(channels, width, 3, 3)).astype(np.float32)
            tensors[f"{name}.bias"] = rng.normal(size=channels).astype(np.float32)
    return tensors


@pytest.mark.parametrize(("channels", "kind"), [(18, "offsets"), (27, "modulated")])
def test_deformable_convolutions_have_their_offsets(channels, kind):
    tensors = with_offsets(channels)
    checkpoint = detectron2.read(tensors)
    assert (checkpoint.config.backbone.deformable, checkpoint.unused) == (kind, ())
    assert set(checkpoint.names.values()) == set(tensors)
    found = checkpoint.arrays["conv4_block2_2_offset/kernel"]
    np.testing.assert_array_equal(found, tensors["backbone.bottom_up.res4.1.conv2_offset.weight"].transpose(2, 3, 1, 0))


def test_deformable_convolutions_of_another_kind_are_refused_by_name():
    name = "backbone.bottom_up.res5.1.conv2_offset.weight"
    with pytest.raises(ValueError, match=f"'{name}' has no place in a plain ResNet"):
        detectron2.read(small() | {name: np.zeros(1)})
    with pytest.raises(ValueError, match="res3.0.conv2_offset.weight' gives 72 numbers a pixel; 18, or 27"):
        detectron2.read(with_offsets(72))


def test_models_without_a_pyramid_are_refused():
    tensors = {name: tensor for name, tensor in small().items() if "fpn" not in name}
    with pytest.raises(ValueError, match="no feature pyramid: detectron2's C4 and DC5"):
        detectron2.read(tensors)


@pytest.mark.parametrize("name", ["backbone.bottom_up.res4.3.conv2.norm.bias", "roi_heads.mask_head.deconv.bias"])
def test_missing_tensor_is_named(name):
    tensors = small()
    del tensors[name]
    with pytest.raises(ValueError, match=f"no tensor '{name}'"):
        detectron2.read(tensors)


def test_wrong_number_of_boxes_is_named():
    with pytest.raises(
        ValueError, match="bbox_pred.weight' has shape .8, 10.*needs 12 rows"
    ):  # the boxes of all classes are one
        detectron2.read(small() | {"roi_heads.box_predictor.bbox_pred.weight": np.zeros((8, 10), np.float32)})


def test_point_rend_has_a_weight_for_every_tensor_and_early_names_are_todays():
    tensors = fill(layout_files.point_rend(narrow(), hidden=9, width=5))
    checkpoint = detectron2.read(tensors)
    config = checkpoint.config
    assert checkpoint.unused == () and set(checkpoint.names.values()) == set(tensors)
    assert (config.mask_head.kind, config.mask_head.mask_size, config.mask_head.pool_size) == ("point_rend", 224, 14)
    assert (config.point_rend.hidden, config.point_rend.channels, config.point_rend.num_layers) == (9, 5, 3)
    head = PointRendHead(config.mask_head, config.point_rend, num_classes=3, channels=6, name="mask_head")
    head.build(None)
    assert {weight.path: tuple(weight.shape) for weight in head.weights} == {
        name: array.shape for name, array in checkpoint.arrays.items() if name.startswith("mask_head/")
    }
    early = {
        name.replace("mask_head.point_head.", "mask_point_head.")
        .replace("mask_head.coarse_head.fc", "mask_coarse_head.coarse_mask_fc")
        .replace("mask_head.coarse_head.", "mask_coarse_head."): tensor
        for name, tensor in tensors.items()
    }
    assert early.keys() != tensors.keys()
    for name, array in detectron2.read(early).arrays.items():
        np.testing.assert_array_equal(array, checkpoint.arrays[name])


def test_keypoint_rcnn_of_detectron2_is_read():
    tensors = {name: tensor for name, tensor in fill(layout_files.detectron2(narrow(1))).items() if ".mask_head." not in name}
    shapes = {"score_lowres.weight": (4, 17, 4, 4), "score_lowres.bias": (17,)}
    for number in range(1, 9):
        shapes |= {f"conv_fcn{number}.weight": (4, 4 if number > 1 else 6, 3, 3), f"conv_fcn{number}.bias": (4,)}
    tensors |= fill({f"roi_heads.keypoint_head.{name}": shape for name, shape in shapes.items()})
    checkpoint = detectron2.read(tensors)
    assert checkpoint.unused == () and checkpoint.config.keypoint_head.num_keypoints == 17
    assert checkpoint.config.keypoint_names[0] == "nose" and checkpoint.config.class_names == ["person"]
