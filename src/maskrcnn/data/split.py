"""A data set in two: so much of it to train on, the rest to validate, classes shared out evenly."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from maskrcnn.data.dataset import Dataset
from maskrcnn.structures import Sample


def split(
    dataset: Dataset, fraction: float, seed: int, *, group_of: Callable[[Sample], Hashable] | None = None
) -> tuple[Dataset, Dataset]:
    """Splits off a fraction of the images so that each class has about that fraction of its objects there.

    Iterative stratification (Sechidis et al. 2011): the rarest class is shared out first, each image going where most of that
    class, and of images at all, are still missing; images without objects come last. Same seed, same split.

    Args:
        dataset: two images or more.
        fraction: of the images in the second part, between 0 and 1; each part gets one at least.
        seed: of the order in which images are shared out.
        group_of: names what must stay together: a patient, a video, a scene; None takes each image by itself.

    Returns:
        The first part, to train on, and the second, to validate; images in their order, categories and faults of the whole in
        the first.

    Raises:
        ValueError: for a fraction that is none, and where there are not two groups to share out.
    """
    if not 0.0 < fraction < 1.0:
        raise ValueError(f"A fraction lies between 0 and 1; received {fraction}.")
    groups: dict[Hashable, list[int]] = {}
    for number, sample in enumerate(dataset.samples):
        groups.setdefault(number if group_of is None else group_of(sample), []).append(number)
    if len(groups) < 2:
        raise ValueError(f"{dataset.name or 'The data set'} is split between images or groups; it has {len(groups)}.")
    members = list(groups.values())
    counts = np.array([_counts(dataset, own) for own in members])  # (G, K + 1) objects of each class, then images
    second = _share_out(counts, fraction, np.random.default_rng(seed))
    chosen = {number for own, there in zip(members, second) if there for number in own}
    parts = [
        [sample for number, sample in enumerate(dataset.samples) if (number in chosen) == is_second]
        for is_second in (False, True)
    ]
    return replace(dataset, samples=parts[0]), replace(dataset, samples=parts[1], faults=[])


def _counts(dataset: Dataset, numbers: list[int]) -> np.ndarray:
    """(K + 1,) objects of each class in some images, crowd regions not counted, and how many images."""
    labels = [dataset.samples[number].labels[~dataset.samples[number].crowd] for number in numbers]
    found = np.bincount(np.concatenate(labels), minlength=len(dataset.categories))
    return np.append(found, len(numbers)).astype(np.float64)


def _share_out(counts: np.ndarray, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """(G,) bool, which groups go to the second part.

    Args:
        counts: (G, K + 1) objects of each class and images of each group.
    """
    wanted = np.outer([1.0 - fraction, fraction], counts.sum(axis=0))  # (2, K + 1) still missing in each part
    whole = np.maximum(wanted, 1e-9)
    second = np.zeros(len(counts), bool)
    left = rng.permutation(len(counts))
    while len(left):
        totals = counts[left].sum(axis=0)
        rare = int(np.where(totals > 0, totals, np.inf)[:-1].argmin()) if totals[:-1].any() else counts.shape[1] - 1
        ours = left[counts[left, rare] > 0]
        for group in ours[np.argsort(-counts[ours, rare], kind="stable")].tolist():  # large ones first, while both have room
            missing = wanted[:, (rare, -1)] / whole[:, (rare, -1)]  # (2, 2) of the class and of images, in parts of the whole
            part = int(missing.sum(axis=1).argmax())
            second[group] = bool(part)
            wanted[part] -= counts[group]
        left = left[counts[left, rare] == 0]
    if not second.any() or second.all():
        fewest = counts[:, -1].argmin()
        second[fewest] = not second[fewest]
    return second


def named_groups(samples: Sequence[Sample], group_by: str) -> list[str | None]:
    """The group of each image: patient, video, scene.

    Args:
        samples: of a data set.
        group_by: "folder", for the folder that an image lies in; or a regular expression, searched for in the file names: what
            its first brackets match names the group, or all that it matches where it has none. `^[^_]+` takes what comes
            before the first underscore.

    Returns:
        Names; None for images whose names do not match, which are nobody's.

    Raises:
        ValueError: for what is no regular expression, or matches no image.
    """
    if group_by == "folder":
        return [str(Path(sample.path or sample.file_name).parent) for sample in samples]
    try:
        pattern = re.compile(group_by)
    except re.error as error:
        raise ValueError(f"Groups are named by folder or a regular expression; {group_by!r} is none: {error}.") from None
    matches = [pattern.search(sample.file_name) for sample in samples]
    if not any(matches):
        example = samples[0].file_name if samples else "no image"
        raise ValueError(f"{group_by!r} matches none of {len(samples)} file names, such as {example}.")
    return [match and (match.group(1) if pattern.groups else match.group()) for match in matches]
