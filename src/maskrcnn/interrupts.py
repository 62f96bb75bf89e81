"""Ctrl-C, SIGTERM and SIGHUP: errors like any other, so that what is open is closed; or noted until a step is done."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)  # no SIGHUP on Windows


class Stopped(KeyboardInterrupt):
    """A signal asked the process to end.

    Attributes:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def exit_code(stop: KeyboardInterrupt) -> int:
    """128 and the signal's number, as shells have it."""
    return 128 + (stop.number if isinstance(stop, Stopped) else signal.SIGINT)


@contextmanager
def signals_as_errors() -> Iterator[None]:
    """While it is open, each of `SIGNALS` raises `Stopped` in the main thread, wherever that is."""
    with _handled_by(_raise):
        yield


class StopRequest:
    """Signals that wait until a piece of work is whole; between such pieces, and at the second one, they raise `Stopped`.

    Example:
        with StopRequest() as stop:
            for item in items:
                stop.hold()
                work(item)
                stop.release()  # raises here if a signal came meanwhile

    Args:
        one_within: seconds within which several signals are one, because others pass on what they got.
    """

    def __init__(self, *, one_within: float = 0.0) -> None:
        self.number: int | None = None
        self._one_within = one_within
        self._asked_at = 0.0
        self._held = False
        self._handlers: Any = _handled_by(self._handle)

    def __enter__(self) -> StopRequest:
        self._handlers.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._handlers.__exit__(kind, error, trace)

    def hold(self) -> None:
        """From here on a signal waits."""
        self._held = True

    def release(self) -> None:
        """Raises `Stopped` if a signal came since `hold`."""
        self._held = False
        if self.number is not None:
            raise Stopped(self.number)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        again = self.number is not None and time.monotonic() - self._asked_at >= self._one_within
        if self.number is None:
            self.number, self._asked_at = number, time.monotonic()
        if again or not self._held:
            raise Stopped(number)


def _raise(number: int, frame: FrameType | None) -> None:
    raise Stopped(number)


@contextmanager
def _handled_by(handler: Any) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # only there Python lets one handle signals
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    own = [number for number, known in before.items() if known is not signal.SIG_IGN]  # nohup ignores SIGHUP, and & SIGINT
    for number in own:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number in own:
            signal.signal(number, before[number] if before[number] is not None else signal.SIG_DFL)
