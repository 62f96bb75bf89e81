"""Inspect: one image's way through a model as a page, and why objects were missed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from maskrcnn.api import MaskRCNN
from maskrcnn.data.dataset import Dataset, open_dataset
from maskrcnn.inference.explanation import Explanation
from maskrcnn.inference.inspection import Inspection
from maskrcnn.reports.inspection import write_inspection
from maskrcnn.structures import Sample


class Inspected(NamedTuple):
    """What came of it."""

    page: Path
    inspection: Inspection
    explanations: tuple[Explanation, ...]  # of each object of the ground truth

    @property
    def missed(self) -> list[Explanation]:
        """The objects that were missed, in their order."""
        return [explanation for explanation in self.explanations if explanation.lost_at is not None]


def inspect_image(
    model: MaskRCNN, image: str | Path, out: str | os.PathLike[str], *, truth: str | Path | Dataset | Sample | None = None
) -> Inspected:
    """Writes a page that shows every stage of one image, and for each missed object the stage that lost it.

    Example:
        ```python
        inspected = inspect_image(model, "cells.png", "page.html", truth="val.json")
        for explanation in inspected.missed:
            print(explanation)
        ```

    Args:
        model: a Keras model; exported models do not expose their stages.
        image: its path.
        out: the HTML file, replaced atomically; it needs no other file and no network.
        truth: the image's ground truth: a data set that contains the image, by path or by file name; the data set's path; or
            a `Sample` whose labels index the model's classes.

    Raises:
        ValueError: not an image; a data set without it, or with objects of classes that the model does not know.
    """
    sample = truth if truth is None or isinstance(truth, Sample) else sample_of(open_dataset(truth), image, model)
    inspection = model.inspect(image, sample)
    explanations = write_inspection(out, inspection, title=Path(image).name)
    return Inspected(Path(out), inspection, explanations)


def sample_of(dataset: Dataset, image: str | Path, model: MaskRCNN) -> Sample:
    """The ground truth of an image, its labels in the model's classes.

    Raises:
        ValueError: the data set does not have the image, or several of its name; or objects of unknown classes.
    """
    here = Path(image).resolve()
    found = [sample for sample in dataset.samples if sample.path and Path(sample.path).resolve() == here]
    found = found or [sample for sample in dataset.samples if Path(sample.file_name).name == here.name]
    if len(found) != 1:
        reason = f"has {len(found)} images of the name {here.name}" if found else f"has no image {here.name}"
        raise ValueError(f"{dataset.name or 'The data set'} {reason}; it has {_listed(dataset.samples)}.")
    (sample,) = replace(dataset, samples=found).with_categories(model.config.categories).samples
    return sample


def _listed(samples: Sequence[Sample], most: int = 3) -> str:
    rest = f" and {len(samples) - most} more" if len(samples) > most else ""
    return ", ".join(sample.file_name for sample in samples[:most]) + rest
