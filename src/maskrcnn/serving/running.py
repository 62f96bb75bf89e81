"""A server as a process: it listens, and ends in order when it is told to."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import NoReturn

import uvicorn
from fastapi import FastAPI

from maskrcnn.serving.meters import say, write_log_lines
from maskrcnn.serving.service import Service

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SPARE = 0.9  # of the grace is for requests, the rest for what is left then
_REFUSE = 0.8  # of that; from then on those that wait are refused, and still have the time to hear it
_KEEP_ALIVE = 20  # seconds for which an idle connection stays open
_SHORTEST_LIFE = 10.0  # seconds; a worker that ends sooner would only be started in vain again


class _Server(uvicorn.Server):
    """uvicorn's, but SIGTERM and Ctrl-C are orders and no failures: the process ends with 0."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service
        self._last: list[threading.Timer] = []

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        before = {number: signal.signal(number, self.handle_exit) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if not self.should_exit:
            self._service.admission.close()
            grace = self._service.settings.grace
            say("stopping", signal=signal.Signals(sig).name, grace=grace)
            self._after(_REFUSE * _for_requests(grace), self._service.refuse)
            self._after(grace, _leave_too_late)  # a thread of a backend may hang
        self.should_exit = True

    def forget(self) -> None:
        """All has ended in time."""
        for timer in self._last:
            timer.cancel()

    def _after(self, seconds: float, work: Callable[[], None]) -> None:
        timer = threading.Timer(seconds, work)
        timer.daemon = True
        timer.start()
        self._last.append(timer)


def _for_requests(grace: float) -> int:
    """Seconds of the grace, as uvicorn takes them."""
    return max(1, int(grace * _SPARE))


def leave() -> NoReturn:
    """Ends the process with 0, for one whose work is all done: the backend is not taken down, which takes TensorFlow a second,
    and 15 on a busy machine.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _leave_too_late() -> None:
    say("stopped", ended=False)
    leave()


def listen(host: str, port: int) -> socket.socket:
    """A socket that is bound.

    Raises:
        OSError: the address is in use, or none of this machine; one line.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise OSError(f"Cannot listen on {host}, port {port}: {error.strerror}; choose another --port or --host.") from None
    listener.set_inheritable(True)
    return listener


def run(app: FastAPI, listener: socket.socket) -> None:
    """Serves until SIGTERM or Ctrl-C."""
    write_log_lines()
    service: Service = app.state.service
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=_for_requests(service.settings.grace),
    )
    server = _Server(config, service)
    server.run(sockets=[listener])
    if service.ended:
        server.forget()


def run_workers(work: Callable[[socket.socket], None], listener: socket.socket, count: int, grace: float) -> None:
    """Several processes that share the socket and nothing else. One that dies is replaced.

    Args:
        work: what each does; importable from a fresh process.
        count: of processes.
        grace: seconds they have to end.

    Raises:
        RuntimeError: a worker cannot even start.
    """
    write_log_lines()
    context = multiprocessing.get_context("spawn")  # a backend does not survive a fork
    ending = threading.Event()
    before = {number: signal.signal(number, lambda *_: ending.set()) for number in _SIGNALS}

    def start() -> tuple[BaseProcess, float]:
        process = context.Process(target=work, args=(listener,))
        process.start()
        return process, time.monotonic()

    workers = [start() for _ in range(count)]
    try:
        while not ending.wait(0.2):
            for place, (process, began) in enumerate(workers):
                if process.is_alive():
                    continue
                say("worker ended", code=process.exitcode)
                if time.monotonic() - began < _SHORTEST_LIFE:
                    raise RuntimeError(f"A worker ended with code {process.exitcode} right after its start; the log says why.")
                workers[place] = start()
    finally:
        for process, _ in workers:
            process.terminate()
        for process, _ in workers:
            process.join(grace + 1)
            process.kill()
        for number, handler in before.items():
            signal.signal(number, handler)
