"""One process at a time writes into a folder of results."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

LOCK = ".maskrcnn.lock"  # the operating system lets go of it when the process ends, however it ends
OWNER = ".maskrcnn.owner"  # who holds it, for people


class FolderInUseError(OSError):
    """Another process writes into the folder."""


@contextmanager
def owned(folder: str | os.PathLike[str], work: str, log: Callable[[str], None]) -> Iterator[None]:
    """While it is open, no other process gets the folder by this function. It is made where it is not there.

    Args:
        folder: of the results.
        work: what is done there, such as "training": other processes are told.
        log: told where an earlier owner ended without giving the folder back. Its unfinished files are removed.

    Raises:
        FolderInUseError: another process has the folder; one line that says which.
    """
    from filelock import FileLock, Timeout

    folder = Path(folder)
    made = _make(folder)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise FolderInUseError(
            f"{folder} is in use by {_described(_owner(folder))}; wait until it is done, or choose another folder."
        ) from None
    try:
        _take_over(folder, log)
        owner = {
            "work": work,
            "process": os.getpid(),
            "host": socket.gethostname(),
            "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        }
        (folder / OWNER).write_text(json.dumps(owner), encoding="utf-8")
        yield
    finally:
        (folder / OWNER).unlink(missing_ok=True)
        with suppress(OSError):  # Windows removes no file that is open
            (folder / LOCK).unlink(missing_ok=True)
        lock.release()
        for path in reversed(made):
            with suppress(OSError):  # only what is empty, because nothing came of the work
                path.rmdir()


def _make(folder: Path) -> list[Path]:
    """Makes the folder; those that were not there, the outermost first."""
    missing = [path for path in (*reversed(folder.parents), folder) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing


def _take_over(folder: Path, log: Callable[[str], None]) -> None:
    if not (folder / OWNER).exists():
        return
    owner = _owner(folder)
    log(f"{folder} was left by {_described(owner)}, which ended without giving it back; this process takes it over.")
    if owner.get("host") == socket.gethostname() and isinstance(owner.get("process"), int):
        for part in folder.glob(f".*.{owner['process']}.part"):
            if part.is_file():
                part.unlink(missing_ok=True)


def _owner(folder: Path) -> dict[str, Any]:
    try:
        owner = json.loads((folder / OWNER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return owner if isinstance(owner, dict) else {}


def _described(owner: dict[str, Any]) -> str:
    if not owner:
        return "another process"
    return f"{owner.get('work')} of process {owner.get('process')} on {owner.get('host')}, begun {owner.get('since')}"
