"""Training on what was corrected: a process of its own, watched while it runs, scored beside the model in use."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from maskrcnn.atomic import write_json
from maskrcnn.serving.labelling.store import IMAGES, Store
from maskrcnn.serving.meters import say

PROGRAM = (sys.executable, "-m", "maskrcnn")
RUNS = "runs"
SCORE = "mask AP"  # by which models are compared
GENTLE = ("--learning-rate", "5e-5")  # of `train`, a quarter of Adam's: for a model that knows the classes already
ENOUGH_IMAGES = 4  # to be sure that a model is better: of fewer the resamples hardly differ
LEAST_IMAGES = 2  # to train on; and one to score
_LAST_LINES = 4000  # characters of the log that explain a failure
_END = 20  # seconds that a process has to end by itself

Verdict = Literal["better", "perhaps better", "not better"]
Stage = Literal["idle", "training", "scoring", "done", "failed", "cancelled"]


class Trainer:
    """Trains on a project, one run at a time.

    Args:
        store: the project.
        model: path or name of the model that the server began with; empty for one that cannot be trained on.
        program: what runs the commands `train` and `evaluate`.
    """

    def __init__(self, store: Store, model: str, program: Sequence[str] = PROGRAM) -> None:
        self._store, self._model, self._program = store, model, program
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._cancelled = False
        self._stage: Stage = "idle"
        self._run = 0
        self._epochs = 0
        self._error = ""

    @property
    def in_use(self) -> str:
        """Path or name of the model that answers now."""
        run = next((run["number"] for run in self._store.runs() if run["used"]), None)
        return self._model if run is None else str(self.model_of(run))

    def folder(self, run: int) -> Path:
        return self._store.folder / RUNS / f"{run:04d}"

    def model_of(self, run: int) -> Path:
        """The last model of a run: not the best by the held-out images, whose score would then flatter it."""
        return self.folder(run) / "model" / "last.keras"

    def state(self) -> dict[str, Any]:
        """What there is to see of the run: its stage, its epochs so far with their losses and scores, and what went wrong."""
        return {
            "stage": self._stage,
            "run": self._run,
            "epochs": self._epochs,
            "history": _history(self.folder(self._run) / "model" / "history.csv") if self._run else [],
            "error": self._error,
        }

    def start(self, *, epochs: int, known: Sequence[str] = ()) -> int:
        """Begins a run.

        Args:
            epochs: of it.
            known: the classes of the model that answers now. Where the project has no others, that model only needs to be
                adjusted, with `GENTLE` settings; else it has to learn something new.

        Returns:
            Its number.

        Raises:
            ValueError: one is running, too little was corrected, or the model cannot be trained on.
        """
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                raise ValueError("A training is running; wait for it, or cancel it.")
            if not self.in_use:
                raise ValueError("An exported model cannot be trained on; start the server with the model that was exported.")
            train, held_out = self._store.as_coco(held_out=False), self._store.as_coco(held_out=True)
            if len(train["images"]) < LEAST_IMAGES or not held_out["images"] or not train["annotations"]:
                raise ValueError(
                    f"Training needs {LEAST_IMAGES} corrected images with objects and one that is held out for the score; "
                    f"there are {len(train['images'])} and {len(held_out['images'])}."
                )
            self._run, self._epochs = self._store.add_run(), epochs
            self._cancelled, self._error, self._stage = False, "", "training"
            folder = self.folder(self._run)
            folder.mkdir(parents=True)
            write_json(folder / "train.json", train)
            write_json(folder / "held_out.json", held_out)
            settings = GENTLE if set(self._store.class_names()) <= set(known) else ()
            work = (self._run, self.in_use, ["--epochs", str(epochs), *settings], len(held_out["images"]))
            self._thread = threading.Thread(target=self._work, args=work, name="trainer", daemon=True)
            self._thread.start()
        return self._run

    def cancel(self) -> None:
        """Ends the run, if there is one; the model in use stays."""
        self._cancelled = True
        process = self._process
        if process is not None and process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_END)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        if self._thread is not None:
            self._thread.join(_END)

    def _work(self, run: int, before: str, settings: Sequence[str], num_held_out: int) -> None:
        folder, images = self.folder(run), self._store.folder / IMAGES
        data = ["--data", folder / "train.json", "--images", images, "--val", folder / "held_out.json", "--val-images", images]
        try:
            model = ("--out", folder / "model", "--init", before, "--no-auto")
            self._command(folder, "train", *data, *model, *settings)
            self._stage = "scoring"
            self._store.set_run(run, scores=self._scores(folder, before, self.model_of(run)) | {"images": num_held_out})
            self._stage = "done"
        except _FailedError as error:
            self._error = "" if self._cancelled else str(error)
            self._stage = "cancelled" if self._cancelled else "failed"

    def _scores(self, folder: Path, before: str, after: Path) -> dict[str, Any]:
        """Average precision of the model that answers now and of the new one, on the held-out images; of the new one alone
        where the other knows other classes than the project.
        """
        target = folder / "scores.json"
        data = ["--data", folder / "held_out.json", "--images", self._store.folder / IMAGES, "--json", target]
        try:
            self._command(folder, "evaluate", "--compare", before, after, *data)
        except _FailedError:
            self._command(folder, "evaluate", "--model", after, *data)
            return {"before": {}, "after": _named(json.loads(target.read_text())["mask"])}
        found = json.loads(target.read_text())
        low, high = (found["difference"]["AP"][end] for end in ("low", "high"))
        return {"before": _named(found["first"]), "after": _named(found["second"]), "difference": [low, high]}

    def _command(self, folder: Path, *words: Any) -> None:
        """Runs `maskrcnn …` to its end; its output goes to the run's log.

        Raises:
            _FailedError: with the last line of its log.
        """
        log = folder / "log.txt"
        if self._cancelled:
            raise _FailedError("cancelled")
        with open(log, "ab") as file:
            self._process = subprocess.Popen(
                [*self._program, *map(str, words)],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in the server's terminal is the server's
            )
            code = self._process.wait()
        say("command ended", command=words[0], code=code)
        if code:
            text = log.read_text(errors="replace")[-_LAST_LINES:].strip()
            raise _FailedError(text.splitlines()[-1] if text else f"maskrcnn {words[0]} ended with code {code}")


def model_in_use(folder: Path, model: str | Path) -> str | Path:
    """The model that a person chose in a project to answer; `model` where none was chosen, or its file is gone."""
    store = Store(folder, [])
    try:
        chosen = Path(Trainer(store, "").in_use)
    finally:
        store.close()
    return chosen if chosen.is_file() else model


def verdict(scores: dict[str, Any]) -> Verdict | None:
    """Whether a run's model is better than the one before it on the held-out images; None where the two cannot be compared.

    Args:
        scores: of the run, as the project holds them.

    Returns:
        `"perhaps better"` where chance may explain it: the interval of the difference reaches 0, or there are few images.
    """
    before, after = (scores.get(when, {}).get(SCORE) for when in ("before", "after"))
    if before is None or after is None:
        return None
    if after <= before:
        return "not better"
    low, _ = scores.get("difference", (None, None))
    return "better" if low is not None and low > 0 and scores["images"] >= ENOUGH_IMAGES else "perhaps better"


class _FailedError(Exception):
    """A command did not do its work."""


def _history(path: Path) -> list[dict[str, float]]:
    """The epochs that are written so far."""
    try:
        with open(path, newline="") as file:
            return [{name: float(value) for name, value in row.items() if _is_number(value)} for row in csv.DictReader(file)]
    except FileNotFoundError:
        return []


def _is_number(text: Any) -> bool:
    try:
        return abs(float(text)) < float("inf")
    except (TypeError, ValueError):
        return False


def _named(scores: dict[str, Any]) -> dict[str, float]:
    """`{"AP": 0.4}` as `{"mask AP": 0.4}`; what is not known is left out."""
    return {f"mask {name}": scores[name] for name in ("AP", "AP50", "AP75") if isinstance(scores.get(name), float)}
