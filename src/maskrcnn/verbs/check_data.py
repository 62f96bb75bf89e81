"""Check a data set: all that is wrong or odd with it, as a list, a page, and a repaired copy."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from maskrcnn.annotations.faults import Fault
from maskrcnn.annotations.formats import check_writable, write_annotations
from maskrcnn.annotations.writing import ImagesTo
from maskrcnn.atomic import new_folder
from maskrcnn.data.dataset import Dataset, load_dataset
from maskrcnn.doctor.checks import check, repaired
from maskrcnn.doctor.findings import Checkup
from maskrcnn.doctor.fingerprints import take_fingerprints
from maskrcnn.reports.check_page import write_check_page
from maskrcnn.reports.error_images import read_rgb
from maskrcnn.structures import Detector


def check_data(
    data: str | Path | Dataset,
    val: str | Path | Dataset | None = None,
    *,
    model: Detector | None = None,
    progress: Callable[[], None] = lambda: None,
) -> Checkup:
    """Looks at a data set, or at two that belong together, for all that spoils training or scores. Changes nothing.

    Beside the faults that `train` tells: images that cannot be read, have one color, come twice or nearly so, within each part
    and between the two; objects that may be drawn twice or have two classes; classes that one part lacks; sizes and channels
    that vary. With a model also annotations that it contradicts with confidence.

    Each image is read once, a few at a time; with a model once more.

    Example:
        ```python
        checkup = check_data("train.json", "val.json")
        for kind, findings in checkup.kinds().items():
            print(kind, len(findings), findings[0].message)
        ```

    Args:
        data: a data set, or the path of one.
        val: what is validated with; None: nothing.
        model: a trained model that knows some of the classes.
        progress: called after each image that was read.

    Returns:
        What was found, the worst first.

    Raises:
        ValueError: data that cannot be read, and a model that has no class in common with it.
    """
    given = {"train": data} if val is None else {"train": data, "val": val}
    parts = {name: _opened(part) for name, part in given.items()}
    prints = {name: list(take_fingerprints(part.samples, progress=progress)) for name, part in parts.items()}
    checkup = check(parts, prints)
    if model is None:
        return checkup

    from maskrcnn.doctor.labels import suspects
    from maskrcnn.verbs.evaluate import evaluate  # needs Keras

    def looked_at(_: int) -> None:
        progress()

    for name, part in parts.items():
        readable = [sample for sample, taken in zip(part.samples, prints[name]) if not isinstance(taken, ValueError)]
        places = {id(sample): place for place, sample in enumerate(part.samples)}
        scores = evaluate(model, Dataset(readable, part.categories, name=part.name), progress=looked_at)
        found = suspects(name, scores.evaluation, [places[id(sample)] for sample in readable])
        checkup = checkup.with_findings(found)
    return checkup


def write_page(checkup: Checkup, path: str | os.PathLike[str]) -> Path:
    """Writes what was found as one HTML page, with images, that opens without a network and can be ticked off.

    Args:
        checkup: as `check_data` gives it.
        path: of the page.

    Returns:
        The path.
    """
    names = " and ".join(data.name or part for part, data in checkup.parts.items())
    return write_check_page(path, checkup, title=f"Check of {names}", read=read_rgb)


class Repaired(NamedTuple):
    """A copy without what was wrong.

    Attributes:
        parts: what was written, by part.
        left_out: how many images each part lost.
        lost: what the format cannot say.
    """

    parts: Mapping[str, Dataset]
    left_out: Mapping[str, int]
    lost: list[Fault]

    def summary(self) -> str:
        """A few lines to print."""
        lines = [
            f"{f'{name}: ' if len(self.parts) > 1 else ''}{len(part)} images are written, {self.left_out[name]} left out"
            for name, part in self.parts.items()
        ]
        return "\n".join([*lines, *(f"not written: {fault.message}" for fault in self.lost)])


def write_repaired(checkup: Checkup, out: str | Path, *, to: str = "coco", images: ImagesTo = "copy") -> Repaired:
    """Writes a copy in which everything is put right that needs no person's judgement; the original stays as it is.

    Left out are images that cannot be read or have one color, all but one of those that are the same, and images to train on
    that are also, or nearly, among those to validate. Objects are as their reader repaired them: boxes and areas measured on
    masks, objects drawn twice once. The other findings are a person's to decide.

    Args:
        checkup: as `check_data` gives it.
        out: a folder that is not there or empty; with two parts they become `train/` and `val/` in it.
        to: the format, see docs/data.md.
        images: "copy" into the folder, "link" to them, which takes no room, or "none".

    Raises:
        ValueError: for an unknown format, a folder with something in it, and where no image is left.
    """
    check_writable(to)
    with new_folder(Path(out)) as folder:
        parts = repaired(checkup)
        for name, part in parts.items():
            if not part.samples:
                raise ValueError(f"No image of {name} is left once faulty ones are left out; look at the findings.")
        lost: list[Fault] = []
        for name, part in parts.items():
            lost += write_annotations(part, to, folder / name if len(parts) > 1 else folder, images=images)
        return Repaired(parts, {name: len(data) - len(parts[name]) for name, data in checkup.parts.items()}, lost)


def _opened(data: str | Path | Dataset) -> Dataset:
    """The data set; its images are read later, once, for the fingerprints, which finds those that are cut off too."""
    return load_dataset(data, verify_images=False) if isinstance(data, (str, Path)) else data
