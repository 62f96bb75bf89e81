"""A first convolution learnt on some channels reads others, and grey looks to it as it did."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from small_network import make_batch, small_config, train, with_small_backbone
from tensors import compute

from maskrcnn.config import presets
from maskrcnn.model.mask_rcnn import Network
from maskrcnn.weights.checkpoint import Checkpoint, put
from maskrcnn.weights.models import transfer
from maskrcnn.weights.stem import inflate, inflation, stem_kernel

pytestmark = pytest.mark.backend
not_on_jax = pytest.mark.skipif(
    keras.backend.backend() == "jax", reason="the same code for other shapes, which takes JAX long to compile"
)

EAGER = keras.backend.backend() == "tensorflow"  # a dozen steps take less than to trace one
GREY = {"image__mean": (110.0,) * 3, "image__std": (60.0,) * 3, "detect__score": 0.0}  # the same for red, green and blue


def network(channels: int = 3) -> Network:
    with with_small_backbone():
        return Network(presets.with_channels(small_config(**GREY), channels), seed=0)


@pytest.fixture(scope="module")
def rgb() -> Network:
    keras.utils.set_random_seed(0)
    return network()


def kernel_of(model: Network) -> np.ndarray:
    return np.array(keras.ops.convert_to_numpy(stem_kernel(model.backbone)))


@pytest.mark.parametrize("channels", [1, 5])
def test_inflated_weights_answer_grey_images_as_before(rgb, channels):
    batch = make_batch(channels=1)
    answers = []
    for model in (rgb, network(channels)):
        transfer(rgb, model)
        images = batch["images"].repeat(model.config.image.channels, axis=3)
        answers.append(compute(model.infer, images, batch["sizes"]))
    assert answers[0].valid.any()
    for one, other in zip(*answers, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("channels", [pytest.param(1, marks=not_on_jax), 2, pytest.param(5, marks=not_on_jax)])
def test_a_model_for_any_channels_learns_and_tells_inflated_ones_apart(rgb, channels):
    model = network(channels)
    transfer(rgb, model)
    assert np.ptp(kernel_of(model), axis=2).max() == 0
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), run_eagerly=EAGER)
    losses = train(model, make_batch(num_rows=16, channels=channels), steps=6)["loss"]
    assert losses[-1] < 0.97 * losses[0]
    assert channels == 1 or np.ptp(kernel_of(model), axis=2).max() > 1e-4


@pytest.mark.parametrize(("old", "new"), [(3, 1), (3, 2), (3, 16), (1, 3), (2, 4), (4, 4)])
def test_the_sum_over_channels_stays_and_all_channels_are_alike(old, new):
    kernel = np.random.default_rng(0).normal(size=(3, 3, old, 8)).astype(np.float32)
    inflated = inflate(kernel, (3, 3, new, 8))
    assert inflated.shape == (3, 3, new, 8) and inflated.dtype == np.float32
    np.testing.assert_allclose(inflated.sum(axis=2), kernel.sum(axis=2), atol=1e-5)
    assert np.array_equal(inflated, kernel) if old == new else np.ptp(inflated, axis=2).max() == 0


@pytest.mark.parametrize("shape", [(7, 7, 4, 8), (3, 3, 4, 16), (3, 3, 8)])
def test_a_kernel_that_differs_in_more_than_channels_is_left_to_be_refused(shape):
    kernel = np.zeros((3, 3, 3, 8), np.float32)
    assert inflate(kernel, shape) is kernel


def test_checkpoints_of_other_projects_are_inflated_too(rgb):
    arrays = {weight.path: np.array(keras.ops.convert_to_numpy(weight)) for weight in rgb.weights}
    model = network(5)
    report = put(Checkpoint("tests", rgb.config.categories, {}, arrays, {path: path for path in arrays}), model)
    np.testing.assert_allclose(
        kernel_of(model), kernel_of(rgb).mean(axis=2, keepdims=True).repeat(5, axis=2) * 3 / 5, atol=1e-6
    )
    assert not report.remade and not report.unused
    arrays[stem_kernel(rgb.backbone).path] = np.zeros((5, 5, 3, 8), np.float32)
    with pytest.raises(ValueError, match=r"has shape \(5, 5, 3, 8\) as 'stage1_conv/kernel'; the model needs \(3, 3, 5, 8\)"):
        put(Checkpoint("tests", rgb.config.categories, {}, arrays, {path: path for path in arrays}), model)


def test_people_are_told():
    assert "reads 3 channels" not in inflation(3, 4) and "read 3 channels" in inflation(3, 4) and "3/4" in inflation(3, 4)
