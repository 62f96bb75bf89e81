"""Look at a data set: a page of its images with their ground truth."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from maskrcnn.data.dataset import Dataset, load_dataset
from maskrcnn.data.selection import choose_images
from maskrcnn.doctor.checks import from_faults, object_findings
from maskrcnn.doctor.findings import Finding
from maskrcnn.reports.error_images import read_rgb
from maskrcnn.reports.view_page import write_view_page


def view_data(
    data: str | Path | Dataset,
    path: str | os.PathLike[str],
    *,
    num_images: int = 200,
    only_faulty: bool = False,
    seed: int = 0,
) -> Path:
    """Writes a page that shows images with their ground truth, to be filtered by class, size, fault and name in the browser.

    It is one HTML file of some 20 to 80 KB an image, which opens without a network. Faults are those of the annotations: what
    their reader told, and what their masks say. Those that the pixels tell need `check_data`, which reads all images.

    Args:
        data: a data set, or the path of one.
        path: of the page.
        num_images: at most; of a larger data set so many are drawn at random, with every class on one of them where possible.
        only_faulty: show images with a fault or a warning alone.
        seed: same seed, same images.

    Returns:
        The path.

    Raises:
        ValueError: data that cannot be read, or without a faulty image where these were asked for.
    """
    dataset = load_dataset(data, verify_images=False) if isinstance(data, (str, Path)) else data
    if only_faulty:
        places = {where.place for finding in _findings(dataset) for where in finding.where}
        if not places:
            raise ValueError(f"No image of {dataset.name or 'the data'} has a fault; look at all of them.")
        dataset = replace(dataset, samples=[dataset.samples[place] for place in sorted(places)])
    chosen = replace(choose_images(dataset, num_images, seed), faults=dataset.faults)
    return write_view_page(path, chosen, _findings(chosen), title=f"Images of {dataset.name or 'data'}", read=read_rgb)


def _findings(dataset: Dataset) -> list[Finding]:
    return [*from_faults("train", dataset), *object_findings("train", dataset)]
