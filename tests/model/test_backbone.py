"""Laws of the backbones."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
from small_network import FRAME, make_batch, small_network, train

from maskrcnn.config import BackboneConfig
from maskrcnn.model.backbone import BLOCKS, STAGE_ENDS, build_backbone, freeze

CHANNELS = {"resnet50": (256, 512, 1024, 2048), "resnet101": (256, 512, 1024, 2048), "mobilenet_v2": (144, 192, 576, 1280)}
# Their graph of layers is the same on every backend, and JAX takes long to fill it with numbers.
real_backbones = pytest.mark.slow


@functools.cache
def backbone(name: str) -> keras.Model:
    return build_backbone(BackboneConfig(name=name))


@real_backbones
@pytest.mark.parametrize("name", CHANNELS)
@pytest.mark.parametrize("frame", [(64, 96), (160, 96)])
def test_c2_to_c5_halve_the_picture_from_a_quarter_on(name, frame):
    shapes = backbone(name).compute_output_shape((2, *frame, 3))
    assert [tuple(shape) for shape in shapes] == [
        (2, frame[0] // stride, frame[1] // stride, channels) for stride, channels in zip((4, 8, 16, 32), CHANNELS[name])
    ]


@real_backbones
@pytest.mark.parametrize("name", CHANNELS)
@pytest.mark.parametrize("norm", ["frozen", "live"])
@pytest.mark.parametrize("frozen_stages", range(6))
def test_what_is_frozen_is_all_up_to_the_stage_and_norms_where_the_config_says(name, norm, frozen_stages):
    model = backbone(name)
    freeze(model, BackboneConfig(name=name, norm=norm, frozen_stages=frozen_stages))
    names = [layer.name for layer in model.layers]
    frozen_until = names.index(STAGE_ENDS[name][frozen_stages - 1]) if frozen_stages else -1
    for place, layer in enumerate(model.layers):
        is_norm = isinstance(layer, keras.layers.BatchNormalization)
        assert layer.trainable == (place > frozen_until and (norm == "live" or not is_norm)), layer.name


@real_backbones
@pytest.mark.parametrize("name", list(BLOCKS))
def test_resnet_with_the_stride_in_the_1x1_is_that_of_keras_applications(name):
    """The same weights by the layers' names give the same C5, so published weights fit."""
    theirs = {"resnet50": keras.applications.ResNet50, "resnet101": keras.applications.ResNet101}[name](
        include_top=False, weights=None, input_shape=(None, None, 3)
    )
    rng = np.random.default_rng(0)
    for layer in theirs.layers:  # norms too should matter
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.8, 1.2, weight.shape) for weight in layer.get_weights()])
    ours = build_backbone(BackboneConfig(name=name, stride_in="1x1"))
    for layer in ours.layers:
        layer.set_weights(theirs.get_layer(layer.name).get_weights() if layer.weights else [])
    images = rng.normal(size=(1, *FRAME, 3)).astype(np.float32)
    expected = keras.ops.convert_to_numpy(theirs(images))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(ours(images)[-1]), expected, rtol=1e-3, atol=1e-5 * expected.max())


@real_backbones
def test_the_stride_is_in_the_convolution_that_the_config_names():
    for stride_in, places in (("1x1", (2, 1)), ("3x3", (1, 2))):
        model = (
            build_backbone(BackboneConfig(name="resnet50", stride_in=stride_in)) if stride_in == "3x3" else backbone("resnet50")
        )
        for stage in (3, 4, 5):
            strides = [model.get_layer(f"conv{stage}_block1_{number}_conv").strides[0] for number in (1, 2)]
            assert tuple(strides) == places, stride_in
            assert model.get_layer(f"conv{stage}_block1_0_conv").strides == (2, 2)


def test_frozen_stages_do_not_move_in_a_training_step_and_live_ones_do(network):
    weights = {weight.path: weight for weight in network.backbone.weights}
    before = {path: np.array(keras.ops.convert_to_numpy(weight)) for path, weight in weights.items()}
    train(network, make_batch())
    for path, weight in weights.items():
        moved = not np.array_equal(keras.ops.convert_to_numpy(weight), before[path])
        frozen = "stage1" in path or "stage2" in path  # norms' means and variances too
        assert moved != frozen, path


def test_frozen_norms_do_not_move_in_a_training_step():
    """No step is taken: in training as well, the norms use their stored means and do not renew them."""
    network = small_network(backbone__norm="frozen", backbone__frozen_stages=0)
    images = keras.ops.convert_to_tensor(np.random.default_rng(0).normal(3, 2, (2, *FRAME, 3)).astype(np.float32))
    before = network.backbone.get_weights()
    training, inference = (network.backbone(images, training=training)[-1] for training in (True, False))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(training), keras.ops.convert_to_numpy(inference))
    for one, other in zip(before, network.backbone.get_weights()):
        np.testing.assert_array_equal(one, other)
    trained = {weight.path for weight in network.backbone.trainable_weights}
    assert len(trained) == 2 * 5 and all("conv" in path for path in trained)


def kernels_of(config: BackboneConfig) -> dict[str, tuple[int, ...]]:
    return {weight.path: tuple(weight.shape) for weight in build_backbone(config).weights}


@real_backbones
def test_groups_and_biases_are_those_asked_for():
    shapes = kernels_of(BackboneConfig(groups=32, width_per_group=8, conv_bias=False))
    assert shapes["conv2_block1_2_conv/kernel"] == (3, 3, 8, 256)  # ResNeXt 32x8d: 256 channels, each from 8 of them
    assert shapes["conv5_block3_2_conv/kernel"] == (3, 3, 64, 2048)
    assert shapes["conv5_block3_3_conv/kernel"] == (1, 1, 2048, 2048)
    assert not any(path.endswith("conv/bias") for path in shapes)
    assert any(path.endswith("conv/bias") for path in kernels_of(BackboneConfig()))


@real_backbones
def test_the_stem_pools_as_the_source_pads():
    """TensorFlow's "same" begins at the first pixel, zeros on all sides one before it."""
    images = np.random.default_rng(0).normal(size=(1, 64, 64, 3)).astype(np.float32)
    pooled = {}
    for stem_pool in ("symmetric", "same"):
        model = build_backbone(BackboneConfig(stem_pool=stem_pool))
        stem = keras.Model(model.input, [model.get_layer(name).output for name in ("conv1_relu", "pool1_pool")])
        before, pooled[stem_pool] = (keras.ops.convert_to_numpy(output)[0] for output in stem(images))
        assert before.shape == (32, 32, 64)
        first = {"symmetric": -1, "same": 0}[stem_pool]
        for row, column in ((0, 0), (3, 7), (15, 15)):
            window = [slice(max(first + 2 * place, 0), first + 2 * place + 3) for place in (row, column)]
            np.testing.assert_allclose(pooled[stem_pool][row, column], before[*window].max(axis=(0, 1)))
