"""Laws of the backbones."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
from small_network import FRAME, make_batch, small_network, train

from maskrcnn.config.backbones import EFFICIENTNETS
from maskrcnn.config.model import BackboneConfig
from maskrcnn.model.backbones import stochastic_depth
from maskrcnn.model.backbones.build import BUILDERS, build_backbone
from maskrcnn.model.backbones.efficientnet import round_width
from maskrcnn.model.backbones.mobilenet_v2 import ENDS
from maskrcnn.model.backbones.stages import Staged, freeze
from maskrcnn.model.backbones.stochastic_depth import drop_rates

CHANNELS = {"resnet50": (256, 512, 1024, 2048), "resnet101": (256, 512, 1024, 2048), "mobilenet_v2": (144, 192, 576, 1280)}
# Their graph of layers is the same on every backend, and JAX takes long to fill it with numbers.
real_backbones = pytest.mark.slow


@functools.cache
def backbone(name: str) -> keras.Model:
    return build_backbone(BackboneConfig(name=name))


@real_backbones
@pytest.mark.parametrize("name", CHANNELS)
@pytest.mark.parametrize("frame", [(64, 96), (160, 96)])
def test_c2_to_c5_halve_the_image_from_a_quarter_on(name, frame):
    shapes = backbone(name).compute_output_shape((2, *frame, 3))
    assert [tuple(shape) for shape in shapes] == [
        (2, frame[0] // stride, frame[1] // stride, channels) for stride, channels in zip((4, 8, 16, 32), CHANNELS[name])
    ]


@real_backbones
@pytest.mark.parametrize("name", CHANNELS)
@pytest.mark.parametrize("norm", ["frozen", "live"])
@pytest.mark.parametrize("frozen_stages", range(6))
def test_what_is_frozen_is_all_up_to_the_stage_and_norms_where_the_config_says(name, norm, frozen_stages):
    model, ends = backbone(name), BUILDERS[name](BackboneConfig(name=name), 3).ends
    freeze(model, ends, BackboneConfig(name=name, norm=norm, frozen_stages=frozen_stages))
    names = [layer.name for layer in model.layers]
    frozen_until = names.index(ends[frozen_stages - 1]) if frozen_stages else -1
    assert len(names) > 100
    for place, layer in enumerate(model.layers):
        is_norm = isinstance(layer, keras.layers.BatchNormalization)
        assert layer.trainable == (place > frozen_until and (norm == "live" or not is_norm)), layer.name


@real_backbones
@pytest.mark.parametrize(
    ("name", "application"), [("efficientnet_b0", "EfficientNetB0"), ("efficientnet_v2_b0", "EfficientNetV2B0")]
)
def test_layers_of_an_efficientnet_are_named_as_in_keras_applications(name, application):
    theirs = getattr(keras.applications, application)(include_top=False, weights=None, input_shape=(64, 64, 3))
    preprocessing = keras.layers.Normalization
    wanted = {
        layer.name: [tuple(weight.shape) for weight in layer.weights]
        for layer in theirs.layers
        if layer.weights and not isinstance(layer, preprocessing)
    }
    assert {
        layer.name: [tuple(weight.shape) for weight in layer.weights] for layer in backbone(name).layers if layer.weights
    } == wanted


def test_the_two_efficientnets_round_widths_otherwise():
    """16 channels at a width of 1.2 are 19.2, whose nearest multiple of 8 is less than nine tenths of it."""
    first, second = (EFFICIENTNETS[name] for name in ("efficientnet_b3", "efficientnet_v2_b3"))
    assert (round_width(first, 16), round_width(second, 16)) == (24, 16)
    assert [round_width(second, width) for *_, width in second.stages] == [16, 40, 56, 112, 136, 232]


@pytest.mark.parametrize(("padding", "first"), [("same", 0), ("symmetric", 1)])
def test_an_efficientnet_pads_as_the_source_does(padding, first):
    """TensorFlow puts no zeros before an even side, PyTorch one on each."""
    config = BackboneConfig(name="efficientnet_b0", padding=padding)
    model = build_backbone(config)
    stem = keras.Model(model.input, model.get_layer("stem_conv").output)
    kernel = np.zeros((3, 3, 3, 32), np.float32)
    kernel[0, 0, 0] = 1.0  # the upper left pixel of each window
    stem.get_layer("stem_conv").set_weights([kernel])
    image = np.arange(64, dtype=np.float32).reshape(1, 8, 8, 1).repeat(3, axis=3)
    found = keras.ops.convert_to_numpy(stem(image))[0, ..., 0]
    wanted = np.pad(image[0, ..., 0], ((first, 2), (first, 2)))[:8:2, :8:2]
    np.testing.assert_array_equal(found, wanted)


@real_backbones
@pytest.mark.parametrize("name", ["resnet50", "resnet101"])
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
    assert any("stage1" in path for path in weights) and any("stage4" in path for path in weights)
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


def residual_model() -> Staged:
    """Four residual blocks whose stages are named as MobileNetV2's, each adding a hundred times what came before."""
    images = keras.Input((4, 4, 1))
    x = keras.layers.ReLU(name="Conv1_relu")(images)
    for block in range(1, 5):
        residual = keras.layers.Rescaling(100.0, name=f"block_{block}_conv")(x)
        x = keras.layers.Add(name=f"block_{block}_add")([x, residual])
        if block < 4:
            x = keras.layers.ReLU(name=ENDS[block])(x)
    return Staged(keras.Model(images, x), ENDS)


@pytest.mark.parametrize(("frozen_stages", "first"), [(0, 0), (1, 0), (2, 1), (4, 3)])
def test_later_blocks_are_left_out_more_often_and_those_of_frozen_stages_never(frozen_stages, first):
    config = BackboneConfig(name="mobilenet_v2", stochastic_depth=0.8, frozen_stages=frozen_stages)
    rates = drop_rates(residual_model(), config)
    assert list(rates) == [f"block_{block}_add" for block in range(1, 5)][first:]
    np.testing.assert_allclose(list(rates.values()), [0.2, 0.4, 0.6, 0.8][first:])


def test_in_training_blocks_are_left_out_of_whole_images_and_the_mean_is_kept():
    """A block multiplies by 101, or by 1 where it is left out, or by 1 + 100 / (1 - rate) where it is kept in training."""
    keras.utils.set_random_seed(0)
    config = BackboneConfig(name="mobilenet_v2", stochastic_depth=0.8, frozen_stages=4)  # the last block alone
    model = stochastic_depth.with_stochastic_depth(residual_model(), config).model
    images = np.ones((400, 4, 4, 1), np.float32)
    ends = {training: keras.ops.convert_to_numpy(model(images, training=training)) for training in (False, True)}
    np.testing.assert_allclose(ends[False], 101.0**4, rtol=1e-5)
    factors = ends[True] / 101.0**3
    np.testing.assert_allclose(factors, np.broadcast_to(factors[:, :1, :1], factors.shape))
    kept = factors[:, 0, 0, 0] > 2
    np.testing.assert_allclose(factors[kept], 1 + 100 / 0.2, rtol=1e-5)
    np.testing.assert_allclose(factors[~kept], 1.0, rtol=1e-5)
    assert 0.1 < kept.mean() < 0.3
    assert factors.mean() == pytest.approx(101.0, rel=0.4)


def test_what_is_left_out_follows_from_the_models_variables():
    """So a run that restores them goes on with the same draws."""
    config = BackboneConfig(name="mobilenet_v2", stochastic_depth=0.8)
    model = stochastic_depth.with_stochastic_depth(residual_model(), config).model
    before = [np.array(keras.ops.convert_to_numpy(variable)) for variable in model.variables]
    assert before
    images = np.ones((40, 4, 4, 1), np.float32)
    first, second = (keras.ops.convert_to_numpy(model(images, training=True)) for _ in range(2))
    for variable, value in zip(model.variables, before):
        variable.assign(value)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(model(images, training=True)), first)
    assert not np.array_equal(first, second)


@real_backbones
@pytest.mark.parametrize(("name", "num_blocks"), [("resnet50", 16 - 3), ("mobilenet_v2", 10 - 1)])
def test_stochastic_depth_changes_no_weights_name_and_no_answer_in_inference(name, num_blocks):
    plain, dropping = (build_backbone(BackboneConfig(name=name, stochastic_depth=rate)) for rate in (0.0, 0.5))
    weights = {weight.path: weight for weight in plain.weights}
    assert {weight.path for weight in dropping.weights} == set(weights)
    drops = [layer for layer in dropping.layers if isinstance(layer, keras.layers.Dropout)]
    assert len(drops) == num_blocks and drops[-1].rate == 0.5  # frozen_stages=2: no block of C2 is left out
    for weight in dropping.weights:
        assert weight.trainable == weights[weight.path].trainable
        weight.assign(weights[weight.path])
    images = np.random.default_rng(0).normal(size=(1, *FRAME, 3)).astype(np.float32)
    answers = [[keras.ops.convert_to_numpy(c) for c in model(images)] for model in (plain, dropping)]
    for one, other in zip(*answers):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
    dropped = keras.ops.convert_to_numpy(dropping(images, training=True)[-1])
    assert np.abs(dropped - answers[0][-1]).max() > 0.01 * answers[0][-1].max()


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_a_rate_that_leaves_out_everything_is_refused(rate):
    with pytest.raises(ValueError, match="at least 0 and less than 1"):
        BackboneConfig(stochastic_depth=rate)
