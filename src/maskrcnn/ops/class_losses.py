"""Losses for many classes of uneven frequency, as pure functions, and the scores that go with them.

Shapes: `B` images, `S` RoIs, `K` classes. Logits are (B, S, K + 1), background first.
"""

from __future__ import annotations

from typing import Literal

import keras
from keras import ops

from maskrcnn.ops import losses as loss_ops
from maskrcnn.ops import native
from maskrcnn.ops.losses import Total, whole

ClassLoss = Literal["cross_entropy", "federated", "seesaw"]
SAID_ABSENT, INCOMPLETE = 1, 2  # marks of classes, as `Batch.class_marks` has them
SEESAW_P, SEESAW_Q, SEESAW_LEAST = 0.8, 2.0, 1e-2  # Wang et al. 2021, section 4.2; the last is MMDetection's
_LEAST = 1e-30


def class_scores(logits, kind: ClassLoss):
    """(B, S, K + 1) logits → (B, S, K) scores of the classes: a softmax's, or of the federated loss a sigmoid's."""
    if kind == "federated":
        return ops.sigmoid(logits[:, :, 1:])
    return ops.softmax(logits, axis=-1)[:, :, 1:]


def mean_logits(every, kind: ClassLoss):
    """Logits whose scores are the mean of the scores of several, each (B, S, K + 1), so that `class_scores` gives them back."""
    if kind == "federated":
        scores = sum(ops.sigmoid(logits) for logits in every) / len(every)
        return ops.log(ops.maximum(scores, _LEAST)) - ops.log(ops.maximum(1.0 - scores, _LEAST))
    scores = sum(ops.softmax(logits, axis=-1) for logits in every) / len(every)
    return ops.log(ops.maximum(scores, _LEAST))  # they add up to 1, so a softmax gives them back


def federated_classes(
    classes, valid, frequencies: tuple[float, ...], num_classes: int, *, num_sampled: int, seed, total: Total = whole
):
    """Which classes a step's background stands for: those that are met, and others drawn by frequency^0.5.

    As CenterNet2 (Zhou et al. 2021) and detectron2 draw them for LVIS: once for a batch, without repeats, and the background
    takes a place where it is met.

    Args:
        classes: (B, S) int32 in 0 … K.
        valid: (B, S) bool.
        frequencies: K numbers, images with each class; (): all alike.
        num_classes: K.
        num_sampled: classes in all; where more are met, all of these.
        seed: of the drawing.
        total: a sum over all devices, which draw alike.

    Returns:
        (K,) bool.
    """
    met = ops.one_hot(classes, num_classes + 1) * ops.cast(ops.expand_dims(valid, -1), "float32")
    met = total(ops.sum(met, axis=(0, 1))) > 0.0  # (K + 1,)
    weights = frequencies or (1.0,) * num_classes
    chances = ops.convert_to_tensor([0.0, *(weight**0.5 for weight in weights)], dtype="float32")
    noise = keras.random.uniform((num_classes + 1,), minval=1e-7, maxval=1.0, seed=seed)
    # The greatest of log chance - log(-log noise) are a draw without repeats (Vieira 2014, "Gumbel-max").
    keys = ops.log(ops.maximum(chances, _LEAST)) - ops.log(ops.maximum(-ops.log(noise), _LEAST))
    keys = ops.where(met, 1e9, ops.where(chances > 0.0, keys, -1e9))
    best, _ = native.top_k(ops.expand_dims(keys, 0), min(num_sampled, num_classes + 1))
    drawn = ops.logical_and(keys >= best[0, -1], keys > -1e9)
    return ops.logical_or(met, drawn)[1:]


def counted_classes(chosen, marks):
    """Which classes each image's RoIs are no object of, as far as anybody knows.

    Args:
        chosen: (K,) bool, of `federated_classes`.
        marks: (B, K) integers: `SAID_ABSENT` counts in its image though nobody drew it, `INCOMPLETE` never does.

    Returns:
        (B, K) bool.
    """
    said = ops.logical_or(ops.expand_dims(chosen, 0), ops.equal(marks, SAID_ABSENT))
    return ops.logical_and(said, ops.not_equal(marks, INCOMPLETE))


def federated_loss(logits, classes, valid, counted, total: Total = whole):
    """Binary cross-entropy of each class by itself, summed over those that count, over the number of RoIs.

    Zhou et al. 2021 (CenterNet2), for LVIS, whose images were searched for some of the classes alone (Gupta et al. 2019).

    Args:
        logits: (B, S, K + 1); the background's is not looked at.
        classes: (B, S) int32 in 0 … K.
        valid: (B, S) bool.
        counted: (B, K) bool, classes whose absence counts, or (1, K) for all images; the class of a RoI always counts.
        total: of the RoIs, where devices share the batch.
    """
    target = ops.one_hot(classes, logits.shape[-1], dtype=logits.dtype)[:, :, 1:]  # (B, S, K)
    per_class = loss_ops.binary_crossentropy(target, logits[:, :, 1:])
    per_class = per_class * ops.maximum(target, ops.cast(ops.expand_dims(counted, 1), logits.dtype))
    return loss_ops.weighted_mean(ops.sum(per_class, axis=-1), valid, total)


def seesaw_loss(logits, classes, valid, class_counts: tuple[float, ...] = (), total: Total = whole):
    """Seesaw loss, Wang et al. 2021, section 3: rare classes are punished less for what is common, and more for false guesses.

    The objectness of section 3.3 is in the logits: background against all classes together, and the classes among themselves.
    A softmax is the product of both.

    Args:
        logits: (B, S, K + 1).
        classes: (B, S) int32 in 0 … K.
        valid: (B, S) bool.
        class_counts: K numbers, objects of each class, of the mitigation factor (eq. 6); (): all alike.
        total: of the RoIs, where devices share the batch.
    """
    of_classes = logits[:, :, 1:]  # (B, S, K)
    positive = ops.cast(classes > 0, logits.dtype)
    every, objects = ops.logsumexp(logits, axis=-1), ops.logsumexp(of_classes, axis=-1)  # (B, S)
    objectness = every - positive * objects - (1.0 - positive) * logits[:, :, 0]
    chosen = ops.one_hot(ops.maximum(classes - 1, 0), of_classes.shape[-1], dtype=logits.dtype)
    scores = ops.stop_gradient(ops.softmax(of_classes, axis=-1))
    own = ops.maximum(ops.sum(scores * chosen, axis=-1, keepdims=True), SEESAW_LEAST)
    factors = SEESAW_Q * ops.log(ops.maximum(scores / own, 1.0))  # compensation, eq. 7
    if class_counts:
        counts = ops.maximum(ops.convert_to_tensor(class_counts, dtype=logits.dtype), 1.0)  # (K,)
        own_count = ops.sum(chosen * counts, axis=-1, keepdims=True)
        factors = factors + SEESAW_P * ops.log(ops.minimum(counts / own_count, 1.0))  # mitigation, eq. 6
    weighed = of_classes + factors * (1.0 - chosen)
    class_loss = ops.logsumexp(weighed, axis=-1) - ops.sum(of_classes * chosen, axis=-1)
    return loss_ops.weighted_mean(objectness + positive * class_loss, valid, total)


def with_objectness(logits, objectness):
    """Logits of background and classes, and of an object at all, as logits of one softmax.

    Args:
        logits: (B, S, K + 1): of the background, which stands against `objectness`, and of the classes among themselves.
        objectness: (B, S, 1).

    Returns:
        (B, S, K + 1) logarithms of the scores, which add up to 1. Wang et al. 2021, section 3.3.
    """
    pair = ops.log_softmax(ops.concatenate([logits[:, :, :1], objectness], axis=-1), axis=-1)
    return ops.concatenate([pair[:, :, :1], pair[:, :, 1:] + ops.log_softmax(logits[:, :, 1:], axis=-1)], axis=-1)
