"""Trains as `maskrcnn train` does, for so much processor time instead of so many epochs; `bench/accuracy.py` calls it.

python bench/train_for_seconds.py TRAIN.json VAL.json OUT --init mobilenet_v2_imagenet.npz --seconds 150 [--no-auto]

What is not set is chosen from the data, as `maskrcnn train` chooses it for a run of as many epochs as fit into the time, or
with `--no-auto` has its default. The learning rate warms up over a tenth of the steps that fit, and falls along the default's
cosine, over the time instead of the steps. The clock starts with the first step, so it counts what the backend compiles.

How many steps fit is found by training five of them, in a first process: `--probe`.

OUT gets `results.json` (COCO's result format, of VAL) and `timings.json`.
"""

from __future__ import annotations

import argparse
import math
import shutil
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras

import maskrcnn
from maskrcnn.atomic import write_json
from maskrcnn.config.run import RunConfig
from maskrcnn.training.optimizers import LAST_RATE, WARM_UP_STEPS, peak_rate
from maskrcnn.training.plan import Plan, make_plan
from maskrcnn.training.tuning import tuned
from maskrcnn.verbs.train import run_plan

PROBE_STEPS = 5
MORE = 10  # times the epochs that should fit: the time ends the run, not they


class ProcessorBudget(keras.callbacks.Callback):
    """Sets the learning rate by the processor time that is used up, and ends the training when all of it is."""

    def __init__(self, seconds: float, peak: float, warm_up_steps: int) -> None:
        super().__init__()
        self.seconds, self.peak, self.warm_up_steps = seconds, peak, warm_up_steps
        self.step, self.started, self.used, self.loss = 0, 0.0, 0.0, math.nan

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if not self.step:
            self.started = time.process_time()
        done = min(1.0, (time.process_time() - self.started) / self.seconds)
        falling = LAST_RATE + (1 - LAST_RATE) * (1 + math.cos(math.pi * done)) / 2
        rate = self.peak * falling * min(1.0, (self.step + 1) / max(1, self.warm_up_steps))
        self.model.optimizer.learning_rate = rate

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.step += 1
        self.used = time.process_time() - self.started
        self.loss = float((logs or {}).get("loss", math.nan))
        if self.step % 10 == 0:
            print(f"step {self.step}, {self.used:.0f} s: loss {self.loss:.3f}", flush=True)
        if self.used >= self.seconds:
            self.model.stop_training = True


class Probe(keras.callbacks.Callback):
    """Times the first steps: the first one compiles."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self.last = 0.0

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.last = self.last or time.process_time()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        now = time.process_time()
        self.seconds.append(now - self.last)
        self.last = now
        if len(self.seconds) == PROBE_STEPS:
            self.model.stop_training = True


def planned(arguments: argparse.Namespace, epochs: int) -> Plan:
    """The run as `maskrcnn train` would make it for so many epochs, into a folder that is empty."""
    shutil.rmtree(arguments.out, ignore_errors=True)
    arguments.out.mkdir(parents=True)
    config = RunConfig(init=arguments.init, model=arguments.model, seed=arguments.seed, epochs=epochs, no_report=True)
    plan = make_plan(arguments.train, None, arguments.out, config, resume=False, log=print)
    given = {"init", "model", "seed", "epochs", "no_report"}
    return tuned(plan, given, print) if arguments.auto else plan


def probe(arguments: argparse.Namespace) -> None:
    """Writes how many seconds the first step and each further one takes."""
    clock = Probe()
    plan = planned(arguments, RunConfig.epochs)
    run_plan(plan, callbacks=[clock], verbose=0)
    first, *others = clock.seconds
    seconds = {"first": first, "step": statistics.median(others), "steps_an_epoch": plan.steps}
    for file in arguments.out.glob("*.*"):
        if file.is_file():
            file.unlink()
    write_json(arguments.out / "probe.json", seconds)


def run(arguments: argparse.Namespace) -> None:
    """Trains, answers the images of VAL, and writes both files."""
    steps = max(1, round((arguments.seconds - arguments.first_seconds) / arguments.step_seconds))
    plan = planned(arguments, max(1, round(steps / arguments.steps_an_epoch)))
    config = plan.config
    budget = ProcessorBudget(arguments.seconds, peak_rate(config), min(WARM_UP_STEPS, steps // 10))
    network = run_plan(replace(plan, config=replace(config, epochs=MORE * config.epochs)), callbacks=[budget], verbose=0)
    started = time.process_time()
    scores = maskrcnn.evaluate(network, maskrcnn.load_dataset(arguments.val))
    scores.save_results(arguments.out / "results.json")
    model = network.config
    timings = {
        "steps": budget.step,
        "epochs": round(budget.step / plan.steps, 2),
        "train_cpu_seconds": round(budget.used, 1),
        "predict_cpu_seconds": round(time.process_time() - started, 1),
        "last_loss": budget.loss,
        "short_side": model.image.short_side,
        "long_side": model.image.long_side,
        "anchor_sizes": [size for sizes in model.anchors.sizes for size in sizes],
        "max_detections": model.detect.max_detections,
        "learning_rate": budget.peak,
        "batch_size": config.batch_size,
        "augment": str(config.augment),
    }
    for unneeded in ("best.keras", "last.keras", "resume.safetensors"):
        (arguments.out / unneeded).unlink(missing_ok=True)
    write_json(arguments.out / "timings.json", timings)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train for so much processor time.")
    parser.add_argument("train", type=Path, help="COCO JSON to learn from")
    parser.add_argument("val", type=Path, help="COCO JSON to answer")
    parser.add_argument("out", type=Path)
    parser.add_argument("--init", help="ImageNet weights", required=True)
    parser.add_argument("--model", help="preset; default: that of maskrcnn train")
    parser.add_argument("--seconds", type=float, default=150.0, help="of processor time")
    parser.add_argument("--auto", action=argparse.BooleanOptionalAction, default=True, help="choose from the data")
    parser.add_argument("--probe", action="store_true", help="time a few steps, write probe.json, and train no further")
    parser.add_argument("--first-seconds", type=float, default=0.0, help="of the first step, from probe.json")
    parser.add_argument("--step-seconds", type=float, default=2.0, help="of each further step, from probe.json")
    parser.add_argument("--steps-an-epoch", type=int, default=100, help="from probe.json")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    (probe if arguments.probe else run)(arguments)


if __name__ == "__main__":
    main()
