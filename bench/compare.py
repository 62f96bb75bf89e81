"""This package beside torchvision: same images, same weights, in one run; a table and a JSON.

python bench/compare.py --peer-python PYTHON [--out FILE] [--rounds 5] [--exports openvino:int8 onnx:float32] [--compiled]

PYTHON has torch, torchvision, numpy and Pillow; the one that runs this has maskrcnn and its backend. Both sides hold a
ResNet-50-FPN with the same random weights, calibrated so that about a hundred objects are found. They are asked in turn, and
the ratio of the medians counts, because a busy machine is busy for both. Answers are compared too: a fast wrong one is no
answer. With --exports the model is exported in these formats and precisions, and with --compiled torchvision's networks are
compiled by `torch.compile`; each of them is one more side that is asked in turn. All ratios are to torchvision as it comes.
With --backends jax torch training is timed on these as well; --only training leaves out all else.
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
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from side import Side

from maskrcnn.atomic import write_json

HERE = Path(__file__).parent
SIZE = (800, 1333)
PEER, COMPILED = "torchvision", "torchvision compiled"


def main() -> None:
    parser = argparse.ArgumentParser(description="This package beside torchvision.")
    parser.add_argument("--peer-python", default=sys.executable, help="a Python with torch and torchvision")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2, help="of training, in a round")
    parser.add_argument("--exports", nargs="*", default=(), metavar="FORMAT:PRECISION", help="also exported")
    parser.add_argument("--compiled", action="store_true", help="also torchvision under torch.compile")
    parser.add_argument("--backends", nargs="*", default=(), help="of Keras, on which to train besides this process's")
    parser.add_argument("--only", choices=("inference", "training"), help="leave out the others of start, inference, training")
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
            backends=arguments.backends,
            parts=(arguments.only,) if arguments.only else ("start", "inference", "training"),
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
    backends: Sequence[str] = (),
    parts: Sequence[str] = ("start", "inference", "training"),
) -> dict[str, Any]:
    image, data, weights, model = (str(folder / name) for name in ("image.png", "data.npz", "weights.pth", "model.keras"))

    def ours(**environment: str) -> Side:
        return Side(sys.executable, HERE / "side_ours.py", TF_CPP_MIN_LOG_LEVEL="3", **environment)

    def peer() -> Side:
        return Side(peer_python, HERE / "side_torchvision.py")

    with ours() as a, peer() as b:
        a.ask("draw", image=image, data=data, size=SIZE)
        b.ask("prepare", image=image, weights=weights)
        a.ask("convert", weights=weights, out=model)
    found: dict[str, Any] = {"machine": f"{platform.machine()}, {os.cpu_count()} cores", "rows": {}}
    if "start" in parts:
        found["rows"]["start to first answer, s"] = _starts(ours, peer, image, weights, model, rounds)
    if "inference" in parts:
        models = {"inference": model}
        for name in exports:
            format, precision = name.split(":")
            with ours() as a:  # a process of its own, so that what exporting takes is in nobody's peak
                out = str(folder / f"{format}-{precision}")
                written = a.ask("export", model=model, out=out, format=format, precision=precision, size=SIZE)
                models[f"{format} {precision}"] = written["path"]
        with ExitStack() as stack:
            sides = {name: stack.enter_context(ours()) for name in models}
            for name, side in sides.items():
                side.ask("load", model=models[name])
            theirs = _peers(stack, peer, weights, compiled)
            found["agreement"], rows = _inference(sides | theirs, image, rounds)
        found["rows"] |= rows
    if "training" in parts:
        with ExitStack() as stack:
            sides = {"training": stack.enter_context(ours())}
            sides |= {f"training on {name}": stack.enter_context(ours(KERAS_BACKEND=name)) for name in backends}
            for side in sides.values():
                side.ask("load", model=model)
            theirs = {f"{name}, training": side for name, side in _peers(stack, peer, weights, compiled).items()}
            found["rows"] |= _training(sides | theirs, data, rounds, steps)
    return found


def _peers(stack: ExitStack, peer: Callable[[], Side], weights: str, compiled: bool) -> dict[str, Side]:
    """torchvision, as it comes last."""
    sides = {}
    for name in [COMPILED, PEER] if compiled else [PEER]:
        sides[name] = stack.enter_context(peer())
        sides[name].ask("load", weights=weights, compiled=name == COMPILED)
    return sides


def _inference(sides: dict[str, Side], image: str, rounds: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Agreement with the last side, by name; and the rows of the table."""
    answers = {name: side.ask("infer", image=image) for name, side in sides.items()}
    *others, peer = answers
    same = {name: agreement(answers[name], answers[peer]) for name in others}
    timings = [{name: side.ask("infer", image=image) for name, side in sides.items()} for _ in range(rounds)]
    rows = {}
    for name in others:
        pairs = [[answers[name], answers[peer]] for answers in timings]
        rows[f"{name}, s an image"] = _row(pairs, "seconds")
        rows[f"{name}, processor s an image"] = _row(pairs, "processor_seconds")
        rows[f"{name}, peak MB"] = _row(pairs[-1:], "peak_mb")
    return same, rows


def _training(sides: dict[str, Side], data: str, rounds: int, steps: int) -> dict[str, Any]:
    first = {name: side.ask("train", data=data, steps=1) for name, side in sides.items()}
    learnt = [answer["parameters"] for answer in first.values()]
    if max(learnt) / min(learnt) - 1 > 1e-3:  # torchvision has boxes and masks for the background too
        sys.exit(f"The sides do not learn the same: {learnt} parameters.")
    timings = [{name: side.ask("train", data=data, steps=steps) for name, side in sides.items()} for _ in range(rounds)]
    *others, peer = sides
    rows = {}
    for name in others:
        rows[f"{name}, first step, s"] = _row([[first[name], first[peer]]], "seconds")
        pairs = [[answers[name], answers[peer]] for answers in timings]
        rows[f"{name}, s a step of two 512×512"] = _row(pairs, "seconds", per=steps)
        rows[f"{name}, processor s a step"] = _row(pairs, "processor_seconds", per=steps)
        rows[f"{name}, peak MB"] = _row(pairs[-1:], "peak_mb")
    return rows


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
    print(f"{found['machine']}; agreement: {json.dumps(found.get('agreement'))}")
    print("| | this | torchvision | torchvision / this |")
    print("|---|---|---|---|")
    for name, row in found["rows"].items():
        print(f"| {name} | {row['ours']} | {row['torchvision']} | {row['ratio']} |")


if __name__ == "__main__":
    main()
