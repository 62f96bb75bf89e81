"""Of the time that `evaluate` takes, how much is not the model's?

python bench/evaluate_share.py nuclei ../shared/data/nuclei/train.json [--num-images 500] [--batch-size 1] [--out share.json]

The data's images are evaluated round and round until there were enough, after a few that compile the model. The share outside
is what is left of the whole time without the calls of the model, scoring included. Beside it, of some of the images: what
each stage takes by itself, one after the other in one thread.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import time
from pathlib import Path
from typing import Any

import maskrcnn
from maskrcnn.atomic import write_json
from maskrcnn.data.dataset import Dataset, load_dataset
from maskrcnn.inference.batches import _prepare
from maskrcnn.inference.scoring import evaluate
from maskrcnn.inference.whole import original
from maskrcnn.metrics.coco import evaluate_coco
from maskrcnn.structures import PaddedDetections

FIRST = 16  # images, which compile the model


def main() -> None:
    parser = argparse.ArgumentParser(description="How much of evaluate's time is not the model's.")
    parser.add_argument("model")
    parser.add_argument("data", type=Path)
    parser.add_argument("--num-images", type=int, default=500)
    parser.add_argument("--num-alone", type=int, default=60, help="Images of which each stage is timed by itself.")
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    model, dataset = maskrcnn.load_model(arguments.model), load_dataset(arguments.data)
    timed = Timed(model)
    evaluate(timed, first_of(dataset, FIRST), batch_size=arguments.batch_size)
    timed.seconds = 0.0
    started = time.perf_counter()
    evaluate(timed, first_of(dataset, arguments.num_images), batch_size=arguments.batch_size)
    whole = time.perf_counter() - started
    found = {
        "images": arguments.num_images,
        "batch_size": arguments.batch_size,
        "seconds": round(whole, 2),
        "model_seconds": round(timed.seconds, 2),
        "share_outside": round(1 - timed.seconds / whole, 4),
        "alone_ms_a_image": stages(model, first_of(dataset, arguments.num_alone), arguments.batch_size),
    }
    print(json.dumps(found))
    if arguments.out:
        write_json(arguments.out, found)


class Timed:
    """A model whose calls are timed."""

    def __init__(self, model: Any) -> None:
        self.config, self.seconds, self._model = model.config, 0.0, model

    def predict_on_batch(self, batch: dict[str, Any]) -> Any:
        started = time.perf_counter()
        try:
            return self._model.predict_on_batch(batch)
        finally:
            self.seconds += time.perf_counter() - started


def first_of(dataset: Dataset, count: int) -> Dataset:
    """So many images, each with an id of its own."""
    samples = itertools.islice(itertools.cycle(dataset.samples), count)
    return dataclasses.replace(dataset, samples=[sample.replace(image_id=number) for number, sample in enumerate(samples)])


def stages(model: Any, dataset: Dataset, batch_size: int) -> dict[str, float]:
    """Milliseconds an image of reading and resizing, of the model, of pasting, and of scoring."""
    spent = dict.fromkeys(("read", "model", "paste", "score"), 0.0)
    pairs = []
    samples = list(dataset.samples)
    for start in range(0, len(samples), batch_size):
        marks = [time.perf_counter()]
        part = samples[start : start + batch_size]
        batch = _prepare([sample.path for sample in part], model.config, batch_size)
        marks.append(time.perf_counter())
        answer = PaddedDetections(*model.predict_on_batch({"images": batch.images, "sizes": batch.sizes}))
        marks.append(time.perf_counter())
        for row, sample in enumerate(part):
            frame = batch.images.shape[1:3]
            found = original(answer, row, batch.sizes[row], frame, sample.size, model.config, score=model.config.detect.score)
            found.rle()
            pairs.append((sample.image_id, found))
        marks.append(time.perf_counter())
        for stage, begin, end in zip(spent, marks, marks[1:]):
            spent[stage] += end - begin
    started = time.perf_counter()
    evaluate_coco(samples, dataset.categories, pairs)
    spent["score"] = time.perf_counter() - started
    return {stage: round(1000 * seconds / len(samples), 2) for stage, seconds in spent.items()}


if __name__ == "__main__":
    main()
