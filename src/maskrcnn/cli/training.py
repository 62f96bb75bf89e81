"""How a training is shown: one live bar on a terminal, a line at least every half minute in a file."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar

from maskrcnn.cli import console as consoles

if TYPE_CHECKING:
    from maskrcnn.training.progress import Progress

SECONDS = 20.0  # between lines in a file; a step may take as long again before the next can be written
WORDS = {"training": "", "validation": ", validating", "scoring": ", scoring"}
SHOWN = {"val_mask_ap": "mask AP", "val_box_ap": "box AP"}


class TrainingDisplay:
    """Shows each `Progress` of a training.

    Example:
        with TrainingDisplay() as display:
            maskrcnn.train(data, val, out, verbose=0, report=display.show, log=display.tell)

    Args:
        console: where to; the command line's own where None.
        seconds: at most so many between lines where it is no terminal.
    """

    def __init__(self, console: Console | None = None, *, seconds: float = SECONDS) -> None:
        self.console = console or consoles.console
        self.seconds = seconds
        self._told_at = time.monotonic()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rest]}"))
        self._bar = Bar(*columns, console=self.console, transient=True) if self.console.is_terminal else None
        self._task = None if self._bar is None else self._bar.add_task("Preparing", total=None, rest="")

    def __enter__(self) -> TrainingDisplay:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def tell(self, text: str) -> None:
        """A line that stays."""
        self.console.print(text, markup=False, soft_wrap=True)

    def show(self, progress: Progress) -> None:
        """Moves the bar; in a file writes a line where the last one is old. An epoch that is done has its line in both."""
        now = time.monotonic()
        if progress.phase == "epoch":
            self.tell(f"Epoch {progress.epoch} of {progress.epochs}: {scores_of(progress.values)}{_left(progress)}")
            self._told_at = now
        elif self._bar is not None and self._task is not None:
            where = f"Epoch {progress.epoch}/{progress.epochs}{WORDS[progress.phase]}"
            rest = f"{losses_of(progress.values)}{_left(progress)}"
            self._bar.update(self._task, description=where, completed=progress.done, total=progress.total, rest=rest)
        elif now - self._told_at >= self.seconds:
            kind = {"training": "step", "validation": "validation batch", "scoring": "scored image"}[progress.phase]
            self.tell(
                f"Epoch {progress.epoch} of {progress.epochs}, {kind} {progress.done} of {progress.total}: "
                f"{losses_of(progress.values)}{_left(progress)}"
            )
            self._told_at = now


def losses_of(values: Mapping[str, float]) -> str:
    """`loss 1.234 (class 0.200, mask 0.500, …)`."""
    parts = ", ".join(
        f"{name.removesuffix('_loss').replace('_', ' ')} {value:.3f}"
        for name, value in values.items()
        if name.endswith("_loss") and not name.startswith("val_")
    )
    return f"loss {values['loss']:.3f} ({parts})" if "loss" in values else ""


def scores_of(values: Mapping[str, float]) -> str:
    """What an epoch came to: its losses, and the scores of the validation data."""
    told = [losses_of(values)]
    if "val_loss" in values:
        told.append(f"validation loss {values['val_loss']:.3f}")
    told += [f"{word} {values[name]:.3f}" for name, word in SHOWN.items() if name in values]
    return ", ".join(told)


def _left(progress: Progress) -> str:
    if not progress.seconds_left:
        return ""
    minutes, seconds = divmod(round(progress.seconds_left), 60)
    hours, minutes = divmod(minutes, 60)
    return f", {hours}:{minutes:02}:{seconds:02} left" if hours else f", {minutes}:{seconds:02} left"
