"""Checkpoints of other projects on a ResNet of four blocks: every part of the real ones, and read in no time."""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from weights import layout_files
from weights.layout_files import Sizes, fill

from maskrcnn.config.backbones import RESNETS, ResNet
from maskrcnn.weights.files.pth import write_pth

SIZES = Sizes(blocks=(1, 1, 1, 1), width_per_group=2, channels=8, hidden=12, pool=3, num_classes=3)
WIDE = replace(SIZES, channels=256, hidden=1024, pool=7)  # the heads that torchvision's constructors make
NAMES = ["cat", "dog", "cow"]
SMALL = {  # images and counts, over a file's conventions
    "image__short_side": 64,
    "image__long_side": 96,
    "rpn__train_top_k": 50,
    "rpn__train_proposals": 50,
    "rpn__top_k": 50,
    "rpn__proposals": 50,
    "roi_sampler__num_sampled": 32,
    "detect__max_detections": 10,
}


@contextlib.contextmanager
def with_shallow_resnet() -> Iterator[None]:
    """While it is open, a ResNet-50 has one block a stage, when it is built and when a file's is recognised."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RESNETS, "resnet50", ResNet(SIZES.blocks))
        yield


def torchvision_tensors(sizes: Sizes = SIZES, *, live: bool = True, v2: bool = False) -> dict[str, np.ndarray]:
    return fill(layout_files.torchvision(sizes, live=live, v2=v2))


def write_torchvision(path: Path, tensors: dict[str, np.ndarray] | None = None) -> Path:
    write_pth(path, torchvision_tensors() if tensors is None else tensors)
    return path


def write_resnet(path: Path) -> Path:
    """A backbone with its classifier, as torchvision trains it on ImageNet."""
    write_pth(path, fill(layout_files.torch_resnet(SIZES)))
    return path


def write_detectron2(path: Path) -> Path:
    """As its model zoo writes them: a pickle of NumPy arrays."""
    path.write_bytes(pickle.dumps({"model": fill(layout_files.detectron2(SIZES)), "__author__": "Detectron2"}))
    return path


def write_mmdet(path: Path, names: tuple[str, ...] = tuple(NAMES)) -> Path:
    """With the classes' names beside the weights."""
    path.write_bytes(pickle.dumps({"meta": {"CLASSES": names}, "state_dict": fill(layout_files.mmdet(SIZES))}))
    return path


def write_h5(path: Path, tensors: dict[str, np.ndarray]) -> Path:
    """As Keras 2 lays out weights: a group a layer."""
    with h5py.File(path, "w") as file:
        layers = sorted({name.partition("/")[0] for name in tensors})
        file.attrs["layer_names"] = layers
        for layer in layers:
            names = [name for name in tensors if name.partition("/")[0] == layer]
            group = file.create_group(layer)
            group.attrs["weight_names"] = [f"{name}:0" for name in names]
            for name in names:
                group[f"{name}:0"] = tensors[name]
    return path
