"""Variants of a training side by side: every variant with every seed, each run in a process of its own.

The recipes that compare import it. A run that is done is not made again, so a comparison may be cut short and called anew; and
seeds go round in the outer loop, so that a table is there after the first of them.
"""

from __future__ import annotations

import json
import multiprocessing
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from maskrcnn.atomic import write_json

Scores = dict[str, float]


def compare(
    variants: Mapping[str, Mapping[str, Any]],
    seeds: Sequence[int],
    out: Path,
    run: Callable[[Path, Mapping[str, Any], int], Scores],
) -> dict[str, list[Scores]]:
    """Runs every variant with every seed.

    Args:
        variants: name to what it changes.
        seeds: of the trainings.
        out: folder; each run has one in it, with its `scores.json`.
        run: trains into a folder with the changes and the seed, and answers scores; a function that processes can be given.

    Returns:
        Name of the variant to the scores of its seeds.
    """
    for seed in seeds:
        for name, changes in variants.items():
            folder = out / name.replace(" ", "-") / str(seed)
            if not (folder / "scores.json").is_file():
                process = multiprocessing.get_context("spawn").Process(target=_one, args=(run, folder, changes, seed))
                process.start()
                process.join()
                if process.exitcode:
                    sys.exit(f"The run in {folder} failed.")
        print_table({name: [_scores(out, name, one) for one in seeds[: seeds.index(seed) + 1]] for name in variants})
    return {name: [_scores(out, name, seed) for seed in seeds] for name in variants}


def print_table(scores: Mapping[str, Sequence[Scores]]) -> None:
    """A row for each variant: mean of its seeds and their standard deviation."""
    columns = list(next(iter(scores.values()))[0])
    num_seeds = len(next(iter(scores.values())))
    print(f"| {num_seeds} seeds | {' | '.join(columns)} |")
    print("|" + "---|" * (len(columns) + 1))
    for name, runs in scores.items():
        print(f"| {name} | {' | '.join(_cell([run[column] for run in runs]) for column in columns)} |", flush=True)


def _one(run: Callable[[Path, Mapping[str, Any], int], Scores], folder: Path, changes: Mapping[str, Any], seed: int) -> None:
    scores = run(folder, changes, seed)
    for unneeded in ("best.keras", "last.keras", "resume.safetensors"):
        (folder / unneeded).unlink(missing_ok=True)
    write_json(folder / "scores.json", scores)


def _scores(out: Path, name: str, seed: int) -> Scores:
    return json.loads((out / name.replace(" ", "-") / str(seed) / "scores.json").read_text())


def _cell(values: list[float]) -> str:
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{spread}"
