"""ImageNet weights arrive where they belong, or say in one line why not."""

from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from maskrcnn.config.model import BackboneConfig
from maskrcnn.model.backbones.build import build_backbone
from maskrcnn.weights import backbones
from maskrcnn.weights.stem import stem_kernel

MOBILENET = BackboneConfig(name="mobilenet_v2")


@pytest.fixture(scope="module")
def application() -> keras.Model:
    """A MobileNetV2 of keras.applications with random weights and norms that are not the identity."""
    model = keras.applications.MobileNetV2(weights=None, include_top=False)
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in layer.weights])
    return model


def test_backbone_answers_as_the_application_it_was_read_from(application, tmp_path):
    application.save_weights(tmp_path / "mobilenet.weights.h5")
    backbone = build_backbone(MOBILENET)
    backbones.put(backbones.read(tmp_path / "mobilenet.weights.h5", MOBILENET), backbone)
    images = np.random.default_rng(1).uniform(-1, 1, (1, 64, 96, 3)).astype("float32")
    expected = keras.ops.convert_to_numpy(application(images, training=False))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(backbone(images)[3]), expected, atol=1e-5)


def write_as_published(path: Path, application: keras.Model) -> Path:
    """As the files of `keras.applications` lie for download: of Keras 2, a group a layer, names in attributes."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in application.layers]
        for layer in application.layers:
            group = file.create_group(layer.name)
            names = [f"{layer.name}/{weight.name}:0" for weight in layer.weights]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, value in zip(names, layer.get_weights(), strict=True):
                group[name] = value
    return path


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet50"])
def test_a_published_file_of_keras_applications_is_read(name, application, tmp_path):
    config = BackboneConfig(name=name)
    if name == "resnet50":
        application = keras.applications.ResNet50(weights=None, include_top=False)
    arrays = backbones.read(write_as_published(tmp_path / f"{name}_tf_kernels_notop.h5", application), config)
    expected = {layer.name: layer.get_weights() for layer in application.layers if layer.weights}
    assert arrays.keys() == expected.keys()
    for layer, weights in expected.items():
        for found, given in zip(arrays[layer], weights, strict=True):
            np.testing.assert_array_equal(found, given)
    backbones.put(arrays, build_backbone(config))


def test_own_resnet_is_the_one_of_keras_applications():
    config = BackboneConfig(name="resnet50", stride_in="1x1")
    application = keras.applications.ResNet50(weights=None, include_top=False)
    backbone = build_backbone(config)
    backbones.put({layer.name: layer.get_weights() for layer in application.layers if layer.weights}, backbone)
    images = np.random.default_rng(1).uniform(-100, 100, (1, 64, 96, 3)).astype("float32")
    expected = keras.ops.convert_to_numpy(application(images, training=False))
    answer = keras.ops.convert_to_numpy(backbone(images)[3])
    np.testing.assert_allclose(answer, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("config", [MOBILENET, BackboneConfig(name="resnet50")])
def test_a_backbone_for_other_channels_takes_weights_of_three(config, application):
    """Each convolution that reads the image gets the mean over red, green and blue; no other weight changes."""
    if config.name == "mobilenet_v2":
        arrays = {layer.name: layer.get_weights() for layer in application.layers if layer.weights}
    else:
        arrays = {layer.name: layer.get_weights() for layer in build_backbone(config).layers if layer.weights}
    backbone = build_backbone(config, channels=4)
    assert backbone.input.shape == (None, None, None, 4)
    backbones.put(arrays, backbone)
    first = stem_kernel(backbone).path.partition("/")[0]
    for layer in backbone.layers:
        for kind, (found, given) in enumerate(zip(layer.get_weights(), arrays.get(layer.name, ()), strict=True)):
            if layer.name == first and kind == 0:
                given = given.mean(axis=2, keepdims=True).repeat(4, axis=2) * 3 / 4
            np.testing.assert_allclose(found, given, atol=1e-6)


def test_folded_mobilenet_is_a_convolution_plus_its_bias(shared_weights):
    backbone = build_backbone(MOBILENET)
    path = shared_weights / "mobilenet_v2_imagenet.npz"
    backbones.put(backbones.read(path, MOBILENET), backbone)
    first = keras.Model(backbone.input, backbone.get_layer("bn_Conv1").output)
    image = np.random.default_rng(0).uniform(-1, 1, (1, 32, 32, 3)).astype("float32")
    with np.load(path) as archive:
        kernel, bias = archive["00_conv_kernel"], archive["00_conv_bias"]
    answer = keras.ops.convert_to_numpy(first(image))
    expected = np.einsum("hwc,hwcd->d", image[0, 4:7, 6:9], kernel) + bias  # stride 2, same padding: starts at pixel 2i
    np.testing.assert_allclose(answer[0, 2, 3], expected, atol=1e-4)


def test_folded_mobilenet_refuses_live_norms(shared_weights):
    with pytest.raises(ValueError, match="norms can only stay frozen"):
        backbones.read(shared_weights / "mobilenet_v2_imagenet.npz", BackboneConfig(name="mobilenet_v2", norm="live"))


def test_weights_of_another_backbone_are_refused_by_name(application, tmp_path):
    application.save_weights(tmp_path / "mobilenet.weights.h5")
    with pytest.raises(ValueError, match="does not hold weights of ResNet50"):
        backbones.read(tmp_path / "mobilenet.weights.h5", BackboneConfig(name="resnet50"))


@pytest.mark.parametrize("name", ["broken.npz", "broken.h5", "broken.keras"])
def test_a_file_that_is_none_is_refused_in_one_line(tmp_path, name):
    (tmp_path / name).write_bytes(b"no weights here")
    with pytest.raises(ValueError, match="broken") as refusal:
        backbones.read(tmp_path / name, MOBILENET)
    assert "\n" not in str(refusal.value)


def test_unknown_kind_of_file_says_which_are_known(tmp_path):
    (tmp_path / "weights.txt").write_text("")
    with pytest.raises(ValueError, match=r"\.npz, \.h5"):
        backbones.read(tmp_path / "weights.txt", MOBILENET)


def test_missing_file_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="No weights file"):
        backbones.read(tmp_path / "nothing.npz", MOBILENET)


def test_imagenet_that_cannot_be_had_says_what_to_do(monkeypatch):
    def refuse(**_):
        raise Exception("URL fetch failure")

    monkeypatch.setattr(keras.applications, "MobileNetV2", refuse)
    with pytest.raises(ConnectionError, match=r"weights=FILE"):
        backbones.imagenet("mobilenet_v2")


def test_a_wrong_shape_names_its_layer_and_changes_nothing(application):
    backbone = build_backbone(MOBILENET)
    before = backbone.get_layer("Conv1").get_weights()[0].copy()
    arrays = {layer.name: layer.get_weights() for layer in application.layers if layer.weights}
    arrays["block_1_expand"] = [np.zeros((1, 1, 2, 2), "float32")]
    with pytest.raises(ValueError, match="block_1_expand"):
        backbones.put(arrays, backbone)
    np.testing.assert_array_equal(backbone.get_layer("Conv1").get_weights()[0], before)
