"""Losses of masks by name, as pure functions. Each is one number a mask, 0 where the mask is drawn without a fault."""

from __future__ import annotations

from typing import Literal

from keras import ops

from maskrcnn.ops import losses as loss_ops

MaskLoss = Literal["binary_crossentropy", "dice", "focal", "boundary"]
FOCAL_GAMMA = 2.0  # Lin et al. 2017, section 5.1


def mask_loss(target, logits, kind: MaskLoss):
    """How far masks are from their targets.

    Args:
        target: (…, M, M), 0 or 1.
        logits: (…, M, M).
        kind: `"binary_crossentropy"`, of Mask R-CNN, section 3; `"dice"`, `"focal"` and `"boundary"`: see `dice`, `focal` and
            `boundary`, the last of them added to the binary cross-entropy, as its paper adds it to a loss of regions.

    Returns:
        (…,) numbers, means over the pixels but for dice.
    """
    if kind == "dice":
        return dice(target, ops.sigmoid(logits))
    if kind == "focal":
        return focal(target, logits)
    crossentropy = ops.mean(loss_ops.binary_crossentropy(target, logits), axis=(-2, -1))
    return crossentropy + boundary(target, ops.sigmoid(logits)) if kind == "boundary" else crossentropy


def dice(target, masks):
    """1 − 2 Σ p t / (Σ p² + Σ t²), Milletari et al. 2016, section 3: the same for thin objects as for full ones.

    Args:
        target: (…, M, M), 0 or 1.
        masks: (…, M, M) probabilities.

    Returns:
        (…,) in [0, 1]; 0 where both are empty.
    """
    shared = ops.sum(masks * target, axis=(-2, -1))
    total = ops.sum(ops.square(masks) + ops.square(target), axis=(-2, -1))
    return 1.0 - (2.0 * shared + 1e-6) / (total + 1e-6)


def focal(target, logits):
    """Binary cross-entropy, each pixel times (1 − score of what it is)², Lin et al. 2017, eq. 4, without its weight of classes.

    Args:
        target, logits: (…, M, M), as in `mask_loss`.

    Returns:
        (…,) means over the pixels.
    """
    missing = ops.abs(target - ops.sigmoid(logits))
    return ops.mean(ops.power(missing, FOCAL_GAMMA) * loss_ops.binary_crossentropy(target, logits), axis=(-2, -1))


def boundary(target, masks):
    """What is wrong, the more the farther from the target's outline. Kervadec et al. 2019, eq. 5.

    Their integral of signed distances, less its value for the target itself: so it is 0 there and nowhere below.

    Args:
        target: (…, M, M), 0 or 1.
        masks: (…, M, M) probabilities.

    Returns:
        (…,) means over the pixels, with the mask's side as the unit of length; 0 where a target is all or nothing of its mask.
    """
    distance = ops.stop_gradient(outline_distance(target)) / target.shape[-1]
    return ops.mean(distance * ops.abs(masks - target), axis=(-2, -1))


def outline_distance(target):
    """Of every pixel, how far its center lies from the nearest pixel of the other kind, less the half that is that pixel's.

    Args:
        target: (…, M, M), 0 or 1.

    Returns:
        (…, M, M) pixels; 0 where there is no other kind.
    """
    to_object, to_rest = _squared_distance(target > 0.5), _squared_distance(target <= 0.5)
    squared = ops.maximum(to_object, to_rest)  # of each pixel's own kind it is 0
    return ops.where(squared < _far(target.shape[-1]), ops.sqrt(ops.maximum(squared, 0.25)) - 0.5, 0.0)


def _squared_distance(seen):
    """(…, M, M) bool → of every pixel the squared distance to the nearest that is seen, `_far` where none is: separable."""
    side = seen.shape[-1]
    places = ops.arange(side, dtype="float32")
    apart = ops.square(ops.expand_dims(places, 1) - places)  # (M, M)
    squared = ops.where(seen, 0.0, _far(side))
    for _ in range(2):  # along the columns, then along the rows
        squared = ops.min(ops.expand_dims(ops.swapaxes(squared, -1, -2), -2) + apart, axis=-1)  # (…, M, M, M) → (…, M, M)
    return ops.minimum(squared, _far(side))


def _far(side: int) -> float:
    """More than any squared distance in a mask of this side."""
    return 2.0 * side**2
