"""What looking at an image several times gains, and what it costs: AP of masks and boxes with and without it.

python bench/gains.py --data val.json [--images folder] [--model nuclei] [--limit 20]

Each way of looking scores the same images, one after the other; seconds are of the processor, so that others on the machine
count little. Nothing is trained. Prints a table for docs/measurements.md.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import maskrcnn
from maskrcnn.cli.models import load_to_run
from maskrcnn.inference.ensemble import TTA_SCALES, Ensemble
from maskrcnn.verbs.evaluate import evaluate

WAYS: dict[str, dict[str, Any] | None] = {
    "once": None,
    "mirrored too": {"flip": "horizontal"},
    "mirrored and at three scales (`--tta`)": {"flip": "horizontal", "scales": TTA_SCALES},
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Gain and cost of test-time augmentation.")
    parser.add_argument(
        "--model", default="nuclei", help="A published name, the included model's, a file, or an exported model."
    )
    parser.add_argument("--data", type=Path, required=True, help="Annotations of images that the model did not learn from.")
    parser.add_argument("--images", type=Path, help="Their folder, where it is not beside the annotations.")
    parser.add_argument("--limit", type=int, help="The first so many images alone.")
    arguments = parser.parse_args()
    model = load_to_run(arguments.model, None)
    data = maskrcnn.load_dataset(arguments.data, images=arguments.images)
    data = replace(data, samples=data.samples[: arguments.limit])
    evaluate(model, replace(data, samples=data.samples[:1]))  # compiles and warms up
    print(len(data), "images")
    print("| looked at | mask AP | AP50 | AP75 | box AP | processor seconds an image |")
    print("|---|---|---|---|---|---|", flush=True)
    for name, options in WAYS.items():
        start = time.process_time()
        scores = evaluate(model if options is None else Ensemble([model], **options), data)
        seconds = (time.process_time() - start) / len(data)
        mask = " | ".join(f"{scores['mask'][key]:.3f}" for key in ("AP", "AP50", "AP75"))
        print(f"| {name} | {mask} | {scores['box']['AP']:.3f} | {seconds:.2f} |", flush=True)


if __name__ == "__main__":
    main()
