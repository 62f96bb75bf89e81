"""Detectors of detectron2 and MMDetection on Swin Transformers and ConvNeXts in, every weight once, with their conventions."""

from __future__ import annotations

import numpy as np
import pytest
from weights import layout_files
from weights.layout_files import Shapes, fill, narrow

from maskrcnn.config.backbones import CONVNEXTS, SWINS, ConvNeXt, Swin
from maskrcnn.model.mask_rcnn import Network
from maskrcnn.weights import layouts
from maskrcnn.weights.checkpoint import put
from maskrcnn.weights.files.pth import write_pth
from maskrcnn.weights.projects import detectron2_swin, mmdet
from maskrcnn.weights.sources import read_checkpoint

SMALL_SWIN = Swin((1, 2, 1, 1), 8, (1, 2, 4, 8), window=3)
SMALL_CONVNEXT = ConvNeXt((1, 2, 1, 1), (4, 8, 16, 32))
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SWINS, "swin_tiny", SMALL_SWIN)
    monkeypatch.setitem(CONVNEXTS, "convnext_tiny", SMALL_CONVNEXT)


def layer(name: str, *shape: int, bias: bool = True) -> Shapes:
    return {f"{name}.weight": shape} | ({f"{name}.bias": shape[:1]} if bias else {})


def swin(*, mmdetection: bool) -> Shapes:
    """A state dict of detectron2's `SwinTransformer` or MMDetection's, written out apart from the tables that are read with."""
    start = "backbone" if mmdetection else "backbone.bottom_up"
    stages, attention = ("stages", "attn.w_msa") if mmdetection else ("layers", "attn")
    mlp = ("ffn.layers.0.0", "ffn.layers.1") if mmdetection else ("mlp.fc1", "mlp.fc2")
    width = SMALL_SWIN.channels
    shapes = layer(f"{start}.patch_embed.{'projection' if mmdetection else 'proj'}", width, 3, 4, 4)
    shapes |= layer(f"{start}.patch_embed.norm", width)
    for stage, (blocks, heads) in enumerate(zip(SMALL_SWIN.blocks, SMALL_SWIN.heads)):
        for number in range(blocks):
            block = f"{start}.{stages}.{stage}.blocks.{number}"
            shapes |= layer(f"{block}.norm1", width) | layer(f"{block}.norm2", width)
            shapes |= layer(f"{block}.{attention}.qkv", 3 * width, width) | layer(f"{block}.{attention}.proj", width, width)
            shapes |= {f"{block}.{attention}.relative_position_bias_table": (25, heads)}
            shapes |= {f"{block}.{attention}.relative_position_index": (9, 9)}
            shapes |= layer(f"{block}.{mlp[0]}", 4 * width, width) | layer(f"{block}.{mlp[1]}", width, 4 * width)
        shapes |= layer(f"{start}.norm{stage}", width)
        if stage < 3:  # at the end of a stage
            shapes |= layer(f"{start}.{stages}.{stage}.downsample.norm", 4 * width)
            shapes |= layer(f"{start}.{stages}.{stage}.downsample.reduction", 2 * width, 4 * width, bias=False)
        width *= 2
    return shapes


def convnext() -> Shapes:
    """A state dict of MMClassification's `ConvNeXt` with four outputs."""
    shapes = layer("backbone.downsample_layers.0.0", 4, 3, 4, 4) | layer("backbone.downsample_layers.0.1", 4)
    for stage, (blocks, width) in enumerate(zip(SMALL_CONVNEXT.blocks, SMALL_CONVNEXT.channels)):
        if stage:
            shapes |= layer(f"backbone.downsample_layers.{stage}.0", width // 2)
            shapes |= layer(f"backbone.downsample_layers.{stage}.1", width, width // 2, 2, 2)
        for number in range(blocks):
            block = f"backbone.stages.{stage}.{number}"
            shapes |= (
                layer(f"{block}.depthwise_conv", width, 1, 7, 7) | layer(f"{block}.norm", width) | {f"{block}.gamma": (width,)}
            )
            shapes |= layer(f"{block}.pointwise_conv1", 4 * width, width) | layer(f"{block}.pointwise_conv2", width, 4 * width)
        shapes |= layer(f"backbone.norm{stage}", width)
    return shapes


def heads_of(shapes: Shapes, widths: tuple[int, ...], lateral: str, first: int, *, statistics: bool) -> Shapes:
    """What stands behind the backbone of a narrow model, with laterals for these widths."""
    found = {name: shape for name, shape in shapes.items() if not name.startswith(("backbone.bottom_up", "backbone.layer"))}
    found = {name: shape for name, shape in found.items() if not name.startswith(("backbone.conv1", "backbone.bn1"))}
    for level, width in enumerate(widths, start=first):
        name = lateral.format(level)
        found[name] = (found[name][0], width, 1, 1)
    return {name: shape for name, shape in found.items() if statistics or not name.endswith(STATISTICS)}


def detectron2_layout(**sizes: int) -> Shapes:
    heads = layout_files.detectron2(narrow(pool=7, **sizes), lsj=True, stages=3)
    widths = tuple(SMALL_SWIN.channels * 2**stage for stage in range(4))
    return swin(mmdetection=False) | heads_of(heads, widths, "backbone.fpn_lateral{}.weight", 2, statistics=False)


def mmdet_layout(backbone: Shapes, widths: tuple[int, ...], **kind: int | bool) -> Shapes:
    heads = layout_files.mmdet(narrow(pool=7), **kind)  # type: ignore[arg-type]
    return backbone | heads_of(heads, widths, "neck.lateral_convs.{}.conv.weight", 0, statistics=True)


LAYOUTS = {
    "detectron2 cascade on Swin": detectron2_layout,
    "MMDetection on Swin": lambda: mmdet_layout(swin(mmdetection=True), tuple(8 * 2**stage for stage in range(4))),
    "MMDetection cascade on ConvNeXt": lambda: mmdet_layout(convnext(), SMALL_CONVNEXT.channels, stages=3),
}


@pytest.mark.parametrize("kind", LAYOUTS)
def test_every_weight_is_filled_once_and_nothing_is_left(kind, tmp_path):
    tensors = fill(LAYOUTS[kind]())
    write_pth(tmp_path / "model.pth", tensors)
    checkpoint = read_checkpoint(tmp_path / "model.pth")
    network = Network(checkpoint.config)
    report = put(checkpoint, network)
    assert (report.remade, report.unused) == ((), ())
    named = [name for name in tensors if not name.endswith(("num_batches_tracked", "relative_position_index"))]
    assert sorted(set(checkpoint.names.values())) == sorted(named) and len(checkpoint.arrays) == len(network.weights)


def test_conventions_are_those_of_the_projects():
    config = detectron2_swin.read(fill(detectron2_layout())).config
    assert (config.backbone.name, config.backbone.output_norm, config.backbone.frozen_stages) == ("swin_tiny", True, 0)
    assert (config.image.frame, config.image.short_side, config.image.channel_order) == ("square", 1024, "rgb")
    assert (config.fpn.top_down, config.fpn.norm, config.box_head.norm, config.rpn.num_convs) == (True, "layer", "layer", 2)
    assert (config.cascade.mean, config.box_head.class_agnostic, config.cascade.mask_heads) == ("scores", True, False)
    checkpoint = mmdet.read(fill(LAYOUTS["MMDetection cascade on ConvNeXt"]()))
    config = checkpoint.config
    assert (config.backbone.name, config.backbone.output_norm, config.backbone.frozen_stages) == ("convnext_tiny", True, 0)
    assert (config.image.frame, config.image.std, config.cascade.mean) == ("tight", (58.395, 57.12, 57.375), "logits")
    assert checkpoint.assumed == ()  # such backbones have one style alone


def test_patch_merging_takes_the_same_of_each_neighbour():
    """MMDetection unfolds a map by channel, and the others lay neighbours side by side, column by column."""
    rng = np.random.default_rng(0)
    pixels = rng.normal(size=(2, 2, 3))  # rows, columns, channels
    theirs = pixels.transpose(2, 0, 1).ravel()  # as torch.nn.Unfold
    ours = np.concatenate([pixels[0, 0], pixels[1, 0], pixels[0, 1], pixels[1, 1]])  # as `NeighboursToChannels`
    kernel, vector = rng.normal(size=(5, 12)), rng.normal(size=12)
    np.testing.assert_allclose(ours @ layouts.MERGED.to_ours(kernel), kernel @ theirs)
    np.testing.assert_allclose(ours @ layouts.MERGED_VECTOR.to_ours(vector), vector @ theirs)
    np.testing.assert_array_equal(layouts.MERGED.to_theirs(layouts.MERGED.to_ours(kernel)), kernel)
    np.testing.assert_array_equal(layouts.MERGED_VECTOR.to_theirs(layouts.MERGED_VECTOR.to_ours(vector)), vector)


def test_backbones_of_another_size_are_refused():
    tensors = fill(detectron2_layout())
    wrong = {name: tensor for name, tensor in tensors.items() if ".layers.1.blocks.1." not in name}
    with pytest.raises(ValueError, match="Swin Transformer is none of swin_tiny"):
        detectron2_swin.read(wrong)
