"""What the readers of backbones that PyTorch projects publish for ImageNet share, beside ResNets: rules for one layer each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from maskrcnn.weights import layouts, naming
from maskrcnn.weights.checkpoint import Checkpoint, Layout, Rule

Numbers = TypeVar("Numbers")

IMAGENET_COLOURS: dict[str, Any] = {
    "image__channel_order": "rgb",
    "image__mean": (123.675, 116.28, 103.53),
    "image__std": (58.395, 57.12, 57.375),
}
ASSUMED_COLOURS = "The colors are torchvision's and timm's usual ones: RGB with ImageNet's mean and standard deviation."


def layer(theirs: str, ours: str, kernel: Layout, *, bias: bool = True) -> list[Rule]:
    """A convolution or a dense layer."""
    rules = [Rule(f"{theirs}.weight", f"{ours}/kernel", kernel)]
    return [*rules, Rule(f"{theirs}.bias", f"{ours}/bias", layouts.VECTOR)] if bias else rules


def layer_norm(theirs: str, ours: str) -> list[Rule]:
    pairs = {"weight": "gamma", "bias": "beta"}
    return [Rule(f"{theirs}.{their}", f"{ours}/{our}", layouts.VECTOR) for their, our in pairs.items()]


def batch_norm(theirs: str, ours: str) -> list[Rule]:
    pairs = {"running_mean": "moving_mean", "running_var": "moving_variance"}
    statistics = [Rule(f"{theirs}.{their}", f"{ours}/{our}", layouts.VECTOR) for their, our in pairs.items()]
    return [*layer_norm(theirs, ours), *statistics]


def variant(file: naming.File, kind: str, known: Mapping[str, Numbers], fits: Callable[[Numbers], bool]) -> str:
    """Which of a family's backbones the file holds.

    Raises:
        ValueError: none of them.
    """
    name = next((name for name, numbers in known.items() if fits(numbers)), None)
    if name is None:
        raise ValueError(f"The file's {kind} is none of {', '.join(known)}: its depth or its width is another.")
    return name


def count(file: naming.File, pattern: str, **at: int) -> int:
    """How many blocks there are, by a tensor that each has: `{block}` from 0."""
    return sum(pattern.format(block=block, **at) in file for block in range(naming.MAX_COUNT))


def checkpoint(
    source: str,
    file: naming.File,
    rules: Sequence[Rule],
    changes: Mapping[str, Any],
    *,
    ignored: Sequence[str] = (),
    assumed: Sequence[str] = (ASSUMED_COLOURS,),
    added: frozenset[str] = frozenset(),
) -> Checkpoint:
    """A backbone alone; `added` as in `Checkpoint`. Raises as `naming.read_model`."""
    return replace(naming.checkpoint_of(source, file, rules, None, dict(changes), ignored, assumed), added=added)


def first_telling(tensors: Mapping[str, np.ndarray], tellings: Mapping[str, Any]) -> str | None:
    """The first of these names that a tensor has, whatever stands before it."""
    return next((telling for telling in tellings if naming.prefix_of(tensors, telling) is not None), None)
