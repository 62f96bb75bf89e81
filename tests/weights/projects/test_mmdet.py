"""MMDetection's Mask R-CNN in, every weight once, with its conventions."""

import keras
import numpy as np
import pytest
from weights import layout_files
from weights.layout_files import R50, Sizes, fill, narrow, zeros

from maskrcnn.config.model import MaskScoringConfig
from maskrcnn.model.heads.cascade import make_box_head, make_mask_head
from maskrcnn.model.mask_rcnn import Network
from maskrcnn.weights.categories import COCO
from maskrcnn.weights.checkpoint import Checkpoint, put
from maskrcnn.weights.projects import mmdet


def small(*, norms: bool = False, stages: int = 0, **sizes) -> dict[str, np.ndarray]:
    return fill(layout_files.mmdet(narrow(**sizes), norms=norms, stages=stages))


@pytest.mark.parametrize("kind", [{}, {"norms": True}, {"stages": 3}], ids=["R50", "R50 with norms", "R50 cascade"])
def test_published_file_fills_every_weight_once_and_leaves_nothing(kind):
    tensors = zeros(layout_files.mmdet(R50, **kind))
    checkpoint = mmdet.read(tensors)
    report = put(checkpoint, Network(checkpoint.config))
    assert (report.remade, report.unused) == ((), ())
    named = [name for name in tensors if not name.endswith("num_batches_tracked")]
    assert sorted(checkpoint.names.values()) == sorted(named)
    assert checkpoint.categories == COCO


@pytest.mark.parametrize(("groups", "width", "colours"), [(1, 64, "rgb"), (32, 4, "rgb"), (64, 4, "rgb"), (32, 8, "bgr")])
def test_backbones_differ_in_groups_and_caffe2s_resnext_in_colours(groups, width, colours):
    sizes = Sizes(blocks=(3, 4, 23, 3), groups=groups, width_per_group=width)
    config = mmdet.read(zeros(layout_files.mmdet(sizes))).config
    assert (config.backbone.groups, config.backbone.width_per_group, config.backbone.name) == (groups, width, "resnet101")
    assert (config.image.channel_order, config.backbone.stride_in) == (colours, "3x3")
    assert config.image.std == (58.395, 57.12, 57.375)


def test_norms_of_the_backbone_are_frozen_though_they_counted():
    assert mmdet.read(small()).config.backbone.norm == "frozen"
    config = mmdet.read(small(norms=True)).config
    assert (config.backbone.norm, config.fpn.norm, config.box_head.kind, config.rpn.num_convs) == (
        *("live", "live"),
        *("4conv1fc", 2),
    )


def test_level_is_the_one_of_finest_scale_56():
    config = mmdet.read(small()).config.roi_align
    for side in (111.99, 112.0, 223.99, 224.0, 448.0):
        theirs = np.floor(np.log2(side / 56 + 1e-6))  # level 0 is P2
        ours = np.floor(config.canonical_level + np.log2(side / config.canonical_size + config.level_epsilon))
        assert ours == theirs + 2


def test_deltas_are_cut_at_both_ends():
    config = mmdet.read(small()).config
    for part in (config.rpn, config.box_head):
        assert (part.min_scale, part.max_scale) == (16 / 1000, 1000 / 16)


def test_a_cascade_means_logits_and_masks_and_has_heads_for_each_stage():
    tensors = small(stages=3)
    checkpoint = mmdet.read(tensors)
    config = checkpoint.config
    assert (config.cascade.mean, config.cascade.mask_heads, config.cascade.positive_ious) == ("logits", True, (0.6, 0.7))
    np.testing.assert_allclose(
        1 / np.array(config.cascade.delta_weights), [[0.05, 0.05, 0.1, 0.1], [0.033, 0.033, 0.067, 0.067]]
    )
    assert config.box_head.class_agnostic and not config.mask_head.class_agnostic
    for ours, theirs in (("", 0), ("/stage2", 1), ("/stage3", 2)):
        found = tensors[f"roi_head.bbox_head.{theirs}.fc_reg.bias"]
        np.testing.assert_array_equal(checkpoint.arrays[f"box_head{ours}/shared_deltas/bias"], found)
        found = tensors[f"roi_head.mask_head.{theirs}.conv_logits.bias"]
        np.testing.assert_array_equal(checkpoint.arrays[f"mask_head{ours}/class_bias"], found)


def test_seesaws_object_is_a_layer_of_its_own_and_its_counts_are_in_the_configuration():
    tensors = fill(layout_files.mmdet(narrow(), seesaw=True))
    tensors["roi_head.bbox_head.loss_cls.cum_samples"] = np.array([70, 5, 0, 900], np.float32)
    checkpoint = mmdet.read(tensors)
    head, detect = checkpoint.config.box_head, checkpoint.config.detect
    assert (head.class_loss, head.class_counts, head.cosine_temperature) == ("seesaw", (70.0, 5.0, 0.0), 20.0)
    assert (detect.score, detect.max_detections, checkpoint.config.num_classes) == (1e-4, 300, 3)
    assert "mask_head.cosine_temperature=20" in checkpoint.assumed[1]
    bias = tensors["roi_head.bbox_head.fc_cls.bias"]  # three classes, an object, the background
    np.testing.assert_array_equal(checkpoint.arrays["box_head/classes/bias"], bias[[4, 0, 1, 2]])
    np.testing.assert_array_equal(checkpoint.arrays["box_head/objectness/bias"], bias[[3]])
    assert checkpoint.unused == ()
    fits(checkpoint, make_box_head(checkpoint.config, name="box_head"))


def test_mask_scoring_is_read_by_its_layers():
    tensors = fill(layout_files.mmdet(narrow(), scoring=True))
    checkpoint = mmdet.read(tensors)
    config = checkpoint.config
    assert (config.mask_head.kind, config.mask_scoring) == ("scoring", MaskScoringConfig(num_convs=4, channels=6, hidden=10))
    assert checkpoint.unused == ()
    fits(checkpoint, make_mask_head(config, name="mask_head"))


def fits(checkpoint: Checkpoint, head: keras.Layer) -> None:
    """The file has just the weights that the head has."""
    head.build(None)
    wanted = {weight.path: tuple(weight.shape) for weight in head.weights}
    found = {path: array.shape for path, array in checkpoint.arrays.items() if path.startswith(f"{head.name}/")}
    assert len(wanted) > 5 and found == wanted


@pytest.mark.parametrize("counts", [np.zeros(3), np.array([1, 2, 3, np.nan])])
def test_damaged_counts_are_told(counts):
    tensors = fill(layout_files.mmdet(narrow(), seesaw=True)) | {"roi_head.bbox_head.loss_cls.cum_samples": counts}
    with pytest.raises(ValueError, match="cum_samples' holds .* 4 counts are wanted"):
        mmdet.read(tensors)


def test_deformable_convolutions_are_mmdetections_conv_offset():
    tensors = small()
    for layer, blocks in ((2, 4), (3, 6), (4, 3)):
        for block in range(blocks):
            name, width = f"backbone.layer{layer}.{block}.conv2.conv_offset", 4 * 2 ** (layer - 1)
            tensors |= {f"{name}.weight": np.ones((27, width, 3, 3), np.float32), f"{name}.bias": np.ones(27, np.float32)}
    checkpoint = mmdet.read(tensors)
    assert (checkpoint.config.backbone.deformable, checkpoint.unused) == ("modulated", ())


def test_background_goes_from_last_to_first():
    tensors = small(num_classes=3)
    arrays = mmdet.read(tensors).arrays
    np.testing.assert_array_equal(arrays["box_head/classes/bias"], tensors["roi_head.bbox_head.fc_cls.bias"][[3, 0, 1, 2]])
    np.testing.assert_array_equal(arrays["box_head/deltas/kernel"].T, tensors["roi_head.bbox_head.fc_reg.weight"])


def test_style_of_the_backbone_is_assumed_aloud():
    assert "style 'caffe' it needs --set backbone.stride_in=1x1" in mmdet.read(small()).assumed[0]


def test_averages_beside_the_model_are_reported_as_unused():
    assert mmdet.read(small() | {"ema_backbone_conv1_weight": np.zeros(2)}).unused == ("ema_backbone_conv1_weight",)


def test_version_1_is_refused_and_told_what_to_do():
    tensors = {name.removeprefix("roi_head."): tensor for name, tensor in small().items()}
    assert mmdet.recognise(tensors)
    with pytest.raises(ValueError, match="MMDetection 1.*upgrade_model_version"):
        mmdet.read(tensors)


@pytest.mark.parametrize(
    "name", ["neck.fpn_convs.1.conv.bias", "backbone.layer2.0.downsample.1.weight", "rpn_head.rpn_reg.bias"]
)
def test_missing_tensor_is_named(name):
    tensors = small()
    del tensors[name]
    with pytest.raises(ValueError, match=f"no tensor '{name}'"):
        mmdet.read(tensors)


def test_deep_stem_is_refused_by_name():
    tensors = small() | {"backbone.stem.0.weight": np.zeros((2, 3, 3, 3), np.float32)}
    with pytest.raises(ValueError, match="'backbone.stem.0.weight' has no place in a plain ResNet"):
        mmdet.read(tensors)
