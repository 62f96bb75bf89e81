"""Laws of the plain vision transformer: what attends to what, what is resized how, and the four scales of its one map."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops
from small_network import FRAME, make_batch, small_config, train

from maskrcnn.config.backbones import ViTDet
from maskrcnn.config.model import BackboneConfig
from maskrcnn.model import mask_rcnn
from maskrcnn.model.backbones import build, vitdet
from maskrcnn.model.backbones.vitdet import Attention, Positions, four_scales

SMALL = ViTDet(4, 16, 2, (1, 2, 3, 4), window=2, positions=3, map_size=4)


def attention(x: np.ndarray, layer: Attention) -> np.ndarray:
    """One map (h, w, C), patch by patch: softmax of q k / √d + q (offset of rows) + q (offset of columns)."""
    height, width, channels = x.shape
    qkv_kernel, qkv_bias, kernel, bias, rows, columns = (np.asarray(ops.convert_to_numpy(each)) for each in in_order(layer))
    qkv = (x @ qkv_kernel + qkv_bias).reshape(height, width, 3, layer.heads, -1)
    out = np.zeros((height, width, layer.heads, channels // layer.heads))
    for i, j in np.ndindex(height, width):
        for head in range(layer.heads):
            query = qkv[i, j, 0, head]
            logits = np.empty((height, width))
            for y, x_ in np.ndindex(height, width):
                logits[y, x_] = query @ qkv[y, x_, 1, head] / np.sqrt(len(query))
                logits[y, x_] += query @ rows[i - y + layer.size - 1] + query @ columns[j - x_ + layer.size - 1]
            weights = np.exp(logits - logits.max())
            out[i, j, head] = np.einsum("yx,yxd->d", weights / weights.sum(), qkv[:, :, 2, head])
    return out.reshape(height, width, channels) @ kernel + bias


def in_order(layer: Attention) -> list:
    dense = [layer.qkv.kernel, layer.qkv.bias, layer.project.kernel, layer.project.bias]
    return [*dense, layer.row_offsets, layer.column_offsets]


def filled(layer: Attention, channels: int, seed: int = 0) -> Attention:
    rng = np.random.default_rng(seed)
    layer.build((None, None, None, channels))
    for weight in layer.weights:
        weight.assign(rng.normal(0, 0.4, weight.shape))
    return layer


@pytest.mark.parametrize(("window", "side"), [(0, 4), (3, 3)])
def test_attention_is_that_of_its_definition(window, side):
    layer = filled(Attention(2, window, side), 8)
    x = np.random.default_rng(1).normal(size=(2, side, side, 8)).astype(np.float32)
    found = ops.convert_to_numpy(layer(x))
    for image in range(2):
        np.testing.assert_allclose(found[image], attention(x[image], layer), atol=2e-5)


def test_windows_do_not_see_each_other_and_the_whole_map_does():
    x = np.random.default_rng(0).normal(size=(1, 4, 6, 8)).astype(np.float32)
    changed = x.copy()
    changed[0, 0, 0] += 1
    for window, reached in ((2, 2 * 2), (0, 4 * 6)):
        layer = filled(Attention(2, window, 2 if window else 6), 8)
        apart = np.abs(ops.convert_to_numpy(layer(x)) - ops.convert_to_numpy(layer(changed))).max(-1)[0]
        assert np.count_nonzero(apart > 1e-7) == reached and (apart[:2, :2] > 1e-7).all()


def test_a_map_that_is_no_whole_number_of_windows_is_padded_with_zeros():
    layer = filled(Attention(2, 4, 4), 8)
    x = np.random.default_rng(0).normal(size=(1, 5, 6, 8)).astype(np.float32)
    padded = np.pad(x, ((0, 0), (0, 3), (0, 2), (0, 0)))
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x)), ops.convert_to_numpy(layer(padded))[:, :5, :6], atol=1e-5)


@pytest.mark.parametrize(("size", "side"), [(14, 20), (14, 9)])
def test_tables_are_resized_as_pytorch_resizes(size, side):
    torch = pytest.importorskip("torch")
    table = np.random.default_rng(0).normal(size=(1, 5, size, size)).astype(np.float32)
    rows = ops.convert_to_numpy(vitdet._cubic(size, side))
    expected = torch.nn.functional.interpolate(torch.tensor(table), size=(side, side), mode="bicubic").numpy()
    np.testing.assert_allclose(rows @ table @ rows.T, expected, atol=1e-5)
    rows = ops.convert_to_numpy(vitdet._linear(size, side))
    expected = torch.nn.functional.interpolate(torch.tensor(table[0]), size=side, mode="linear").numpy()
    np.testing.assert_allclose(table[0] @ rows.T, expected, atol=1e-5)


def test_positions_of_a_map_as_large_as_the_table_are_the_table():
    layer = Positions(3)
    layer.build((None, None, None, 4))
    found = ops.convert_to_numpy(layer(np.zeros((1, 3, 3, 4), np.float32)))
    np.testing.assert_allclose(found[0], ops.convert_to_numpy(layer.table), atol=1e-6)


def test_one_map_becomes_four_scales():
    x = keras.Input((None, None, 16))
    model = keras.Model(x, four_scales(x, 1e-6))
    shapes = [tuple(level.shape) for level in model(np.zeros((2, 4, 6, 16), np.float32))]
    assert shapes == [(2, 16, 24, 4), (2, 8, 12, 8), (2, 4, 6, 16), (2, 2, 3, 16)]


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setitem(vitdet.VITDETS, "vitdet_base", SMALL)
    return {
        "backbone": BackboneConfig(name="vitdet_base", frozen_stages=0),
        "fpn__norm": "layer", "fpn__top_down": False, "box_head__kind": "4conv1fc", "box_head__norm": "layer",
        "box_head__conv_channels": 8, "mask_head__norm": "layer",
    }  # fmt: skip


def test_a_small_one_trains_and_answers(small):
    network = mask_rcnn.Network(small_config(**small))
    before = [np.array(weight) for weight in network.get_weights()]
    network.compile(optimizer=keras.optimizers.SGD(0.01))
    losses = train(network, make_batch(), steps=2)["loss"]
    assert np.isfinite(np.array(losses, float)).all()
    changed = [not np.array_equal(a, b) for a, b in zip(before, network.get_weights())]
    assert np.mean(changed) > 0.8


def test_every_weight_begins_with_numbers_of_its_own_that_the_seed_decides(small):
    del small
    kernels = []
    for _ in range(2):
        keras.utils.set_random_seed(0)
        backbone = build.build_backbone(BackboneConfig(name="vitdet_base", frozen_stages=0))
        layers = [backbone.get_layer(f"block{block}_attention") for block in (1, 2)]
        kernels.append([ops.convert_to_numpy(layer.qkv.kernel) for layer in layers])
    assert np.abs(kernels[0][0] - kernels[0][1]).max() > 0.01
    np.testing.assert_array_equal(kernels[0], kernels[1])


@pytest.mark.parametrize("frozen", [0, 1, 3])
def test_a_stage_is_a_quarter_of_the_blocks(small, frozen):
    del small
    backbone = build.build_backbone(BackboneConfig(name="vitdet_base", frozen_stages=frozen))
    learns = {layer.name: layer.trainable for layer in backbone.layers if layer.weights}
    assert learns["patches"] == (frozen < 1) and learns["scale2_deconv1"]
    for block in range(1, 5):
        assert learns[f"block{block}_attention"] == (block + 1 > frozen)
    assert [tuple(shape) for shape in backbone.compute_output_shape((2, *FRAME, 3))] == [
        (2, FRAME[0] // stride, FRAME[1] // stride, channels) for stride, channels in ((4, 4), (8, 8), (16, 16), (32, 16))
    ]
