"""Any Keras model as a backbone: which of its tensors are the levels, what it brings along, and that it is saved."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers
from small_network import FRAME, make_batch, predict, small_config, train

from maskrcnn.config import fields
from maskrcnn.config.model import BackboneConfig
from maskrcnn.model.backbones import keras_model
from maskrcnn.model.backbones.build import build_backbone
from maskrcnn.model.backbones.folding import FoldedBackbone
from maskrcnn.model.backbones.one_scale import PatchMap
from maskrcnn.model.mask_rcnn import Network

ENDS = {  # what the hand-made tables of MobileNetV2 and the ResNets say, and what was read off the others' graphs
    "ResNet50": ("conv1_relu", "conv2_block3_out", "conv3_block4_out", "conv4_block6_out", "conv5_block3_out"),
    "MobileNetV2": ("block_1_expand_relu", "block_3_expand_relu", "block_6_expand_relu", "block_13_expand_relu", "out_relu"),
    "DenseNet121": ("conv1_relu", "pool2_conv", "pool3_conv", "pool4_conv", "relu"),
    "VGG16": ("block2_conv2", "block3_conv3", "block4_conv3", "block5_conv3", "block5_pool"),
}


def own_model(side: int | None = None, *, scale: bool = True, classes: int = 0) -> keras.Model:
    """As a user would write it: residual blocks with `+`, a preprocessing layer, perhaps a classifier, no layer named."""
    x = images = keras.Input((side, side, 3))
    x = layers.Rescaling(1 / 255)(x) if scale else x
    for stage in range(5):
        x = layers.Conv2D(4 * (stage + 1), 3, strides=2, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        x = x + layers.Conv2D(4 * (stage + 1), 3, padding="same")(x)
    if classes:
        x = layers.Dense(classes)(layers.Flatten()(x))
    return keras.Model(images, x, name="own")


def arrays(tensors) -> list[np.ndarray]:
    return [np.asarray(keras.ops.convert_to_numpy(tensor)) for tensor in tensors]


def test_levels_are_the_last_tensors_of_each_stride_that_nothing_goes_around():
    staged = keras_model.adopt(own_model())
    shapes = [tuple(shape) for shape in staged.model.compute_output_shape((1, 64, 96, 3))]
    assert shapes == [(1, 64 // 2**level, 96 // 2**level, 4 * level) for level in (2, 3, 4, 5)]
    model = own_model()
    adopted = keras_model.adopt(model).model
    image = np.random.default_rng(0).normal(size=(1, *FRAME, 3)).astype(np.float32)
    np.testing.assert_allclose(*arrays([adopted(image)[-1], model(image)]), rtol=1e-5)  # C5 is the sum at the end


@pytest.mark.slow
@pytest.mark.parametrize("name", ENDS)
def test_levels_of_known_models_are_those_that_detectors_take(name):
    model = getattr(keras.applications, name)(weights=None, include_top=False, input_shape=(None, None, 3))
    assert keras_model.adopt(model).ends == ENDS[name]


def test_a_model_for_one_size_and_its_classifier_serve_frames_of_any_size():
    staged = keras_model.adopt(own_model(128, classes=10))
    assert [tensor.shape for tensor in staged.model.outputs] == [(None, None, None, 4 * level) for level in (2, 3, 4, 5)]
    assert not any(isinstance(layer, layers.Dense) for layer in staged.model.layers)


def test_layers_that_are_named_overrule_and_so_do_several_outputs():
    model = own_model()
    relus = [layer.name for layer in model.layers if isinstance(layer, layers.ReLU)][1:]
    assert keras_model.adopt(model, levels=relus).ends[1:] == tuple(relus)
    several = keras.Model(model.input, [model.get_layer(name).output for name in relus])
    assert keras_model.adopt(several).ends[1:] == tuple(relus)
    with pytest.raises(ValueError, match="levels name four layers of strides"):
        keras_model.adopt(model, levels=relus[::-1])


class WithPyramid(keras.Model):
    """As KerasHub's backbones: a functional model with a property."""

    def __init__(self, **options):
        whole = own_model()
        super().__init__(whole.input, whole.output, **options)
        relus = [layer for layer in self.layers if isinstance(layer, layers.ReLU)]
        self.pyramid_outputs = {f"P{level}": relu.output for level, relu in enumerate(relus, start=1)}


def test_a_pyramid_of_its_own_is_taken():
    ends = keras_model.adopt(WithPyramid()).ends
    assert len(ends) == 5 and all(name.startswith("re_lu") for name in ends)


def unpadded_stem() -> keras.Model:
    x = images = keras.Input((None, None, 3))
    for _ in range(5):
        x = layers.Conv2D(4, 3, strides=2, padding="valid")(x)
    return keras.Model(images, x, name="unpadded")


def patches_of_8() -> keras.Model:
    images = keras.Input((None, None, 3))
    return keras.Model(images, layers.Conv2D(4, 8, strides=8)(images), name="patches")


def two_inputs() -> keras.Model:
    images = [keras.Input((None, None, 3)) for _ in range(2)]
    return keras.Model(images, layers.Add()(images))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (unpadded_stem, "'unpadded' has none for 4, 8, 16, 32: it makes a map of 111×143 of a frame of 224×288 pixels"),
        (patches_of_8, "'patches' has none for 4, 16, 32: the strides of its maps are 8"),
        (two_inputs, "is none: it has 2 inputs"),
        (lambda: keras.Sequential([layers.Conv2D(4, 3)]), "A backbone is a built keras.Model"),
        (lambda: "resnet50", "a str is none"),
    ],
)
def test_what_is_no_backbone_is_refused_in_one_line(model, message):
    with pytest.raises(ValueError, match=message) as caught:
        keras_model.adopt(model())
    assert "\n" not in str(caught.value)


def test_a_copy_has_the_weights_and_leaves_the_model_alone():
    model = own_model(classes=0)
    copy = keras_model.copied(model)
    assert [weight.shape for weight in copy.weights] == [weight.shape for weight in model.weights]
    for one, other in zip(copy.get_weights(), model.get_weights()):
        np.testing.assert_array_equal(one, other)
    assert not {id(layer) for layer in copy.layers} & {id(layer) for layer in model.layers}


class Unregistered(layers.Layer):
    """A layer of the user's that Keras does not know by name."""

    def call(self, x):
        return x


@pytest.mark.parametrize("layer", [Unregistered, lambda: layers.Lambda(lambda x: x)])
def test_what_cannot_be_saved_is_refused_before_it_is_trained(layer):
    inner = own_model()
    model = keras.Model(inner.input, layer()(inner.output), name="unsaved")
    with pytest.raises(ValueError, match="The backbone 'unsaved' cannot be saved"):
        keras_model.copied(model)


def test_colours_are_the_models_own_or_those_of_its_kind():
    said = keras_model.conventions(own_model())
    assert (said["image__mean"], said["image__std"]) == ((0.0,) * 3, (1.0,) * 3)  # a layer scales
    said = keras_model.conventions(own_model(scale=False))
    assert said["image__mean"] == (123.675, 116.28, 103.53) and said["image__channel_order"] == "rgb"
    for name, mean in (("vgg16", 123.68), ("mobilenetv2_1.00_224", 127.5), ("densenet121", 123.675)):
        inner = own_model(scale=False)
        assert keras_model.conventions(keras.Model(inner.input, inner.output, name=name))["image__mean"][0] == mean


def test_norms_that_saw_nothing_are_live_and_what_is_frozen_stays_so():
    model = own_model()
    said = keras_model.conventions(model)
    assert (said["backbone__norm"], said["backbone__frozen_stages"]) == ("live", 0)
    next(layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)).moving_mean.assign([0.5] * 4)
    assert keras_model.conventions(model)["backbone__norm"] == "frozen"
    first = next(layer for layer in model.layers if isinstance(layer, layers.ReLU))
    for layer in model.layers[: model.layers.index(first) + 3]:  # the stem and the sum that ends it
        layer.trainable = False
    assert keras_model.conventions(model)["backbone__frozen_stages"] == 1
    model.trainable = False
    assert keras_model.conventions(model)["backbone__frozen_stages"] == 5


class Doubled(layers.Conv2D):
    """A convolution of the user's own, which no fold may take for Keras's."""

    def call(self, x):
        return 2 * super().call(x)


def test_folding_changes_no_answer_of_layers_it_does_not_know():
    images = keras.Input((None, None, 3))
    model = keras.Model(images, [layers.BatchNormalization()(Doubled(4, 3, padding="same")(images))])
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([np.random.default_rng(0).uniform(0.5, 1.5, 4)] * 4)
    image = np.random.default_rng(1).normal(size=(1, 8, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(*arrays([FoldedBackbone(model)(image)[0], model(image)[0]]), rtol=1e-5, atol=1e-5)


def network_with(model: keras.Model, **changes) -> Network:
    config = fields.replace(small_config(**changes), **keras_model.conventions(model))
    return Network(config, backbone=keras_model.copied(model))


def check_a_step_and_the_file(model: keras.Model, tmp_path, monkeypatch) -> None:
    """A training step moves the backbone; the file that is saved then opens and answers the same."""
    monkeypatch.setitem(keras.saving.get_custom_objects(), "Network", Network)
    network, batch = network_with(model), make_batch()
    before = [np.array(weight) for weight in network.backbone.get_weights()]
    network.compile(optimizer="adam")
    losses = train(network, batch)
    assert len(losses) >= 6 and all(np.isfinite(values).all() for values in losses.values())
    moved = [not np.array_equal(one, other) for one, other in zip(before, network.backbone.get_weights(), strict=True)]
    assert sum(moved) > len(moved) // 2
    network.save(tmp_path / "model.keras")
    opened = keras.saving.load_model(tmp_path / "model.keras")
    assert opened.config == network.config
    answers = [predict(one, batch) for one in (network, opened)]
    for one, other in zip(*answers):
        np.testing.assert_allclose(*arrays([one, other]), rtol=1e-4, atol=1e-4)


def test_a_users_model_trains_is_saved_and_answers_the_same_when_opened(tmp_path, monkeypatch):
    check_a_step_and_the_file(own_model(), tmp_path, monkeypatch)


@keras.saving.register_keras_serializable(package="tests")
class ClassToken(layers.Layer):
    """A learned place before the patches, as vision transformers have it."""

    def build(self, input_shape):
        self.token = self.add_weight((1, 1, input_shape[-1]), initializer="ones", name="token")

    def call(self, x):
        token = keras.ops.broadcast_to(self.token, (keras.ops.shape(x)[0], 1, x.shape[-1]))
        return keras.ops.concatenate([token, x], axis=1)

    def compute_output_spec(self, x):
        return keras.KerasTensor((x.shape[0], x.shape[1] and x.shape[1] + 1, x.shape[2]), self.compute_dtype)


def vision_transformer(*, token: bool = False, classes: int = 0, as_map: bool = False) -> keras.Model:
    """A plain one: patches of 16 pixels, two blocks, all of one scale."""
    x = images = keras.Input((None, None, 3))
    x = layers.Reshape((-1, 8))(layers.Conv2D(8, 16, strides=16)(x))
    x = ClassToken()(x) if token else x
    for _ in range(2):
        normal = layers.LayerNormalization()(x)
        x = x + layers.MultiHeadAttention(2, 4)(normal, normal)
        x = x + layers.Dense(8)(layers.Dense(16, activation="gelu")(layers.LayerNormalization()(x)))
    x = layers.LayerNormalization()(x)
    if as_map:
        x = layers.Conv2D(8, 1)(PatchMap()(images, x))
    if classes:
        x = layers.Dense(classes)(layers.GlobalAveragePooling1D()(x))
    return keras.Model(images, x, name="vit")


@pytest.mark.parametrize("options", [{}, {"token": True}, {"classes": 10, "token": True}, {"as_map": True}])
def test_a_plain_vision_transformer_becomes_four_scales(options):
    model = vision_transformer(**options)
    staged = keras_model.adopt(model)
    shapes = [tuple(shape) for shape in staged.model.compute_output_shape((1, 64, 96, 3))]
    assert shapes == [(1, 16, 24, 2), (1, 8, 12, 4), (1, 4, 6, 8), (1, 2, 3, 8)]
    assert keras_model.conventions(model)["fpn__top_down"] is False
    assert staged.ends[0].startswith("conv2d") and len(set(staged.ends)) == 5


def test_the_map_of_a_vision_transformer_has_its_patches_in_their_places():
    model = vision_transformer(token=True)
    image = np.random.default_rng(0).normal(size=(2, 64, 96, 3)).astype(np.float32)
    (sequence,), maps = arrays([model(image)]), arrays(keras_model.adopt(model).model(image))
    np.testing.assert_allclose(maps[2].reshape(2, 24, 8), sequence[:, 1:], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(maps[3], maps[2].reshape(2, 2, 2, 3, 2, 8).max((2, 4)), rtol=1e-4, atol=1e-5)


def test_stages_of_a_vision_transformer_are_the_same_when_opened():
    staged = keras_model.adopt(vision_transformer(token=True))
    again = keras_model.adopt(keras_model.copied(staged.model))
    assert again.ends == staged.ends


def test_a_vision_transformer_trains_is_saved_and_answers_the_same_when_opened(tmp_path, monkeypatch):
    check_a_step_and_the_file(vision_transformer(token=True), tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.eager
@pytest.mark.parametrize("name", ["ConvNeXtTiny", "EfficientNetV2B0"])
def test_keras_applications_train_are_saved_and_answer_the_same_when_opened(name, tmp_path, monkeypatch):
    model = getattr(keras.applications, name)(weights=None, include_top=False)
    check_a_step_and_the_file(model, tmp_path, monkeypatch)


def test_the_name_and_the_model_go_together():
    with pytest.raises(ValueError, match="'resnet50' and a backbone is handed in"):
        Network(fields.replace(small_config(), backbone__name="resnet50"), backbone=own_model())
    with pytest.raises(ValueError, match="'keras' and no backbone is handed in"):
        Network(fields.replace(small_config(), backbone__name="keras"))


def test_layers_named_as_parts_of_the_detector_are_refused():
    inner = own_model()
    model = keras.Model(inner.input, layers.Conv2D(4, 1, name="rpn")(inner.output))
    with pytest.raises(ValueError, match="is named 'rpn', as a part of the detector"):
        network_with(model)


def test_other_channels_than_the_detectors_are_refused():
    with pytest.raises(ValueError, match="takes images of 3 channels, the detector of 1"):
        build_backbone(BackboneConfig(name="keras"), channels=1, model=own_model())
