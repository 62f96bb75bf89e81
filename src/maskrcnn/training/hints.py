"""What a training's curves say to someone who has seen many: a few sentences, each with what to do."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from maskrcnn.doctor.object_sizes import Coverage

AFTER = 3  # epochs from which on a score of 0 needs an explanation
_FLAT_AFTER, _FLAT = 4, 0.02  # epochs; part of the first loss that is little
_RISING_SINCE, _RISING = 3, 1.05  # epochs since the lowest validation loss; how many times higher it is now
_FITS = 0.5  # part of the objects for which an anchor with IoU 0.5 is too few
_FAR, _NARROW, _WIDE = 2.0, 0.2, 4.0  # mean and standard deviations that normalized input should not have
_UNSURE = 0.3  # the highest score of all, below which a model is sure of nothing


class Diagnosis(NamedTuple):
    """What there is to know where nothing is found."""

    coverage: Coverage | None  # of the objects by the anchors; None: there is no object
    num_found: int  # in the validation images that are shown
    best_score: float  # of those
    least_score: float  # of what the model lets through
    mean: float  # of the input, normalized
    deviation: float


def hints(
    history: Sequence[Mapping[str, float]], *, epochs: int, has_validation: bool, diagnose: Callable[[], Diagnosis]
) -> list[str]:
    """Reads the curves.

    Args:
        history: a row an epoch, as `history.csv` has it.
        epochs: of the whole run.
        has_validation: whether there are validation data.
        diagnose: asked where nothing is found after `AFTER` epochs.
    """
    found = []
    if not has_validation:
        found.append("There are no validation data, so nothing shows when the model begins to overfit: give val (--val).")
    found += _flat(_column(history, "loss"))
    found += _rising(_column(history, "val_loss"))
    ap = _column(history, "val_mask_ap")
    if len(ap) >= AFTER and max(ap) == 0.0:
        found.append(_nothing_found(len(ap), diagnose()))
    elif len(ap) == epochs >= AFTER and ap[-1] == max(ap) and ap[-1] - ap[-3] > 0.01:
        found.append(
            f"Mask AP was still rising at the end, from {ap[-3]:.3f} to {ap[-1]:.3f} in the last two epochs: a longer run "
            "would probably end higher."
        )
    return found


def _column(history: Sequence[Mapping[str, float]], name: str) -> list[float]:
    values = [float(row[name]) for row in history if name in row]
    return [value for value in values if math.isfinite(value)]


def _flat(loss: Sequence[float]) -> list[str]:
    if len(loss) < _FLAT_AFTER or min(loss[1:]) < loss[0] * (1 - _FLAT):
        return []
    return [
        f"The loss is flat, {loss[0]:.3f} in the first epoch and {loss[-1]:.3f} in the last: raise the learning rate, and "
        "check that no layer is frozen which should learn (--freeze, backbone.frozen_stages)."
    ]


def _rising(loss: Sequence[float]) -> list[str]:
    if not loss:
        return []
    best = min(range(len(loss)), key=loss.__getitem__)
    if len(loss) - 1 - best < _RISING_SINCE or loss[-1] < loss[best] * _RISING:
        return []
    return [
        f"The validation loss was lowest in epoch {best + 1}, {loss[best]:.3f}, and has risen to {loss[-1]:.3f}: the model "
        "overfits. More images, stronger augmentation (--augment photos or microscopy), --dropout 0.5 or an earlier end "
        "(--patience) help; best.keras keeps the best epoch."
    ]


def _nothing_found(epochs: int, diagnosis: Diagnosis) -> str:
    reasons = [*_of_anchors(diagnosis.coverage), *_of_input(diagnosis), *_of_scores(diagnosis)]
    return f"Mask AP is 0 after {epochs} epochs. " + " ".join(reasons)


def _of_anchors(coverage: Coverage | None) -> list[str]:
    if coverage is None or coverage.over_50 >= _FITS:
        return []
    return [
        f"Anchors: only {coverage.over_50:.0%} of the objects have an anchor with IoU 0.5 or more, the mean is "
        f"{coverage.mean_iou:.2f}; maskrcnn data stats suggests sizes and an image size that fit."
    ]


def _of_input(diagnosis: Diagnosis) -> list[str]:
    if abs(diagnosis.mean) <= _FAR and _NARROW <= diagnosis.deviation <= _WIDE:
        return []
    return [
        f"Normalization: the input has mean {diagnosis.mean:.1f} and standard deviation {diagnosis.deviation:.2f} where about "
        "0 and 1 are wanted; set image.mean and image.std to those of the images."
    ]


def _of_scores(diagnosis: Diagnosis) -> list[str]:
    if not diagnosis.num_found:
        return [
            f"Scores: nothing in the validation images shown has a score above {diagnosis.least_score:g}; the model calls "
            "everything background. Train longer, raise the learning rate, or start from pretrained weights (--init)."
        ]
    if diagnosis.best_score < _UNSURE:
        return [
            f"Scores: the highest of {diagnosis.num_found} detections in the validation images shown is "
            f"{diagnosis.best_score:.2f}; the model has hardly begun. Train longer, or start from pretrained weights (--init)."
        ]
    return [
        f"Scores: there are {diagnosis.num_found} detections with scores up to {diagnosis.best_score:.2f}, but none lies on an "
        "object; compare them with the ground truth below: do the annotations belong to these images, and at this size?"
    ]
