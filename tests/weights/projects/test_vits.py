"""A classifier's plain transformer as the start of ViTDet: every weight once, and what a classifier has none of starts anew."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops
from small_network import small_config

from maskrcnn.config.backbones import ViTDet
from maskrcnn.config.model import BackboneConfig
from maskrcnn.model.backbones import vitdet as model
from maskrcnn.model.mask_rcnn import Network
from maskrcnn.weights.checkpoint import put
from maskrcnn.weights.files.pth import write_pth
from maskrcnn.weights.projects import vitdet, vits
from maskrcnn.weights.sources import BACKBONES, read_checkpoint

SMALL = ViTDet(4, 16, 2, (1, 2, 3, 4), window=2, positions=3, map_size=4)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    for module in (vitdet, vits, model):
        monkeypatch.setitem(module.VITDETS, "vitdet_base", SMALL)


def state_dict(*, rows: int = 10, prefix: str = "") -> dict[str, np.ndarray]:
    """As timm and MAE name a vision transformer's tensors, written out apart from the table that is read with."""
    width, shapes = (
        SMALL.channels,
        {"cls_token": (1, 1, 16), "pos_embed": (1, rows, 16), "norm.weight": (16,), "norm.bias": (16,)},
    )
    layers = {"patch_embed.proj": (width, 3, 16, 16)}
    for block in range(SMALL.blocks):
        layers |= {
            f"blocks.{block}.norm1": (width,),
            f"blocks.{block}.attn.qkv": (3 * width, width),
            f"blocks.{block}.attn.proj": (width, width),
            f"blocks.{block}.norm2": (width,),
            f"blocks.{block}.mlp.fc1": (4 * width, width),
            f"blocks.{block}.mlp.fc2": (width, 4 * width),
        }
    for name, shape in layers.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    rng = np.random.default_rng(0)
    return {f"{prefix}{name}": rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def test_every_weight_arrives_and_a_detectors_own_start_anew(tmp_path):
    tensors = state_dict()
    write_pth(tmp_path / "vit.pth", tensors)
    checkpoint = read_checkpoint(tmp_path / "vit.pth")
    assert checkpoint.categories is None and checkpoint.changes["backbone__name"] == "vitdet_base"
    assert sorted(checkpoint.unused) == ["cls_token", "norm.bias", "norm.weight"]
    backbone = BackboneConfig(name="vitdet_base", frozen_stages=0)
    network = Network(small_config(backbone=backbone, fpn__norm="layer", fpn__top_down=False))
    before = {weight.path: np.array(ops.convert_to_numpy(weight)) for weight in network.backbone.weights}
    report = put(checkpoint, network)
    after = {weight.path: ops.convert_to_numpy(weight) for weight in network.backbone.weights}
    own = [path for path in after if path.startswith("scale") or path.endswith("_offsets")]
    assert len(own) == 2 * SMALL.blocks + 8 and set(own) <= set(report.remade)
    assert set(report.loaded) == set(after) - set(own)
    for path in own:
        np.testing.assert_array_equal(after[path], before[path])
    assert not after["block1_attention/row_offsets"].any()
    np.testing.assert_array_equal(after["block2_attention/qkv/kernel"].T, tensors["blocks.1.attn.qkv.weight"])
    np.testing.assert_array_equal(after["positions/table"].reshape(9, -1), tensors["pos_embed"][0, 1:])


@pytest.mark.parametrize("prefix", ["", "module."])
def test_it_has_one_reader(prefix):
    tensors = state_dict(prefix=prefix)
    assert [name for name, reader in BACKBONES.items() if reader.recognise(tensors)] == ["vit"]


@pytest.mark.parametrize(("rows", "first"), [(9, 0), (10, 1)])
def test_the_class_tokens_position_is_left_out_where_there_is_one(rows, first):
    tensors = state_dict(rows=rows)
    np.testing.assert_array_equal(vits.read(tensors).arrays["positions/table"].reshape(9, -1), tensors["pos_embed"][0, first:])


def test_positions_of_another_image_size_are_resized():
    tensors = state_dict(rows=1 + 6 * 6)
    tensors["pos_embed"] = np.linspace(0, 1, 37 * 16, dtype=np.float32).reshape(1, 37, 16)
    table = vits.read(tensors).arrays["positions/table"]
    grid = tensors["pos_embed"][0, 1:].reshape(6, 6, 16)
    np.testing.assert_allclose(table[1, 1], grid[2:4, 2:4].mean((0, 1)), atol=1e-5)  # the middle of both grids
    assert table.shape == (3, 3, 16)


def test_positions_of_no_square_are_refused():
    with pytest.raises(ValueError, match="'pos_embed' has shape"):
        vits.read(state_dict(rows=12))


def test_blocks_that_scale_their_layers_are_refused():
    with pytest.raises(ValueError, match=r"'blocks\.0\.ls1\.gamma' has no place in vitdet_base"):
        vits.read(state_dict() | {"blocks.0.ls1.gamma": np.ones(16, np.float32)})


def test_another_depth_is_refused():
    with pytest.raises(ValueError, match="vision transformer is none of vitdet_base, vitdet_large, vitdet_huge"):
        vits.read({name: tensor for name, tensor in state_dict().items() if not name.startswith("blocks.3.")})
