"""What trainings and predictions take in memory, measured, beside what `maskrcnn.memory` expects; its factors, fitted anew.

python bench/memory_estimate.py [--only inference] [--out measured.json]
python bench/memory_estimate.py --measured measured.json --fit

Each case is a process of its own: a new model, the memory it holds then, and how far two calls or steps rise above that.
A run that was cut short goes on where `--out` ends. With `--fit` the factors of `maskrcnn.memory` are fitted to what was
measured, relative errors least, none negative, to be pasted there.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from maskrcnn import memory
from maskrcnn.config import presets
from maskrcnn.config.fields import replace

AIM = 1.05  # of what was measured: rather a little too high
MOBILE, RESNET = "mobilenet_v2_fpn", "resnet50_fpn"
VITDET = "vitdet_base_fpn"
WIDER = ("convnext_base_fpn", "swin_base_fpn")
FROZEN = {"backbone__frozen_stages": 2}
OTHERS = ("convnext_tiny_fpn", "swin_tiny_fpn", "regnetx_4gf_fpn", "mobilenet_v3_large_fpn", "efficientnet_lite0_fpn")

KEYPOINTS = {"keypoint_head__num_keypoints": 17}
KEYPOINTS_ALONE = {**KEYPOINTS, "mask_head__kind": "none"}
POINT_REND = {"mask_head__kind": "point_rend", "mask_head__mask_size": 224}

# task, preset, frame, batch, and what else differs
INFERENCE: list[dict[str, Any]] = [
    {"preset": preset, "frame": frame, "batch": batch, **rest}
    for preset, frame, batch, rest in (
        (MOBILE, (256, 256), 1, {}),
        (MOBILE, (512, 512), 1, {}),
        (MOBILE, (512, 512), 4, {}),
        (MOBILE, (512, 512), 16, {}),
        (MOBILE, (1024, 1024), 4, {}),
        (MOBILE, (512, 512), 1, {"detect__max_detections": 1000}),
        (MOBILE, (512, 512), 1, {"classes": 1203}),
        *((MOBILE, (512, 512), 1, {**KEYPOINTS_ALONE, "detect__max_detections": rows}) for rows in (100, 300)),
        (MOBILE, (512, 512), 1, KEYPOINTS),
        *((MOBILE, (512, 512), 1, {**POINT_REND, "detect__max_detections": rows}) for rows in (100, 400)),
        (MOBILE, (512, 512), 1, {**POINT_REND, "mask_head__mask_size": 112, "detect__max_detections": 400}),
        (MOBILE, (512, 512), 1, {**POINT_REND, "classes": 3, "detect__max_detections": 400}),
        (RESNET, (512, 512), 1, {}),
        (RESNET, (800, 1344), 1, {}),
        (RESNET, (800, 1344), 4, {}),
        *((VITDET, frame, batch, {}) for frame, batch in (((512, 512), 4), ((1024, 1024), 1))),
        *((preset, (512, 512), 4, {}) for preset in OTHERS),
        *((preset, (800, 1344), 1, {}) for preset in (*OTHERS, *WIDER)),
    )
]
TRAINING: list[dict[str, Any]] = [
    {"preset": preset, "frame": frame, "batch": batch, "rows": rows, **rest}
    for preset, frame, batch, rows, rest in (
        (MOBILE, (256, 256), 2, 16, {}),
        (MOBILE, (512, 512), 2, 64, {}),
        (MOBILE, (512, 512), 8, 64, {}),
        (MOBILE, (512, 512), 2, 1024, {}),
        (MOBILE, (512, 512), 4, 64, {"precision": "mixed_bfloat16"}),
        (MOBILE, (512, 512), 2, 64, {"backbone__frozen_stages": 0, "backbone__norm": "live"}),
        *((MOBILE, (512, 512), 1, 64, heads) for heads in (KEYPOINTS_ALONE, KEYPOINTS, POINT_REND)),
        (MOBILE, (512, 512), 2, 64, POINT_REND),
        (RESNET, (512, 512), 2, 64, {}),
        (RESNET, (512, 512), 4, 64, {"optimizer": "sgd"}),
        (RESNET, (800, 1344), 2, 64, {}),
        (RESNET, (512, 512), 2, 64, {"backbone__frozen_stages": 0, "backbone__norm": "live"}),
        (VITDET, (512, 512), 2, 64, {"backbone__frozen_stages": 0}),
        (VITDET, (768, 768), 1, 64, {"backbone__frozen_stages": 0}),
        *((preset, (512, 512), 2, 64, {}) for preset in OTHERS),
    )
]


def main() -> None:
    parser = argparse.ArgumentParser(description="Memory measured beside memory expected.")
    parser.add_argument("--only", choices=("inference", "training"))
    parser.add_argument("--measured", type=Path, help="What an earlier run wrote: nothing is measured anew.")
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(**json.loads(arguments.one))))
        return
    rows = json.loads(arguments.measured.read_text()) if arguments.measured else []
    if arguments.out and arguments.out.exists():
        rows = json.loads(arguments.out.read_text())
    if not arguments.measured:
        tasks = {"inference": INFERENCE, "training": TRAINING}
        for task in [arguments.only] if arguments.only else tasks:
            for case in tasks[task]:
                given = json.loads(json.dumps({"task": task, **case}))
                if any({name: row[name] for name in row if not name.endswith(("_mb", "_weights"))} == given for row in rows):
                    continue
                command = [sys.executable, __file__, "--one", json.dumps(given)]
                done = subprocess.run(command, capture_output=True, text=True)
                if done.returncode:
                    print("failed:", task, case, done.stderr.strip().splitlines()[-1:], flush=True)
                    continue
                rows.append({**given, **json.loads(done.stdout.splitlines()[-1])})
                print(json.dumps(rows[-1]), flush=True)
                if arguments.out:
                    arguments.out.write_text(json.dumps(rows, indent=1))
    if arguments.fit:
        fit(rows)
    print_table(rows)


def measure(
    task: str,
    preset: str,
    frame: tuple[int, int],
    batch: int,
    rows: int = 0,
    classes: int = 80,
    optimizer: str = "adam",
    precision: str = "float32",
    **changes: Any,
) -> dict[str, float]:
    """Megabytes held by a process with a new model, and how far its peak rises above that."""
    import keras

    import maskrcnn

    keras.config.set_dtype_policy(precision)
    sides = {"image__short_side": min(frame), "image__long_side": max(frame)}
    norm = {"backbone__norm": "frozen", "backbone__frozen_stages": 1 if preset == MOBILE else 2}
    if preset in (*OTHERS, *WIDER):
        norm = FROZEN
    model = maskrcnn.MaskRCNN.from_preset(preset, num_classes=classes, weights=None, seed=0, **(sides | norm | changes))
    if task == "training":
        model.compile(optimizer)
    before = status("VmRSS")
    rng = np.random.default_rng(0)
    if task == "inference":
        model.config = replace(model.config, detect__score=0.0)
        model.detect_boxes.config = model.config.detect  # so that every row is a detection with a mask
    for _ in range(2):
        images = rng.integers(0, 256, (batch, *frame, 3), np.uint8)
        sizes = np.tile(np.array([frame], np.int32), (batch, 1))
        if task == "inference":
            model.predict_on_batch({"images": images, "sizes": sizes})
        else:
            keypoints = model.config.keypoint_head.num_keypoints
            model.train_on_batch(truth(rng, images, sizes, rows, classes, keypoints=keypoints))
    weights = model.weights if task == "inference" else model.trainable_weights
    number = sum(int(np.prod(weight.shape)) for weight in weights)
    return {"num_weights": number, "before_mb": round(before), "measured_mb": round((status("VmHWM") - before) * 1.048576)}


def truth(rng: Any, images: Any, sizes: Any, rows: int, classes: int, *, keypoints: int) -> dict[str, Any]:
    """A batch of which three quarters of the rows are objects."""
    batch, height, width = images.shape[:3]
    corners = rng.uniform(0, 0.8, (batch, rows, 2)) * (width, height)
    boxes = np.concatenate([corners, corners + rng.uniform(16, 0.2 * min(height, width), (batch, rows, 2))], axis=2)
    valid = np.tile(np.arange(rows) < 0.75 * rows, (batch, 1))
    places = corners[:, :, None] + 8 * np.ones((batch, rows, keypoints, 2))
    marked = np.concatenate([places, np.full((*places.shape[:3], 1), 2.0)], axis=3).astype(np.float32)
    return {
        **({"keypoints": marked} if keypoints else {}),
        "images": images,
        "sizes": sizes,
        "boxes": boxes.astype(np.float32),
        "labels": rng.integers(0, classes, (batch, rows)).astype(np.int32),
        "masks": np.ones((batch, rows, 112, 112), np.uint8),
        "crowd": np.zeros((batch, rows), bool),
        "valid": valid,
        "image_ids": np.arange(batch, dtype=np.int64),
    }


def status(name: str) -> float:
    """A line of /proc/self/status in megabytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(name + ":"))


def parts_of(row: dict[str, Any]) -> dict[str, float]:
    """What the estimate is a sum of, bytes, for a measured case."""
    preset, frame, changes = row["preset"], tuple(row["frame"]), {name: row[name] for name in row if "__" in name}
    if preset in (*OTHERS, *WIDER):
        changes = FROZEN | changes
    config = replace(presets.preset(preset, presets.placeholder_categories(row.get("classes", 80))), **changes)
    if row["task"] == "inference":
        return memory.inference_parts(config, row["num_weights"], frame, row["batch"])
    slots = {"adam": 2, "sgd": 0}[row.get("optimizer", "adam")]  # this "sgd" has no momentum
    width = 4 if row.get("precision", "float32") == "float32" else 2
    options = {"slots": slots, "bytes_a_number": width}
    return memory.training_parts(config, row["num_weights"], frame, row["batch"], row["rows"], **options)


def fit(rows: list[dict[str, Any]]) -> None:
    """Prints the factors whose relative errors are least; a little too high rather than too low."""
    from scipy.optimize import nnls

    for task in ("inference", "training"):
        chosen = [row for row in rows if row["task"] == task]
        if not chosen:
            continue
        factors, parts = getattr(memory, task.upper()), [parts_of(row) for row in chosen]
        names = list(dict.fromkeys(name for each in parts for name in each))
        for _ in range(10 if task == "inference" else 1):  # which of two stages holds more rests on the factors themselves
            held = [each if task == "training" else larger_stage(factors, each) for each in parts]
            shares = [[each.get(name, 0.0) / row["measured_mb"] / 1e6 for name in names] for each, row in zip(held, chosen)]
            found, _ = nnls(np.array(shares), np.full(len(chosen), AIM))
            factors.update(
                {name: round(float(factor), 2) for name, factor in zip(names, found) if any(name in each for each in held)}
            )
        print(f"{task.upper()} = {json.dumps(factors, indent=4)}")


def larger_stage(factors: dict[str, float], parts: dict[str, float]) -> dict[str, float]:
    """The parts that are held at the peak, see `memory.inference_sum`."""
    stages = [[name for name in parts if name.startswith("backbone")], ["pyramid", "boxes", "masks"]]
    sums = [sum(factors[name] * parts[name] for name in stage) for stage in stages]
    return {name: parts[name] for name in ("fixed", "weights", *stages[int(sums[1] >= sums[0])])}


def print_table(rows: list[dict[str, Any]]) -> None:
    print("| | preset | frame | images | otherwise | measured MB | expected MB | |\n|---|---|---|---|---|---|---|---|")
    for row in rows:
        parts, training = parts_of(row), row["task"] == "training"
        in_training = sum(memory.TRAINING[name] * part for name, part in parts.items() if training)
        expected = (in_training if training else memory.inference_sum(memory.INFERENCE, parts)) / 1e6
        known = ("task", "preset", "frame", "batch", "before_mb", "measured_mb", "num_weights")
        rest = ", ".join(f"{name.replace('__', '.')} {value}" for name, value in row.items() if name not in known)
        height, width = row["frame"]
        off = expected / row["measured_mb"] - 1
        numbers = f"{row['measured_mb']} | {expected:.0f} | {off:+.0%}"
        print(f"| {row['task']} | {row['preset']} | {height}×{width} | {row['batch']} | {rest} | {numbers} |")


if __name__ == "__main__":
    main()
