"""This package beside torchvision on one GPU: JAX and PyTorch, float32 and bfloat16; a table and a JSON.

python bench/gpu.py --peer-python PYTHON [--out gpu.json] [--rounds 10]

PYTHON has torch, torchvision, numpy and Pillow; the one that runs this has maskrcnn, and JAX or PyTorch with support for the
GPU. Both sides hold the ResNet-50-FPN of `bench/compare.py`, with the same random weights, and see the same images. One
process at a time has the GPU: nothing else should, so medians are compared and no turns are taken. Images go to the GPU and
answers come back within what is timed. In bfloat16 ours is under Keras's policy `mixed_bfloat16`, torchvision under autocast;
in float32 each library keeps its own default: JAX multiplies in TensorFloat-32, PyTorch does so in convolutions.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from compare import agreement
from side import Side

from maskrcnn.atomic import write_json

HERE = Path(__file__).parent
SIZES = ((800, 1333), (1024, 1024))
PRECISIONS = ("float32", "bfloat16")
BACKENDS = ("jax", "torch")
BATCH = 2  # images of a training step
WARM_UP = 2  # calls that are not counted: JAX compiles in the first one, cuDNN looks for its algorithms


def main() -> None:
    parser = argparse.ArgumentParser(description="This package beside torchvision on one GPU.")
    parser.add_argument("--peer-python", default=sys.executable, help="a Python with torch and torchvision")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--out", type=Path, help="write the numbers there")
    # Whether this script itself works can be seen without a GPU: --device cpu --sizes 128x160 --rounds 1.
    parser.add_argument("--device", choices=("gpu", "cpu"), default="gpu", help=argparse.SUPPRESS)
    parser.add_argument("--sizes", nargs="+", type=_size, default=SIZES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    names, backends = _devices(arguments.peer_python, arguments.device)
    if not backends:
        seen = ", ".join(f"{side}: {name or 'none'}" for side, name in names.items())
        print(f"No GPU is measured here: torchvision and one of our backends must see it ({seen}).")
        return
    with tempfile.TemporaryDirectory() as folder:
        found = compare(Path(folder), arguments.peer_python, arguments.device, backends, arguments.sizes, arguments.rounds)
    found["devices"] = names
    print_table(found)
    if arguments.out is not None:
        write_json(arguments.out, found)


def _size(text: str) -> tuple[int, int]:
    height, width = map(int, text.split("x"))
    return height, width


def _ours(backend: str, device: str) -> Side:
    # Several processes follow each other on one GPU; JAX would take three quarters of its memory at once.
    environment = {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    if device == "cpu":
        environment |= {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    return Side(sys.executable, HERE / "side_gpu_ours.py", **environment)


def _theirs(python: str) -> Side:
    return Side(python, HERE / "side_gpu_torchvision.py")


def _devices(peer_python: str, device: str) -> tuple[dict[str, str], list[str]]:
    """What each side computes on, "" where it has no such device or is not installed; our backends that can be compared."""
    names = {}
    for backend in BACKENDS:
        with _ours(backend, device) as side:
            names[backend] = side.ask("device", kind=device)["name"]
    with _theirs(peer_python) as side:
        names["torchvision"] = side.ask("device", kind=device)["name"]
    return names, [backend for backend in BACKENDS if names[backend] and names["torchvision"]]


def compare(folder: Path, peer_python: str, device: str, backends: list[str], sizes: Any, rounds: int) -> dict[str, Any]:
    weights, model = str(folder / "weights.pth"), str(folder / "model.keras")
    files = {size: {"image": str(folder / f"{size}.png"), "data": str(folder / f"{size}.npz")} for size in sizes}
    with _ours(backends[0], device) as ours, _theirs(peer_python) as theirs:
        for size in sizes:
            ours.ask("draw", **files[size], size=size, batch=BATCH)
        theirs.ask("prepare", image=files[sizes[0]]["image"], weights=weights, size=sizes[0])
        ours.ask("convert", weights=weights, out=model)

    found: dict[str, Any] = {"rows": []}
    for precision in PRECISIONS:
        with _theirs(peer_python) as side:
            side.ask("load", weights=weights, device=device, precision=precision)
            theirs_by_size = _measure(side, sizes, files, rounds)
        for backend in backends:
            with _ours(backend, device) as side:
                side.ask("load", model=model, precision=precision)
                ours_by_size = _measure(side, sizes, files, rounds)
            for size in sizes:
                (own, answer), (peer, peer_answer) = ours_by_size[size], theirs_by_size[size]
                row = {"size": size, "precision": precision, "backend": backend, "ours": own, "torchvision": peer}
                found["rows"].append({**row, "agreement": agreement(answer, peer_answer)})
    return found


def _measure(side: Side, sizes: Any, files: Any, rounds: int) -> dict[Any, tuple[dict[str, float], dict[str, Any]]]:
    """By size: milliseconds an image, training images a second and the GPU's largest memory so far; and the last answer."""
    found = {}
    for size in sizes:
        calls = [side.ask("infer", image=files[size]["image"], size=size) for _ in range(WARM_UP + rounds)]
        seconds = statistics.median(call["seconds"] for call in calls[WARM_UP:])
        found[size] = {"infer_ms": 1e3 * seconds}, calls[-1]
    for size in sizes:
        calls = [side.ask("train", data=files[size]["data"], size=size) for _ in range(WARM_UP + rounds)]
        seconds = statistics.median(call["seconds"] for call in calls[WARM_UP:])
        found[size][0].update(train_images_per_s=BATCH / seconds, peak_mb=calls[-1]["device_peak_mb"])
    return found


def print_table(found: dict[str, Any]) -> None:
    print("; ".join(f"{side}: {name}" for side, name in found["devices"].items()))
    print("| image | precision | backend | inference, ms | torchvision | ratio | training, images/s | torchvision | ratio |")
    print("|---|---|---|---|---|---|---|---|---|")
    for row in found["rows"]:
        ours, theirs = row["ours"], row["torchvision"]
        cells = [
            "{}×{}".format(*row["size"]),
            row["precision"],
            row["backend"],
            f"{ours['infer_ms']:.1f}",
            f"{theirs['infer_ms']:.1f}",
            f"{theirs['infer_ms'] / ours['infer_ms']:.2f}",
            f"{ours['train_images_per_s']:.2f}",
            f"{theirs['train_images_per_s']:.2f}",
            f"{ours['train_images_per_s'] / theirs['train_images_per_s']:.2f}",
        ]
        print(f"| {' | '.join(cells)} |")
    for row in found["rows"]:
        print(f"{row['size']}, {row['precision']}, {row['backend']}: {row['agreement']}")


if __name__ == "__main__":
    main()
