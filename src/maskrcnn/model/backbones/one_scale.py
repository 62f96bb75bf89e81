"""A plain vision transformer of the user's as a backbone: its last map, or its sequence of patches, at four scales.

Shapes: `B` images, `H W` pixels of the frame, `h w` patches, `N` places of a sequence, `C` channels.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from maskrcnn.model.backbones.vitdet import four_scales

STRIDE = 16  # pixels of a patch's side; ViT-B/16, DeiT, MAE, DINO, ViTDet
MOST_PREFIX = 8  # places before the patches: a class token, DINOv2's four registers
EPSILON = 1e-6  # of the layer norm between the scales; detectron2's ViTDet
NECK: dict[str, Any] = {"fpn__top_down": False, "fpn__norm": "layer", "fpn__epsilon": EPSILON}  # as the presets of ViTDet
_FIRST = "scale2_deconv1"  # the layer of `four_scales` that only it has


@keras.saving.register_keras_serializable(package="maskrcnn")
class PatchMap(layers.Layer):
    """The patches of a sequence as a map. What comes before them, such as a class token, is left out."""

    def call(self, image: Any, sequence: Any) -> Any:
        """(B, H, W, ·) and (B, N, C), its last H/16 · W/16 places row by row → (B, H/16, W/16, C)."""
        height, width = (side // STRIDE for side in ops.shape(image)[1:3])
        patches = sequence[:, ops.shape(sequence)[1] - height * width :]
        return ops.reshape(patches, (-1, height, width, sequence.shape[-1]))

    def compute_output_spec(self, image: Any, sequence: Any) -> keras.KerasTensor:
        sides = (None if side is None else side // STRIDE for side in image.shape[1:3])
        return keras.KerasTensor((image.shape[0], *sides, sequence.shape[-1]), self.compute_dtype)


def levels(image: Any, features: Any) -> list:
    """C2 … C5 of the end of a plain vision transformer; its map itself is C4.

    Args:
        image: (B, H, W, ·), symbolic.
        features: (B, h, w, C) or (B, N, C), symbolic.
    """
    if len(features.shape) == 3:
        features = PatchMap(name="patch_map")(image, features)
    return four_scales(features, EPSILON)


def ends_in_one(model: keras.Model) -> bool:
    """Whether `levels` made the four scales of a graph."""
    return any(layer.name == _FIRST for layer in model.layers)
