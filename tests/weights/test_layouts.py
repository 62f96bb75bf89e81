"""A layer computes the same in both layouts, and each layout undoes itself."""

import keras
import numpy as np
import pytest

from maskrcnn.weights import layouts
from maskrcnn.weights.checkpoint import Layout

SHAPES = {
    "VECTOR": (5,),
    "CONV": (4, 3, 2, 5),
    "DEPTHWISE": (4, 1, 3, 5),
    "CHANNEL_FACTORS": (4, 1, 1),
    "MATRIX": (9, 3),
    "DENSE": (4, 3),
    "LOGITS_BACKGROUND_LAST": (4, 3),
    "LOGIT_BIAS_BACKGROUND_LAST": (4,),
    "DELTAS_AFTER_BACKGROUND": (16, 3),
    "DELTA_BIAS_AFTER_BACKGROUND": (16,),
    "MERGED": (3, 8),
    "MERGED_VECTOR": (8,),
    "MASKS": (4, 3, 1, 1),
    "MASKS_AFTER_BACKGROUND": (4, 3, 1, 1),
    "MASK_BIAS_AFTER_BACKGROUND": (4,),
}


def values(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


# There is no way back from a part of a layer; see `test_mmdet`.
PARTS = {"SEESAW_LOGITS", "SEESAW_LOGIT_BIAS", "SEESAW_OBJECT", "SEESAW_OBJECT_BIAS"}


def test_every_layout_is_tested():
    assert {name for name, value in vars(layouts).items() if isinstance(value, Layout)} == set(SHAPES) | PARTS


@pytest.mark.parametrize("name", SHAPES)
def test_to_theirs_undoes_to_ours(name):
    layout, theirs = getattr(layouts, name), values(*SHAPES[name])
    back = layout.to_theirs(layout.to_ours(theirs))
    if "AFTER_BACKGROUND" in name:  # whose rows are dropped, and come back as zeros
        num_rows = 4 if "DELTA" in name else 1
        theirs[:num_rows] = 0
    np.testing.assert_array_equal(back, theirs)


def test_first_dense_undoes_itself():
    layout, theirs = layouts.first_dense(3), values(5, 2 * 9)
    np.testing.assert_array_equal(layout.to_theirs(layout.to_ours(theirs)), theirs)


@pytest.mark.parametrize("name", SHAPES)
def test_arrays_of_another_rank_are_refused(name):
    with pytest.raises(ValueError):
        getattr(layouts, name).to_ours(values(2, 2, 2, 2, 2))


@pytest.mark.parametrize("groups", [1, 2])
def test_convolution_computes_as_in_torch(groups):
    torch = pytest.importorskip("torch")
    kernel, image = values(6, 4 // groups, 3, 3), values(1, 8, 9, 4, seed=1)
    expected = torch.nn.functional.conv2d(torch.tensor(image).permute(0, 3, 1, 2), torch.tensor(kernel), groups=groups)
    layer = keras.layers.Conv2D(6, 3, groups=groups, use_bias=False)
    layer.build(image.shape)
    layer.set_weights([layouts.CONV.to_ours(kernel)])
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(image)), expected.permute(0, 2, 3, 1).numpy(), atol=1e-5)


def test_deconvolution_computes_as_in_torch():
    torch = pytest.importorskip("torch")
    kernel, image = values(3, 5, 2, 2), values(1, 4, 6, 3, seed=1)
    expected = torch.nn.functional.conv_transpose2d(torch.tensor(image).permute(0, 3, 1, 2), torch.tensor(kernel), stride=2)
    layer = keras.layers.Conv2DTranspose(5, 2, strides=2, use_bias=False)
    layer.build(image.shape)
    layer.set_weights([layouts.CONV.to_ours(kernel)])
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(image)), expected.permute(0, 2, 3, 1).numpy(), atol=1e-5)


def test_first_dense_layer_sees_pooled_features_as_in_torch():
    kernel, pooled = values(5, 4 * 9), values(2, 4, 3, 3, seed=1)  # (N, C, P, P)
    expected = pooled.reshape(2, -1) @ kernel.T
    ours = pooled.transpose(0, 2, 3, 1).reshape(2, -1) @ layouts.first_dense(3).to_ours(kernel)
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_background_goes_first():
    rows = np.arange(4.0)  # of classes 0, 1, 2 and the background
    np.testing.assert_array_equal(layouts.LOGIT_BIAS_BACKGROUND_LAST.to_ours(rows), [3, 0, 1, 2])
    np.testing.assert_array_equal(layouts.LOGITS_BACKGROUND_LAST.to_ours(rows[:, None]), [[3, 0, 1, 2]])
    np.testing.assert_array_equal(layouts.MASK_BIAS_AFTER_BACKGROUND.to_ours(rows), [1, 2, 3])
    np.testing.assert_array_equal(layouts.DELTA_BIAS_AFTER_BACKGROUND.to_ours(np.arange(8.0)), [4, 5, 6, 7])
