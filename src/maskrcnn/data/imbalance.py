"""Rare classes: weights for the class loss, and how often each image is shown. Crowds count nowhere."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from maskrcnn.data.dataset import Dataset

# The most that a class weighs, relative to the commonest. Where one object stands against thousands, its full inverse would
# make a single mislabeled RoI the whole of a step. And common classes would sink below the background, which weighs 1: of 80
# classes one with a third of all objects to a 27th, and the model would no longer dare to find it.
MOST = 10.0
BETA = 0.999  # Cui et al. 2019, section 5: of 0.9, 0.99, 0.999 and 0.9999, by the data's size


def class_weights(dataset: Dataset, how: str | Mapping[str, float], *, beta: float = BETA) -> tuple[float, ...]:
    """Weights of the classes in the class loss, in the order of the data set's categories.

    Args:
        dataset: whose objects are counted.
        how: `"balanced"`, inverse to the number of objects; `"effective"`, inverse to their effective number, which grows ever
            slower (Cui et al. 2019, eq. 2); or weights by class name, 1 for those not named.
        beta: of the effective number, 0 to 1: towards 1 it is the number itself.

    Returns:
        K numbers for `box_head.class_weights`. Counted ones are at most `MOST` times the least and 1 on average over all
        objects, so that these stay in balance with the background; 1 for classes without objects.

    Raises:
        ValueError: for another word, for a name that is no class, and for weights that are not finite and above 0.
    """
    names = [category.name for category in dataset.categories]
    if isinstance(how, Mapping):
        unknown = [name for name in how if name not in names]
        if unknown:
            raise ValueError(f"class_weights name {unknown[0]!r}, which is no class; possible: {', '.join(names)}.")
        if not all(0 < weight < math.inf for weight in how.values()):
            raise ValueError(f"class_weights are finite numbers above 0; received {dict(how)}.")
        return tuple(float(how.get(name, 1.0)) for name in names)
    if how not in ("balanced", "effective"):
        raise ValueError(f"class_weights are 'balanced', 'effective' or weights by class name; received {how!r}.")
    if not 0 <= beta < 1:
        raise ValueError(f"beta is at least 0 and less than 1; received {beta}.")
    counts = count_objects(dataset)
    there = counts > 0
    if not there.any():
        return (1.0,) * len(names)
    effective = counts[there] if how == "balanced" else (1 - beta ** counts[there]) / (1 - beta)
    weights = np.ones(len(names))
    weights[there] = 1 / effective
    weights[there] = np.minimum(weights[there], MOST * weights[there].min())
    weights[there] *= counts.sum() / (counts * weights)[there].sum()
    return tuple(weights.tolist())


def repeat_factors(dataset: Dataset, threshold: float = 0.001) -> np.ndarray:
    """How often each image is to be shown, relative to the others: those of rare classes more often.

    A class that is in a part f of the images has the factor max(1, √(threshold / f)), an image the greatest of its classes
    (LVIS, Gupta et al. 2019, appendix B).

    Args:
        dataset: N images.
        threshold: part of the images, 0 to 1; classes in fewer are rare. LVIS takes 0.001, of 100,000 images; among a
            thousand that changes nothing.

    Returns:
        (N,) float64, at least 1; 1 for images without objects.

    Raises:
        ValueError: for a threshold out of its range.
    """
    if not 0 <= threshold <= 1:
        raise ValueError(f"repeat_threshold is a part of the images, 0 to 1; received {threshold}.")
    shares = np.maximum(count_images(dataset), 1) / max(1, len(dataset))
    factors = np.sqrt(np.maximum(1.0, threshold / shares))  # (K,)
    return np.array([factors[sample.labels[~sample.crowd]].max(initial=1.0) for sample in dataset.samples])


def count_objects(dataset: Dataset) -> np.ndarray:
    """(K,) int64, objects of each class."""
    labels = [sample.labels[~sample.crowd] for sample in dataset.samples]
    return np.bincount(np.concatenate([np.zeros(0, np.int32), *labels]), minlength=len(dataset.categories))


def count_images(dataset: Dataset) -> np.ndarray:
    """(K,) int64, images with an object of each class."""
    labels = [np.unique(sample.labels[~sample.crowd]) for sample in dataset.samples]
    return np.bincount(np.concatenate([np.zeros(0, np.int32), *labels]), minlength=len(dataset.categories))
