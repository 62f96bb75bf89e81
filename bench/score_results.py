"""Scores a COCO-format result file, whoever wrote it, with this package's metrics: COCO's and biology's.

python bench/score_results.py DATA RESULTS.json [--score 0.5] [--json FILE]

DATA is anything `load_dataset` reads. Rows are matched with images by `image_id`, or by `file_name` where rows bring one, as
`maskrcnn predict`'s do; and with classes by `category_id`, or by `category_name`. Where DATA has one class, all rows are of it.
Biology's scores are given for the least score that is named and for the one that is best on DATA itself, which flatters.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Console

from maskrcnn.data.dataset import Dataset, load_dataset
from maskrcnn.inference.scoring import write_scores
from maskrcnn.metrics.biology import SCORES, BiologyScores, evaluate_biology
from maskrcnn.metrics.coco import evaluate_coco
from maskrcnn.reports.tables import print_scores


def of_the_data(rows: list[dict[str, Any]], dataset: Dataset) -> list[dict[str, Any]]:
    """The rows with the data's own ids of images and classes; those of other classes are left out."""
    images = {Path(sample.file_name).name: sample.image_id for sample in dataset.samples}
    if len(images) < len(dataset) and any("file_name" in row for row in rows):
        raise ValueError(f"{dataset.name} has images of one name in several folders, so file_name cannot tell them apart.")
    classes = {category.name: category.id for category in dataset.categories}
    translated = []
    for row in rows:
        own = dict(row)
        if "file_name" in row:
            name = Path(row["file_name"]).name
            if name not in images:
                raise ValueError(f"A result is of {name}, which {dataset.name} does not have.")
            own["image_id"] = images[name]
        if len(classes) == 1:
            (own["category_id"],) = classes.values()
        elif "category_name" in row:
            if row["category_name"] not in classes:
                continue
            own["category_id"] = classes[row["category_name"]]
        translated.append(own)
    return translated


def main() -> None:
    parser = argparse.ArgumentParser(description="Score a COCO-format result file.")
    parser.add_argument("data", type=Path, help="what load_dataset reads")
    parser.add_argument("results", type=Path, help="rows with image_id or file_name, category, score, segmentation (RLE)")
    parser.add_argument("--images", type=Path, help="folder of DATA's images, where it isn't beside the JSON")
    parser.add_argument("--score", type=float, default=0.5, help="least score of what biology counts as found")
    parser.add_argument("--json", type=Path, help="write the scores there as well")
    arguments = parser.parse_args()
    dataset = load_dataset(arguments.data, images=arguments.images, verify_images=False)
    rows = of_the_data(json.loads(arguments.results.read_text()), dataset)
    most = max(Counter(row["image_id"] for row in rows).values(), default=0)
    limits = (1, 10, 100, most) if most > 100 else (1, 10, 100)
    scores = evaluate_coco(dataset.samples, dataset.categories, rows, max_detections=limits)
    scores["biology"] = evaluate_biology(dataset.samples, dataset.categories, rows, score=arguments.score)

    by_threshold = BiologyScores(dataset.categories, scores=SCORES)
    for sample in dataset.samples:
        by_threshold.add(sample, [row for row in rows if row["image_id"] == sample.image_id])
    best = by_threshold.best_threshold()
    scores["biology_at_best_threshold"] = evaluate_biology(dataset.samples, dataset.categories, rows, score=best)
    console = Console()
    print_scores(scores, console)
    numbers = ", ".join(
        f"{name} {scores['biology_at_best_threshold'][name]:.3f}" for name in ("DSB", "AP50", "AP75", "PQ", "AJI")
    )
    console.print(f"From {best:.2f} up, which is best on these images themselves: {numbers}")
    if arguments.json is not None:
        write_scores(arguments.json, scores)


if __name__ == "__main__":
    main()
