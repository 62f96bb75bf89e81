"""Any Keras model as a backbone: one of `keras.applications` or KerasHub, or the user's own.

Shapes: `B` images, `H W` pixels of the frame, `C` channels of the image.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import keras
from keras import layers, ops

from maskrcnn.config.model import ImageConfig
from maskrcnn.config.presets import CAFFE_COLOURS
from maskrcnn.model.backbones import one_scale
from maskrcnn.model.backbones.stages import STRIDES, Staged

# A frame on which every stride up to 32 divides, with sides that differ, so that a turned map is not taken for a level.
PROBE = (224, 288)


@runtime_checkable
class HasPyramid(Protocol):
    """What KerasHub's image backbones say of themselves."""

    @property
    def pyramid_outputs(self) -> Mapping[str, Any]:
        """Tensors by the level's name: "P2", "P3" and so on."""


class _Call(NamedTuple):
    """One operation of a graph at work."""

    operation: Any  # a `keras.Operation`, which every layer is
    inputs: list[Any]  # its `KerasTensor`s
    outputs: list[Any]


class _Place(NamedTuple):
    """A tensor of a graph, by the call that makes it."""

    call: int
    output: int


def adopt(model: keras.Model, *, levels: Sequence[str] = ()) -> Staged:
    """A model's layers as a backbone: from (B, H, W, C) to [C2, C3, C4, C5], H and W multiples of 32.

    A level is a tensor through which every path from the image to the model's end runs; of each stride 4 to 32 it is the last
    one, the deepest that the model has at that scale. In ResNets these are the ends of conv2 to conv5, in MobileNetV2 the
    expansions before each stride. Where a model has several outputs, or `pyramid_outputs` as KerasHub's have, those are the
    levels. The strides are measured on one frame, `PROBE`. What lies behind C5, such as a classifier, is left out.

    A plain vision transformer has one map, of stride 16, or a sequence of its patches; from it the levels are made, as in
    ViTDet (`one_scale`).

    Args:
        model: built, with one input; its layers and weights become the backbone's, see `copied`.
        levels: names of four layers whose outputs are C2 … C5; they overrule the above.

    Raises:
        ValueError: a model without a graph of layers, with several inputs, or without a tensor for each stride, such as
            Xception, whose unpadded stem does not halve a frame.
    """
    graph, offered = _graph(model, levels)
    channels = graph.inputs[0].shape[-1]
    probe = _trace(graph, keras.Input((*PROBE, channels)), model.name)
    if one_scale.ends_in_one(graph) or (not offered and _has_one_scale(probe)):
        return _simple_pyramid(graph, model.name)
    places = [_place_of(tensor, probe.calls) for tensor in probe.outputs] if offered else _cuts(probe)
    by_stride: dict[int, list[_Place]] = {}
    for place in places:
        stride = _stride(probe.calls[place.call].outputs[place.output].shape)
        if stride is not None:
            by_stride.setdefault(stride, []).append(place)
    missing = [stride for stride in STRIDES if stride not in by_stride]
    if missing:
        raise ValueError(_missing_levels(model.name, missing, by_stride, probe))
    chosen = [by_stride[stride][-1] for stride in STRIDES]
    if levels and [_place_of(tensor, probe.calls) for tensor in probe.outputs] != chosen:
        raise ValueError(f"levels name four layers of strides {STRIDES} in this order; received {', '.join(levels)}.")
    # A patch embedding divides by 4 at once; it is then the stem, as the layers before a pooling are elsewhere.
    stem = by_stride[2][-1] if 2 in by_stride else (by_stride[STRIDES[0]][0] if offered else _first(probe, STRIDES[0]))
    free = _trace(graph, keras.Input((None, None, channels)), model.name)
    outputs = [free.calls[place.call].outputs[place.output] for place in chosen]
    ends = tuple(probe.calls[place.call].operation.name for place in (stem, *chosen))
    return Staged(keras.Model(free.image, outputs, name="backbone"), ends)


def _has_one_scale(probe: _Trace) -> bool:
    """Whether the graph's maps are of stride 16 alone, and its end is one of them or the sequence of its places."""
    (end,) = probe.outputs
    strides = {_stride(probe.calls[place.call].outputs[place.output].shape) for place in _cuts(probe)} - {None, 1}
    places = math.prod(PROBE) // one_scale.STRIDE**2
    is_sequence = len(end.shape) == 3 and 0 <= (end.shape[1] or 0) - places <= one_scale.MOST_PREFIX
    return strides == {one_scale.STRIDE} and (is_sequence or _stride(end.shape) == one_scale.STRIDE)


def _simple_pyramid(graph: keras.Model, name: str) -> Staged:
    """The graph of a plain vision transformer, and behind it, where they are not there yet, the layers that make four scales.

    The places through which every path runs, from the first map on, are four stages, a quarter of them each.
    """
    channels = graph.inputs[0].shape[-1]
    whole = _trace(graph, keras.Input((None, None, channels)), name)
    outputs = whole.outputs if one_scale.ends_in_one(graph) else one_scale.levels(whole.image, whole.outputs[0])
    pyramid = keras.Model(whole.image, outputs, name="backbone")
    last = pyramid.outputs[STRIDES.index(one_scale.STRIDE)]
    trunk = _trace(keras.Model(whole.image, last), keras.Input((None, None, channels)), name)
    cuts = [place.call for place in _cuts(trunk)]
    first = next(number for number, call in enumerate(cuts) if _is_patches(trunk.calls[call]))
    quarters = [cuts[first + (len(cuts) - 1 - first) * quarter // 4] for quarter in range(5)]
    return Staged(pyramid, tuple(trunk.calls[call].operation.name for call in quarters))


def _is_patches(call: _Call) -> bool:
    """Whether it is a layer that learns: the first one of a vision transformer embeds the patches."""
    return isinstance(call.operation, layers.Layer) and bool(call.operation.weights)


def copied(model: keras.Model, *, levels: Sequence[str] = ()) -> keras.Model:
    """A model of its own with the same layers, as far as `adopt` needs them, and the same weights.

    So what a detector learns or freezes changes nothing of the model it began with, and one that cannot be saved is refused
    before it is trained.

    Raises:
        ValueError: for layers that Keras cannot save and open again.
    """
    graph, _ = _graph(model, levels)
    try:
        with keras.StatelessScope():  # in it weights are only planned, which spares drawing random ones
            copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(graph), safe_mode=True)
            for weight, value in zip(copy.weights, graph.get_weights(), strict=True):
                weight._initializer = _constant(value)
    except (TypeError, ValueError, NotImplementedError) as error:
        raise ValueError(
            f"The backbone {model.name!r} cannot be saved, so no model is made with it: {str(error).splitlines()[0]:.200} "
            "Register classes of your own with keras.saving.register_keras_serializable; write Lambda layers as such classes."
        ) from error
    return copy


def conventions(model: keras.Model, *, levels: Sequence[str] = ()) -> dict[str, Any]:
    """What a model says of how it is to be fed and trained, as changes of `ModelConfig`.

    Colors are those of the model's own preprocessing layers, if it has any, else those of its kind in `keras.applications`,
    else ImageNet's mean and standard deviation. Batch norm that has never seen a batch is live, as in every network that starts
    from random weights. Stages stay frozen as far as the model's own layers are. What has one scale takes ViTDet's pyramid.
    """
    graph, _ = _graph(model, levels)
    trace = _trace(graph, keras.Input((*PROBE, graph.inputs[0].shape[-1])), model.name)
    parts = [part for layer in graph.layers for part in layer._flatten_layers()]
    norms = [part for part in parts if isinstance(part, layers.BatchNormalization)]
    staged = adopt(model, levels=levels)
    learnt = not norms or any(ops.convert_to_numpy(norm.moving_mean).any() for norm in norms)
    return {
        "backbone__name": "keras",
        "backbone__levels": tuple(levels),
        "backbone__norm": "frozen" if learnt else "live",
        "backbone__frozen_stages": _frozen_stages(staged),
        **(one_scale.NECK if one_scale.ends_in_one(staged.model) else {}),
        **_colours(trace, model.name),
    }


def _frozen_stages(staged: Staged) -> int:
    """How many stages from the first on have no weight that learns; 0 where no layer has any weights there."""
    stage, frozen, weights = 1, 0, 0
    for layer in staged.model.operations:
        if isinstance(layer, layers.Layer):
            if layer.trainable_weights:
                return frozen
            weights += len(layer.weights)
        ended = staged.ends.count(layer.name)
        stage += ended
        if ended and weights:
            frozen = stage - 1
    return frozen


# How `keras.applications` wants its images where no layer of the model prepares them: `preprocess_input` of each.
_CAFFE = ("resnet50", "resnet101", "resnet152", "vgg16", "vgg19")
_FIRST_TO_LEARN = (layers.Conv2D, layers.Dense, layers.EinsumDense, keras.Sequential)
_MINUS_ONE_TO_ONE = ("resnet50v2", "resnet101v2", "resnet152v2", "mobilenet", "nasnet", "inception_resnet_v2")


def _colours(trace: _Trace, name: str) -> dict[str, Any]:
    channels = trace.image.shape[-1]
    before = itertools.takewhile(lambda call: not isinstance(call.operation, _FIRST_TO_LEARN), trace.calls)
    if any(isinstance(call.operation, (layers.Rescaling, layers.Normalization)) for call in before):
        return {"image__mean": (0.0,) * channels, "image__std": (1.0,) * channels, "image__channel_order": "rgb"}
    if channels != 3:
        return {}
    if name in _CAFFE:
        return {f"image__{key}": value for key, value in CAFFE_COLOURS.items()}
    if name.lower().startswith(_MINUS_ONE_TO_ONE):
        return {"image__mean": (127.5,) * 3, "image__std": (127.5,) * 3, "image__channel_order": "rgb"}
    return {"image__mean": ImageConfig.mean, "image__std": ImageConfig.std, "image__channel_order": "rgb"}


def _constant(value: Any) -> Any:
    return lambda shape, dtype: value


def _graph(model: keras.Model, levels: Sequence[str]) -> tuple[keras.Model, bool]:
    """A plain graph of the model's layers from its image on, and whether its outputs are the levels already."""
    try:
        inputs, outputs = model.inputs, model.outputs
        if levels:
            offered = [model.get_layer(name).output for name in levels]
        elif isinstance(model, HasPyramid):
            offered = list(model.pyramid_outputs.values())
        else:
            offered = outputs if len(outputs) > 1 else []
        if len(inputs) != 1:
            raise ValueError(f"it has {len(inputs)} inputs")
        if len(inputs[0].shape) != 4 or inputs[0].shape[-1] is None:
            raise ValueError(f"its input has shape {inputs[0].shape}")
        graph = keras.Model(inputs[0], offered or outputs[0], name=model.name)
        return graph if offered else _without_classifier(graph), bool(offered)
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"A backbone is a built keras.Model from one (B, H, W, C) image through a graph of layers, such as "
            f"keras.applications.ConvNeXtTiny(include_top=False); {_named(model)} is none: {str(error).splitlines()[0]:.200}"
        ) from error


def _without_classifier(graph: keras.Model) -> keras.Model:
    """The graph up to its last map, or sequence of places, through which every path runs."""
    if len(graph.outputs[0].shape) == 4:
        return graph
    trace = _trace(graph, keras.Input(graph.inputs[0].shape[1:]), graph.name)
    tensors = [trace.calls[place.call].outputs[place.output] for place in _cuts(trace)]
    features = [tensor for tensor in tensors if len(tensor.shape) in (3, 4)]
    if not any(len(tensor.shape) == 4 for tensor in features):
        raise ValueError("no tensor in it is a map of features")
    return keras.Model(trace.image, features[-1], name=graph.name)


def _named(model: Any) -> str:
    return f"the {type(model).__name__} {model.name!r}" if isinstance(model, keras.Model) else f"a {type(model).__name__}"


class _Trace(NamedTuple):
    """A graph that was called on a symbolic image."""

    image: Any
    calls: list[_Call]  # each after those it takes its inputs from
    outputs: list[Any]


def _trace(graph: keras.Model, image: Any, name: str) -> _Trace:
    calls: list[_Call] = []

    def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
        outputs = operation(*args, **kwargs)
        calls.append(_Call(operation, _tensors((args, kwargs)), _tensors(outputs)))
        return outputs

    try:
        traced = keras.models.clone_model(graph, input_tensors=image, clone_function=lambda layer: layer, call_function=call)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"The backbone {name!r} does not take frames of {' × '.join(map(str, image.shape[1:3]))} pixels, and those of a "
            f"detector differ in size: {str(error).splitlines()[0]:.200}"
        ) from error
    return _Trace(image, calls, traced.outputs)


def _tensors(values: Any) -> list[Any]:
    return [value for value in keras.tree.flatten(values) if isinstance(value, keras.KerasTensor)]


def _place_of(tensor: Any, calls: Sequence[_Call]) -> _Place:
    return next(
        _Place(number, output)
        for number, call in enumerate(calls)
        for output, made in enumerate(call.outputs)
        if made is tensor
    )


def _cuts(trace: _Trace) -> list[_Place]:
    """The tensors through which every path runs, first to last: when one is made, no other is still waited for."""
    last_use = {id(tensor): number for number, call in enumerate(trace.calls) for tensor in call.inputs}
    last_use |= {id(tensor): len(trace.calls) for tensor in trace.outputs}
    waiting: dict[int, _Place] = {}
    cuts = []
    for number, call in enumerate(trace.calls):
        waiting |= {id(tensor): _Place(number, output) for output, tensor in enumerate(call.outputs)}
        waiting = {tensor: place for tensor, place in waiting.items() if last_use.get(tensor, -1) > number}
        if len(waiting) == 1:
            cuts += waiting.values()
    return list(dict.fromkeys(cuts))


def _first(trace: _Trace, stride: int) -> _Place:
    return next(place for place in _cuts(trace) if _stride(trace.calls[place.call].outputs[place.output].shape) == stride)


def _stride(shape: Sequence[int | None]) -> int | None:
    """How many pixels of the probe a place of such a map has along each side; None where that is no whole number."""
    if len(shape) != 4 or not shape[1] or not shape[2]:
        return None
    stride = PROBE[0] // shape[1]
    return stride if (shape[1] * stride, shape[2] * stride) == PROBE else None


def _missing_levels(name: str, missing: Sequence[int], found: Mapping[int, Any], trace: _Trace) -> str:
    maps = [tensor.shape[1:3] for call in trace.calls for tensor in call.outputs if len(tensor.shape) == 4]
    uneven = next((shape for shape in maps if shape[0] < PROBE[0] and _stride((1, *shape, 1)) is None), None)
    reason = f"the strides of its maps are {', '.join(map(str, sorted(found))) or 'others'}"
    if uneven is not None:
        reason = (
            f"it makes a map of {uneven[0]}×{uneven[1]} of a frame of {PROBE[0]}×{PROBE[1]} pixels, which is no whole part of "
            "it; convolutions without padding do that, as in Xception and InceptionV3"
        )
    return (
        f"A backbone has a map for each of the strides {', '.join(map(str, STRIDES))}; {name!r} has none for "
        f"{', '.join(map(str, missing))}: {reason}. Name four layers with levels=(…), or choose another model."
    )
