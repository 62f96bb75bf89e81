"""What every source of weights is turned into: a configuration, and arrays under our names and in our layout.

A source (`torchvision`, `detectron2`, …) says which tensor of its file becomes which weight of ours, as a list of `Rule`s,
and what its conventions are, as changes of our configuration. Nothing here knows a file format; `files` reads those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np

from maskrcnn.config import fields
from maskrcnn.config.model import Category, ModelConfig
from maskrcnn.model.backbones.stages import OUTPUT_NORMS
from maskrcnn.weights import class_rows
from maskrcnn.weights.stem import inflate, stem_kernel


@dataclass(frozen=True)
class Layout:
    """How an array lies in the file and in our model; each function undoes the other."""

    to_ours: Callable[[np.ndarray], np.ndarray]
    to_theirs: Callable[[np.ndarray], np.ndarray]


class Rule(NamedTuple):
    theirs: str  # name of the tensor in the file
    ours: str  # path of our weight, such as "fpn/lateral2/kernel"
    layout: Layout


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A file of published or of a user's own weights, understood.

    Attributes:
        source: whose, as people call it: "torchvision v2", "matterport".
        categories: what the labels mean; None for a backbone alone.
        changes: of `ModelConfig`, `section__field`: the source's conventions, and what the shapes tell.
        arrays: float32 by the path of our weight.
        names: by the path of our weight, the tensor of the file it came from, for messages.
        unused: tensors of the file that have no place in the model.
        assumed: what the file does not say and was therefore taken for granted, a sentence each.
        added: of a backbone, paths of weights that a detector has and no classifier; they start anew.
    """

    source: str
    categories: tuple[Category, ...] | None
    changes: dict[str, Any]
    arrays: dict[str, np.ndarray]
    names: dict[str, str]
    unused: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()
    added: frozenset[str] = frozenset()

    @property
    def config(self) -> ModelConfig:
        """The configuration of the whole model that the file holds.

        Raises:
            ValueError: for a backbone alone.
        """
        if self.categories is None:
            raise ValueError(f"The file holds a backbone of {self.source} alone; a whole model is wanted here.")
        return fields.replace(ModelConfig(self.categories), **self.changes)


class Report(NamedTuple):
    """Where every weight of a model came from. Paths of our weights, and names of the file's tensors."""

    loaded: tuple[str, ...]  # our weights that the file fills
    remade: tuple[str, ...]  # our weights that start anew: class layers of other classes, heads that a backbone's file lacks
    unused: tuple[str, ...]  # tensors of the file without a place in the model

    def summary(self) -> str:
        """One line with the counts."""
        return f"{len(self.loaded)} weights loaded, {len(self.remade)} start anew, {len(self.unused)} of the file not used"


def translate(tensors: Mapping[str, np.ndarray], rules: Iterable[Rule]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The file's tensors under our names and in our layout.

    Returns:
        arrays and names, as in `Checkpoint`.

    Raises:
        ValueError: naming the first tensor that is missing, of another rank than its layout knows, or not finite.
    """
    arrays: dict[str, np.ndarray] = {}
    names: dict[str, str] = {}
    for theirs, ours, layout in rules:
        if theirs not in tensors:
            raise ValueError(
                f"The file has no tensor {theirs!r}, which {ours!r} needs; it may be cut off, or of another model."
            )
        tensor = tensors[theirs]
        if not np.isfinite(tensor).all():
            raise ValueError(f"Tensor {theirs!r} holds values that are not finite (NaN or infinite); the file is damaged.")
        try:
            arrays[ours] = np.ascontiguousarray(layout.to_ours(tensor), np.float32)
        except ValueError:
            raise ValueError(f"Tensor {theirs!r} has shape {tensor.shape}, which cannot become {ours!r}.") from None
        names[ours] = theirs
    return arrays, names


def _is_added(path: str, checkpoint: Checkpoint) -> bool:
    """Whether a weight of a backbone is one that detectors alone have."""
    layer = path.partition("/")[0]
    return path in checkpoint.added or layer in OUTPUT_NORMS or layer.endswith("_offset")


def put(checkpoint: Checkpoint, model: keras.Model, *, source_classes: Sequence[str] | None = None) -> Report:
    """Gives a model the checkpoint's weights: all that it should, or none where something does not fit.

    Where only the number of an image's channels differs, the first convolution is inflated (`weights.stem`).

    Args:
        model: a `Network`; a backbone's file touches `model.backbone` alone.
        source_classes: what the file's classes are called, where the model's are others. In the layers that know the classes,
            rows of classes with the same name are carried over (`weights.class_rows`), and the rest stays as it is. None: the
            model has the file's classes, in their order.

    Raises:
        ValueError: naming the first tensor that is missing or of another shape.
    """
    parts = [model.backbone] if checkpoint.categories is None else model.parts
    wanted = [weight for part in parts for weight in part.weights]
    arrays, stem = dict(checkpoint.arrays), stem_kernel(model.backbone)
    if source_classes is not None:
        target_classes = model.config.class_names
        if class_rows.shared(source_classes, target_classes):
            arrays |= class_rows.carry_all(arrays, model.weights, source_classes, target_classes)
        else:
            wanted = [weight for weight in wanted if not class_rows.belongs_to_classes(weight.path)]
    if stem is not None and stem.path in arrays:
        arrays[stem.path] = inflate(arrays[stem.path], stem.shape)
    if checkpoint.categories is None:  # norms behind C2 … C5 and offsets are of the detector, and no classifier has them
        wanted = [weight for weight in wanted if weight.path in arrays or not _is_added(weight.path, checkpoint)]
    for weight in wanted:
        path, shape = weight.path, tuple(weight.shape)
        if path not in arrays:
            raise ValueError(f"The file of {checkpoint.source} has nothing for {path!r} of shape {shape}.")
        found = arrays[path].shape
        if found != shape:
            raise ValueError(f"Tensor {checkpoint.names[path]!r} has shape {found} as {path!r}; the model needs {shape}.")
    for weight in wanted:
        weight.assign(arrays[weight.path])
    loaded = {weight.path for weight in wanted}
    every = (weight.path for part in model.parts for weight in part.weights)
    unplaced = (checkpoint.names[path] for path in checkpoint.arrays if path not in loaded)
    return Report(tuple(sorted(loaded)), tuple(path for path in every if path not in loaded), (*unplaced, *checkpoint.unused))
