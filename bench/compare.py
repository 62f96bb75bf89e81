"""This package beside torchvision: same pictures, same weights, in one run; a table and a JSON.

python bench/compare.py --peer-python PYTHON [--out compare.json] [--rounds 5]

PYTHON has torch, torchvision, numpy and Pillow; the one that runs this has maskrcnn and its backend. Both sides hold a
ResNet-50-FPN with the same random weights, calibrated so that about a hundred objects are found. They are asked in turn, and
the ratio of the medians counts, because a busy machine is busy for both. Answers are compared too: a fast wrong one is no
answer.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from side import Side

from maskrcnn.results.files import write_json

HERE = Path(__file__).parent
SIZE = (800, 1333)


def main() -> None:
    parser = argparse.ArgumentParser(description="This package beside torchvision.")
    parser.add_argument("--peer-python", default=sys.executable, help="a Python with torch and torchvision")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2, help="of training, in a round")
    parser.add_argument("--out", type=Path, help="write the numbers there")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = compare(Path(folder), arguments.peer_python, arguments.rounds, arguments.steps)
    print_table(found)
    if arguments.out is not None:
        write_json(arguments.out, found)


def compare(folder: Path, peer_python: str, rounds: int, steps: int) -> dict[str, Any]:
    picture, data, weights, model = (str(folder / name) for name in ("picture.png", "data.npz", "weights.pth", "model.keras"))

    def ours() -> Side:
        return Side(sys.executable, HERE / "side_ours.py", TF_CPP_MIN_LOG_LEVEL="3")

    def peer() -> Side:
        return Side(peer_python, HERE / "side_torchvision.py")

    with ours() as a, peer() as b:
        a.ask("draw", picture=picture, data=data, size=SIZE)
        b.ask("prepare", picture=picture, weights=weights)
        a.ask("convert", weights=weights, out=model)
    found: dict[str, Any] = {"machine": f"{platform.machine()}, {os.cpu_count()} cores", "rows": {}}
    found["rows"]["start to first answer, s"] = _starts(ours, peer, picture, weights, model, rounds)
    with ours() as a, peer() as b:
        a.ask("load", model=model)
        b.ask("load", weights=weights)
        answers = [side.ask("infer", picture=picture) for side in (a, b)]
        found["agreement"] = agreement(*answers)
        timings = [[side.ask("infer", picture=picture) for side in (a, b)] for _ in range(rounds)]
        found["rows"]["inference, s a picture"] = _row(timings, "seconds")
        found["rows"]["inference, processor s a picture"] = _row(timings, "processor_seconds")
        found["rows"]["inference, peak MB"] = _row(timings[-1:], "peak_mb")
    with ours() as a, peer() as b:
        a.ask("load", model=model)
        b.ask("load", weights=weights)
        first = [side.ask("train", data=data, steps=1) for side in (a, b)]
        learnt = [answer["parameters"] for answer in first]
        if abs(learnt[0] / learnt[1] - 1) > 1e-3:  # torchvision has boxes and masks for the background too
            sys.exit(f"The two sides do not learn the same: {learnt[0]} and {learnt[1]} parameters.")
        found["rows"]["first training step, s"] = _row([first], "seconds")
        timings = [[side.ask("train", data=data, steps=steps) for side in (a, b)] for _ in range(rounds)]
        found["rows"]["training, s a step of two 512×512"] = _row(timings, "seconds", per=steps)
        found["rows"]["training, processor s a step"] = _row(timings, "processor_seconds", per=steps)
        found["rows"]["training, peak MB"] = _row(timings[-1:], "peak_mb")
    return found


def _starts(ours: Any, peer: Any, picture: str, weights: str, model: str, rounds: int) -> dict[str, float]:
    """From a new process to the first masks, imports included."""

    def one(side: Any, **load: str) -> dict[str, float]:
        started = time.perf_counter()
        with side() as process:
            process.ask("load", **load)
            process.ask("infer", picture=picture)
            return {"seconds": time.perf_counter() - started}

    timings = [[one(ours, model=model), one(peer, weights=weights)] for _ in range(min(rounds, 3))]
    return _row(timings, "seconds")


def _row(timings: list[list[dict[str, Any]]], what: str, per: int = 1) -> dict[str, float]:
    ours, theirs = (statistics.median(pair[side][what] for pair in timings) / per for side in (0, 1))
    return {"ours": round(ours, 3), "torchvision": round(theirs, 3), "ratio": round(theirs / ours, 2)}


def agreement(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """How many objects each found, and the largest differences where the numbers are the same."""
    counts = len(ours["scores"]), len(theirs["scores"])
    if counts[0] != counts[1]:
        return {"objects": counts}
    boxes = zip(ours["boxes"], theirs["boxes"])
    return {
        "objects": counts,
        "scores": max(abs(a - b) for a, b in zip(ours["scores"], theirs["scores"])),
        "boxes": max(abs(a - b) for pair in boxes for a, b in zip(*pair)),
        "areas": max(abs(a - b) / max(b, 1) for a, b in zip(ours["areas"], theirs["areas"])),
    }


def print_table(found: dict[str, Any]) -> None:
    print(f"{found['machine']}; agreement: {json.dumps(found['agreement'])}")
    print("| | ours | torchvision | torchvision / ours |")
    print("|---|---|---|---|")
    for name, row in found["rows"].items():
        print(f"| {name} | {row['ours']} | {row['torchvision']} | {row['ratio']} |")


if __name__ == "__main__":
    main()
