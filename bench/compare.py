"""This package beside torchvision: same images, same weights, in one run; a table and a JSON.

python bench/compare.py --peer-python PYTHON [--out FILE] [--rounds 5] [--exports openvino:int8 onnx:float32] [--compiled]

PYTHON has torch, torchvision, numpy and Pillow; the one that runs this has maskrcnn and its backend. Both sides hold a
ResNet-50-FPN with the same random weights, calibrated so that about a hundred objects are found. They are asked in turn, and
the ratio of the medians counts, because a busy machine is busy for both. Answers are compared too: a fast wrong one is no
answer. With --exports the model is exported in these formats and precisions, and with --compiled torchvision's networks are
compiled by `torch.compile`; each of them is one more side that is asked in turn. All ratios are to torchvision as it comes.
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
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from side import Side

from maskrcnn.atomic import write_json

HERE = Path(__file__).parent
SIZE = (800, 1333)
COMPILED = "torchvision compiled"


def main() -> None:
    parser = argparse.ArgumentParser(description="This package beside torchvision.")
    parser.add_argument("--peer-python", default=sys.executable, help="a Python with torch and torchvision")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2, help="of training, in a round")
    parser.add_argument("--exports", nargs="*", default=(), metavar="FORMAT:PRECISION", help="also exported")
    parser.add_argument("--compiled", action="store_true", help="also torchvision under torch.compile")
    parser.add_argument("--only-inference", action="store_true", help="leave out training and the start")
    parser.add_argument("--out", type=Path, help="write the numbers there")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = compare(
            Path(folder),
            arguments.peer_python,
            arguments.rounds,
            arguments.steps,
            exports=arguments.exports,
            compiled=arguments.compiled,
            only_inference=arguments.only_inference,
        )
    print_table(found)
    if arguments.out is not None:
        write_json(arguments.out, found)


def compare(
    folder: Path,
    peer_python: str,
    rounds: int,
    steps: int,
    *,
    exports: Sequence[str] = (),
    compiled: bool = False,
    only_inference: bool = False,
) -> dict[str, Any]:
    image, data, weights, model = (str(folder / name) for name in ("image.png", "data.npz", "weights.pth", "model.keras"))

    def ours() -> Side:
        return Side(sys.executable, HERE / "side_ours.py", TF_CPP_MIN_LOG_LEVEL="3")

    def peer() -> Side:
        return Side(peer_python, HERE / "side_torchvision.py")

    with ours() as a, peer() as b:
        a.ask("draw", image=image, data=data, size=SIZE)
        b.ask("prepare", image=image, weights=weights)
        a.ask("convert", weights=weights, out=model)
    found: dict[str, Any] = {"machine": f"{platform.machine()}, {os.cpu_count()} cores", "rows": {}}
    models = {"inference": model}
    for name in exports:
        format, precision = name.split(":")
        with ours() as a:  # a process of its own, so that what exporting takes is in nobody's peak
            written = a.ask(
                "export", model=model, out=str(folder / f"{format}-{precision}"), format=format, precision=precision, size=SIZE
            )
            models[f"{format} {precision}"] = written["path"]
    if not only_inference:
        found["rows"]["start to first answer, s"] = _starts(ours, peer, image, weights, model, rounds)
    with ExitStack() as stack:
        sides = [stack.enter_context(ours()) for _ in models]
        for side, file in zip(sides, models.values()):
            side.ask("load", model=file)
        names = [*models, *([COMPILED] if compiled else [])]
        for number in range(len(names) - len(models) + 1):
            sides.append(stack.enter_context(peer()))
            sides[-1].ask("load", weights=weights, compiled=compiled and number == 0)
        *answers, theirs = [side.ask("infer", image=image) for side in sides]
        found["agreement"] = {name: agreement(answer, theirs) for name, answer in zip(names, answers)}
        timings = [[side.ask("infer", image=image) for side in sides] for _ in range(rounds)]
        for number, name in enumerate(names):
            pairs = [[answers[number], answers[-1]] for answers in timings]
            found["rows"][f"{name}, s an image"] = _row(pairs, "seconds")
            found["rows"][f"{name}, processor s an image"] = _row(pairs, "processor_seconds")
            found["rows"][f"{name}, peak MB"] = _row(pairs[-1:], "peak_mb")
    if only_inference:
        return found
    with ExitStack() as stack:
        names = ["training", *([f"{COMPILED}, training"] if compiled else [])]
        sides = [stack.enter_context(ours()), *(stack.enter_context(peer()) for _ in names)]
        sides[0].ask("load", model=model)
        for number, side in enumerate(sides[1:]):
            side.ask("load", weights=weights, compiled=compiled and number == 0)
        first = [side.ask("train", data=data, steps=1) for side in sides]
        learnt = [answer["parameters"] for answer in first]
        if max(learnt) / min(learnt) - 1 > 1e-3:  # torchvision has boxes and masks for the background too
            sys.exit(f"The sides do not learn the same: {learnt} parameters.")
        timings = [[side.ask("train", data=data, steps=steps) for side in sides] for _ in range(rounds)]
        for number, name in enumerate(names):
            found["rows"][f"{name}, first step, s"] = _row([[first[number], first[-1]]], "seconds")
            pairs = [[answers[number], answers[-1]] for answers in timings]
            found["rows"][f"{name}, s a step of two 512×512"] = _row(pairs, "seconds", per=steps)
            found["rows"][f"{name}, processor s a step"] = _row(pairs, "processor_seconds", per=steps)
            found["rows"][f"{name}, peak MB"] = _row(pairs[-1:], "peak_mb")
    return found


def _starts(ours: Any, peer: Any, image: str, weights: str, model: str, rounds: int) -> dict[str, float]:
    """From a new process to the first masks, imports included."""

    def one(side: Any, **load: str) -> dict[str, float]:
        started = time.perf_counter()
        with side() as process:
            process.ask("load", **load)
            process.ask("infer", image=image)
            return {"seconds": time.perf_counter() - started}

    timings = [[one(ours, model=model), one(peer, weights=weights)] for _ in range(min(rounds, 3))]
    return _row(timings, "seconds")


def _row(timings: list[list[dict[str, Any]]], what: str, per: int = 1) -> dict[str, float]:
    ours, theirs = (statistics.median(pair[side][what] for pair in timings) / per for side in (0, 1))
    return {"ours": round(ours, 3), "torchvision": round(theirs, 3), "ratio": round(theirs / ours, 2)}


def agreement(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """How many objects each found, how many both, and the largest differences where the numbers are the same."""
    counts = len(ours["scores"]), len(theirs["scores"])
    found = {"objects": counts, "in both": _num_shared(ours["boxes"], theirs["boxes"])}
    if counts[0] != counts[1]:
        return found
    boxes = zip(ours["boxes"], theirs["boxes"])
    return {
        **found,
        "scores": max(abs(a - b) for a, b in zip(ours["scores"], theirs["scores"])),
        "boxes": max(abs(a - b) for pair in boxes for a, b in zip(*pair)),
        "areas": max(abs(a - b) / max(b, 1) for a, b in zip(ours["areas"], theirs["areas"])),
    }


def _num_shared(ours: list[list[float]], theirs: list[list[float]], least_iou: float = 0.75) -> int:
    """How many of the boxes have one of their own among the others, of at least this IoU."""
    free, shared = list(ours), 0
    for box in theirs:
        best = max(free, key=lambda other: _iou(box, other), default=None)
        if best is not None and _iou(box, best) >= least_iou:
            free.remove(best)
            shared += 1
    return shared


def _iou(a: list[float], b: list[float]) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / max((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared, 1e-9)


def print_table(found: dict[str, Any]) -> None:
    print(f"{found['machine']}; agreement: {json.dumps(found['agreement'])}")
    print("| | this | torchvision | torchvision / this |")
    print("|---|---|---|---|")
    for name, row in found["rows"].items():
        print(f"| {name} | {row['ours']} | {row['torchvision']} | {row['ratio']} |")


if __name__ == "__main__":
    main()
