"""What the commands print, to whom, and how errors read."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LONGEST_ERROR = 600  # characters; a backend's own errors run to pages


console = Console(highlight=False)


errors = Console(stderr=True, highlight=False, soft_wrap=True)


def tell(text: str) -> None:
    console.print(text, markup=False, soft_wrap=True)


@contextmanager
def progress(title: str, total: int | None, *, at_once: bool = True) -> Iterator[Callable[..., None]]:
    """A bar with the time left; yields what moves it on by one. It is shown at once, or when it first moves."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    bar = Progress(*columns, console=errors)
    task = bar.add_task(title, total=total)

    def advance(steps: int = 1) -> None:
        bar.start()
        bar.advance(task, steps)

    try:
        if at_once:
            bar.start()
        yield advance
    finally:
        if bar.live.is_started:
            bar.stop()


def tell_error(error: Exception) -> None:
    """What a person needs of an error: what this package says on purpose in full, anything else shortened to one line."""
    context = getattr(error, "ctx", None)
    if hasattr(error, "format_message"):  # of the command line itself: a missing option, an unknown command
        text = error.format_message() + (f" See: {context.command_path} --help" if context else "")
    elif isinstance(error, OSError) and error.strerror:
        text = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    elif _raised_here(error):
        text = str(error)
    else:
        text = f"{type(error).__name__}: {' '.join(str(error).split())[:LONGEST_ERROR]} (--debug shows where)"
    errors.print(f"[bold red]Error:[/] {escape(text)}")


def _raised_here(error: Exception) -> bool:
    """Whether the error was raised by a line of this package, as a ValueError, OSError, ImportError or MemoryError."""
    frames = traceback.extract_tb(error.__traceback__)
    own = bool(frames) and Path(frames[-1].filename).is_relative_to(Path(__file__).parents[1])
    return own and isinstance(error, (ValueError, OSError, ImportError, MemoryError))


def tell_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    errors.print(f"[yellow]Warning:[/] {escape(str(message))}")


def tell_stop(stop: KeyboardInterrupt) -> None:
    """What is kept of a command that was stopped, as the note says that its verb left."""
    notes = getattr(stop, "__notes__", [])
    errors.print(escape(notes[-1] if notes else "Stopped before it was done; no unfinished file is left."))
