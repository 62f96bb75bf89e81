"""On PyTorch several processes train one model, each with a device and a part of every batch.

The first starts the others on its machine. They speak through `torch.distributed`, by NCCL between GPUs, else by gloo. When one
of them ends too early, so do all.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from multiprocessing.connection import wait
from typing import Any, NamedTuple

FOR_ALL = timedelta(days=1)  # that a process waits for another: the first scores alone, and a lost one is seen otherwise
SECONDS = 30.0  # from the loss of a process until a first one that waits for it is ended


class Place(NamedTuple):
    """Where a process stands among those that train together."""

    number: int = 0
    among: int = 1  # so many
    address: str = ""  # HOST:PORT where they meet

    @property
    def is_first(self) -> bool:
        """Whether it is the one that writes, scores and talks."""
        return self.number == 0


ALONE = Place()


class LostProcessError(OSError):
    """One of the processes that train together ended too early."""


@contextmanager
def helped(count: int, work: Callable[..., Any], *arguments: Any) -> Iterator[Place]:
    """While it is open, so many processes work together: this one, the first, and others that do `work(place, *arguments)`.

    Args:
        count: of all processes.
        work: a function of a module, done by each process that is started.
        *arguments: what `multiprocessing` can send to a process.

    Raises:
        LostProcessError: one of them ended before this one was done; one line that says what to do.
    """
    context = multiprocessing.get_context("spawn")
    address = f"127.0.0.1:{_free_port()}"
    started = [
        context.Process(target=_help, args=(work, Place(index, count, address), arguments), daemon=True)
        for index in range(1, count)
    ]
    done = threading.Event()
    for process in started:
        process.start()
    threading.Thread(target=_end_with, args=(started, done), daemon=True).start()
    try:
        yield Place(0, count, address)
    except Exception as error:
        for process in started:
            process.join(2)  # the error may be that it is about to end
        if lost := _lost(started):
            raise LostProcessError(lost) from error
        raise
    finally:
        done.set()
        for process in started:
            process.kill()  # it keeps nothing
            process.join()


def _help(work: Callable[..., Any], place: Place, arguments: tuple[Any, ...]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the first process stops after its step, and ends this one then
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_leave_with, args=(parent.sentinel,), daemon=True).start()
    work(place, *arguments)


def _leave_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)  # it may be waiting for the others, for ever


def _end_with(started: list[Any], done: threading.Event) -> None:
    """Ends a first process that goes on waiting for one that is lost: between GPUs nothing tells it."""
    running = {process.sentinel for process in started}
    while running and not _lost(started):
        running -= set(wait(running))
        done.wait(1.0)  # until its exit code is known
    if _lost(started) and not done.wait(SECONDS):
        sys.stderr.write(f"Error: {_lost(started)}\n")
        os._exit(2)


def _lost(started: list[Any]) -> str:
    ended = [(index, process.exitcode) for index, process in enumerate(started, start=1) if process.exitcode]
    if not ended:
        return ""
    index, code = ended[0]
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    return f"Process {index} of {len(started) + 1} that train together {how}; go on with resume=True (--resume)."


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def joined(place: Place) -> Iterator[None]:
    """While it is open, PyTorch knows the others; alone it changes nothing."""
    if place.among == 1:
        yield
        return
    import torch

    has_gpu = torch.cuda.is_available()
    threads = torch.get_num_threads()
    if has_gpu:
        torch.cuda.set_device(place.number)
    else:
        torch.set_num_threads(max(1, threads // place.among))
    method = f"tcp://{place.address}"
    numbers = {"rank": place.number, "world_size": place.among}
    torch.distributed.init_process_group("nccl" if has_gpu else "gloo", init_method=method, timeout=FOR_ALL, **numbers)
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()
        torch.set_num_threads(threads)


def greatest(numbers: list[int]) -> list[int]:
    """Of each number the greatest that a process has."""
    import torch

    values = torch.tensor(numbers, device=_device())
    torch.distributed.all_reduce(values, torch.distributed.ReduceOp.MAX)
    return list(values.tolist())


def as_the_first(variables: list[Any]) -> None:
    """Gives each variable the value that it has in the first process."""
    import torch

    for variable in variables:
        torch.distributed.broadcast(variable.value.data, 0)


def averaged_over_all(variables: list[Any]) -> None:
    """Gives each variable the mean of its values in all processes."""
    import torch

    for variable in variables:
        torch.distributed.all_reduce(variable.value.data)
        variable.value.data.div_(torch.distributed.get_world_size())


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
