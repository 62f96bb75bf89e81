"""detectron2's Mask R-CNN on plain vision transformers (ViTDet): the model zoo's, and those trained like them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from maskrcnn.config.backbones import VITDETS, ViTDet
from maskrcnn.config.model import Category
from maskrcnn.weights import layouts, naming
from maskrcnn.weights.categories import COCO
from maskrcnn.weights.checkpoint import Checkpoint, Rule
from maskrcnn.weights.projects import detectron2, families
from maskrcnn.weights.projects.families import layer, layer_norm

NAME = "detectron2 ViTDet"
TELLING = "backbone.net.patch_embed.proj.weight"
BLOCK = "backbone.net.blocks.{block}"
# Where the convolutions of the simple pyramid stand behind its scaling; `modeling/backbone/vit.py`, SimpleFeaturePyramid.
PYRAMID = {
    f"backbone.simfp_{stage}.{first + place}.": f"backbone.fpn_{part}{stage}."
    for stage, first in ((2, 4), (3, 1), (4, 0), (5, 1))
    for place, part in enumerate(("lateral", "output"))
}
# Sources: detectron2's `configs/common/models/mask_rcnn_vitdet.py`, `projects/ViTDet/configs/common/coco_loader_lsj.py`.
CONVENTIONS: dict[str, Any] = {
    **detectron2.CONVENTIONS,
    **families.IMAGENET_COLOURS,
    "image__short_side": 1024,
    "image__long_side": 1024,
    "image__frame": "square",  # square_pad
    "backbone__frozen_stages": 0,
    "fpn__top_down": False,
    "fpn__norm": "layer",
    "fpn__epsilon": 1e-6,  # of `layers.batch_norm.LayerNorm`
    "box_head__norm": "layer",
    "box_head__epsilon": 1e-6,
    "mask_head__norm": "layer",
    "mask_head__epsilon": 1e-6,
}
CASCADE = ("cascade__positive_ious", "cascade__delta_weights")  # not the number of proposals of the older configurations
LVIS_CLASSES = 1203
# `projects/ViTDet/configs/LVIS`
LVIS_CONVENTIONS: dict[str, Any] = {
    "box_head__class_loss": "federated",
    "detect__score": 0.02,
    "detect__max_detections": 300,
}


def recognise(tensors: Mapping[str, np.ndarray]) -> bool:
    """Whether the tensors are named as a detectron2 R-CNN on a plain vision transformer."""
    return detectron2.recognise(tensors) and naming.prefix_of(tensors, TELLING) is not None


def read(tensors: Mapping[str, np.ndarray], *, class_names: Sequence[str | Category] | None = None) -> Checkpoint:
    """The whole model. Raises as `detectron2.read`; also for a transformer of another size than `VITDETS`."""
    file = naming.open_file(tensors, detectron2.TELLING, _today)
    depth = families.count(file, f"{BLOCK}.attn.qkv.weight")
    width, _, patch, _ = file.shape(TELLING, 4)
    fits = families.variant(
        file, "vision transformer", VITDETS, lambda known: (known.blocks, known.channels, known.patch) == (depth, width, patch)
    )
    changes = {"backbone__name": fits, **naming.detector_changes(detectron2.NAMES, file), **CONVENTIONS}
    changes |= heads_changes(file)
    return naming.read_model(
        NAME,
        detectron2.NAMES,
        file,
        changes,
        published={80: COCO},
        class_names=class_names,
        ignored=detectron2.PIXELS,
        assumed=["Images are 1024 pixels square and RGB, as the model zoo's ViTDets take them; the file does not say."],
        backbone=rules(VITDETS[fits]),
    )


def heads_changes(file: naming.File) -> dict[str, Any]:
    """Of the project's cascades, and of its models of LVIS, which all learn with the federated loss."""
    stages = detectron2.NAMES.of_stages(file)
    changes: dict[str, Any] = {}
    if len(stages) > 1:
        changes |= naming.cascade_changes(len(stages), {name: detectron2.CASCADE_CONVENTIONS[name] for name in CASCADE})
    if naming.num_classes_of(stages[0], file) == LVIS_CLASSES:
        changes |= LVIS_CONVENTIONS
    return changes


def rules(numbers: ViTDet) -> list[Rule]:
    """A rule for each weight of the transformer and of what scales its map."""
    found = layer("backbone.net.patch_embed.proj", "patches", layouts.CONV)
    found.append(Rule("backbone.net.pos_embed", "positions/table", layouts.positions(numbers.positions)))
    for index in range(numbers.blocks):
        theirs, ours = BLOCK.format(block=index), f"block{index + 1}"
        found += layer_norm(f"{theirs}.norm1", f"{ours}_norm1") + layer_norm(f"{theirs}.norm2", f"{ours}_norm2")
        found += layer(f"{theirs}.attn.qkv", f"{ours}_attention/qkv", layouts.DENSE)
        found += layer(f"{theirs}.attn.proj", f"{ours}_attention/project", layouts.DENSE)
        found.append(Rule(f"{theirs}.attn.rel_pos_h", f"{ours}_attention/row_offsets", layouts.MATRIX))
        found.append(Rule(f"{theirs}.attn.rel_pos_w", f"{ours}_attention/column_offsets", layouts.MATRIX))
        found += layer(f"{theirs}.mlp.fc1", f"{ours}_expand", layouts.DENSE)
        found += layer(f"{theirs}.mlp.fc2", f"{ours}_project", layouts.DENSE)
    found += layer("backbone.simfp_2.0", "scale2_deconv1", layouts.CONV)
    found += layer_norm("backbone.simfp_2.1", "scale2_norm")
    found += layer("backbone.simfp_2.3", "scale2_deconv2", layouts.CONV)
    return found + layer("backbone.simfp_3.0", "scale3_deconv1", layouts.CONV)


def _today(name: str) -> str:
    """The pyramid's convolutions as in detectron2's other models."""
    theirs = next((theirs for theirs in PYRAMID if name.startswith(theirs)), None)
    return name if theirs is None else PYRAMID[theirs] + name.removeprefix(theirs)
