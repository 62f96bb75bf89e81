"""detectron2's ViTDet in, every weight once, with its conventions."""

from __future__ import annotations

import numpy as np
import pytest
from weights import layout_files
from weights.layout_files import Shapes, Sizes, fill, narrow, zeros

from maskrcnn.config.backbones import ViTDet
from maskrcnn.model.backbones import vitdet as model
from maskrcnn.model.mask_rcnn import Network
from maskrcnn.weights.checkpoint import put
from maskrcnn.weights.files.pth import write_pth
from maskrcnn.weights.projects import vitdet
from maskrcnn.weights.sources import read_checkpoint

SMALL = ViTDet(4, 16, 2, (1, 2, 3, 4), window=2, positions=3, map_size=4)


def layout(sizes: Sizes, numbers: ViTDet = SMALL, *, stages: int = 0) -> Shapes:
    """A state dict of detectron2's `SimpleFeaturePyramid` on `ViT`, written out apart from the table that is read with."""
    width, net, channels = numbers.channels, "backbone.net", sizes.channels
    shapes: Shapes = {f"{net}.pos_embed": (1, 1 + numbers.positions**2, width)}

    def layer(name: str, *shape: int, bias: bool = True) -> None:
        shapes[f"{name}.weight"] = shape
        if bias:
            shapes[f"{name}.bias"] = shape[1:2] if "simfp" in name and len(shape) == 4 and shape[2] == 2 else shape[:1]

    layer(f"{net}.patch_embed.proj", width, 3, numbers.patch, numbers.patch)
    for index in range(numbers.blocks):
        block, size = f"{net}.blocks.{index}", numbers.map_size if index + 1 in numbers.global_blocks else numbers.window
        layer(f"{block}.norm1", width)
        layer(f"{block}.norm2", width)
        layer(f"{block}.attn.qkv", 3 * width, width)
        layer(f"{block}.attn.proj", width, width)
        layer(f"{block}.mlp.fc1", 4 * width, width)
        layer(f"{block}.mlp.fc2", width, 4 * width)
        shapes |= dict.fromkeys((f"{block}.attn.rel_pos_h", f"{block}.attn.rel_pos_w"), (2 * size - 1, width // numbers.heads))
    layer("backbone.simfp_2.0", width, width // 2, 2, 2)
    layer("backbone.simfp_2.1", width // 2)
    layer("backbone.simfp_2.3", width // 2, width // 4, 2, 2)
    layer("backbone.simfp_3.0", width, width // 2, 2, 2)
    for stage, first, width_in in ((2, 4, width // 4), (3, 1, width // 2), (4, 0, width), (5, 1, width)):
        for place, side, inputs in ((first, 1, width_in), (first + 1, 3, channels)):
            layer(f"backbone.simfp_{stage}.{place}", channels, inputs, side, side, bias=False)
            layer(f"backbone.simfp_{stage}.{place}.norm", channels)
    heads = layout_files.detectron2(sizes, lsj=True, stages=stages)
    no_statistics = ("running_mean", "running_var", "num_batches_tracked")
    return shapes | {
        name: shape for name, shape in heads.items() if not name.startswith("backbone.") and not name.endswith(no_statistics)
    }


@pytest.fixture
def small(monkeypatch) -> dict[str, np.ndarray]:
    for module in (vitdet, model):
        monkeypatch.setitem(module.VITDETS, "vitdet_base", SMALL)
    return fill(layout(narrow(pool=7)))


def test_every_weight_is_filled_once_and_nothing_is_left(small, tmp_path):
    write_pth(tmp_path / "model.pth", small)
    checkpoint = read_checkpoint(tmp_path / "model.pth")
    network = Network(checkpoint.config)
    report = put(checkpoint, network)
    assert (report.remade, report.unused) == ((), ())
    assert sorted(checkpoint.names.values()) == sorted(small) and len(checkpoint.arrays) == len(network.weights)
    table = network.backbone.get_layer("positions").table
    np.testing.assert_array_equal(np.array(table).reshape(9, -1), small["backbone.net.pos_embed"][0, 1:])


def test_conventions_are_those_of_the_zoo(small):
    config = vitdet.read(small).config
    assert (config.image.short_side, config.image.long_side, config.image.frame) == (1024, 1024, "square")
    assert (config.image.channel_order, config.image.std) == ("rgb", (58.395, 57.12, 57.375))
    assert (config.fpn.top_down, config.fpn.norm, config.box_head.norm, config.mask_head.norm) == (False, *["layer"] * 3)
    assert (config.fpn.epsilon, config.box_head.epsilon, config.mask_head.epsilon) == (1e-6,) * 3
    assert (config.rpn.num_convs, config.box_head.kind, config.roi_align.sampling_ratio) == (2, "4conv1fc", 0)


def test_a_transformer_of_another_depth_is_refused(small):
    shorter = {name: tensor for name, tensor in small.items() if ".blocks.3." not in name}
    with pytest.raises(ValueError, match="vision transformer is none of vitdet_base, vitdet_large, vitdet_huge"):
        vitdet.read(shorter)


def test_a_missing_tensor_is_named(small):
    del small["backbone.net.blocks.2.attn.rel_pos_w"]
    with pytest.raises(ValueError, match=r"blocks\.2\.attn\.rel_pos_w"):
        vitdet.read(small)


def test_a_cascade_has_three_box_heads_and_takes_the_mean_of_their_scores(small):
    tensors = fill(layout(narrow(pool=7), stages=3))
    checkpoint = vitdet.read(tensors)
    config = checkpoint.config
    assert checkpoint.unused == () and set(checkpoint.names.values()) == set(tensors)
    assert (config.cascade.positive_ious, config.cascade.mean, config.cascade.mask_heads) == ((0.6, 0.7), "scores", False)
    assert (config.box_head.class_agnostic, config.box_head.norm, config.rpn.train_proposals) == (True, "layer", 1000)


def test_models_of_lvis_have_scores_of_the_federated_loss(small):
    assert vitdet.read(small).config.box_head.class_loss == "cross_entropy"
    config = vitdet.read(zeros(layout(narrow(pool=7, num_classes=1203)))).config
    assert (config.box_head.class_loss, config.detect.score, config.detect.max_detections) == ("federated", 0.02, 300)
