"""Several processes train one model, each with a part of every batch.

On PyTorch each has a device, and the first may start the others on its machine; they speak through `torch.distributed`, by NCCL
between GPUs, else by gloo. On JAX each has the devices that it sees, and one program runs on all of them. When one of them ends
too early, so do all.
"""

from __future__ import annotations

import atexit
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
from typing import Any

import numpy as np

from maskrcnn.distributed.meeting import ADVICE, LostProcessError
from maskrcnn.distributed.place import Place
from maskrcnn.interrupts import exit_code

FOR_ALL = timedelta(days=1)  # that a process waits for another: the first writes alone, and a lost one is seen otherwise
SECONDS = 30.0  # from the loss of a process until a first one that waits for it is ended


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
        context.Process(target=_help, args=(work, Place(index, count, address, index), arguments), daemon=True)
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
    return f"Process {index} of {len(started) + 1} that train together {how}; {ADVICE}"


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def joined(place: Place) -> Iterator[None]:
    """While it is open, the backend knows the others; alone it changes nothing.

    On JAX it opens before anything is computed: JAX looks for devices once. Where JAX has been told of others already, as by
    Ray's JaxTrainer, that stays.

    Raises:
        ValueError: TensorFlow, or JAX has computed something already.
    """
    if place.among == 1:
        yield
    elif _backend() == "torch":
        with _joined_torch(place):
            yield
    elif _backend() == "jax":
        with _joined_jax(place):
            yield
    else:
        raise ValueError("Several processes train together on JAX and PyTorch; set KERAS_BACKEND to jax or torch.")


@contextmanager
def _joined_torch(place: Place) -> Iterator[None]:
    import torch

    num_gpus = torch.cuda.device_count()
    threads = torch.get_num_threads()
    if num_gpus:
        torch.cuda.set_device(place.local % num_gpus)  # a launcher may show each process its own alone
    elif not place.launched:
        torch.set_num_threads(max(1, threads // place.among))
    method = f"tcp://{place.address}"
    numbers = {"rank": place.number, "world_size": place.among}
    torch.distributed.init_process_group("nccl" if num_gpus else "gloo", init_method=method, timeout=FOR_ALL, **numbers)
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()
        torch.set_num_threads(threads)


@contextmanager
def _joined_jax(place: Place) -> Iterator[None]:
    import jax

    if jax.distributed.is_initialized():
        yield
        return
    jax.config.update("jax_enable_preemption_service", False)  # which would take SIGTERM, and only note it
    try:
        jax.distributed.initialize(
            place.address,
            place.among,
            place.number,
            cluster_detection_method="deactivate",
            shutdown_timeout_seconds=int(FOR_ALL.total_seconds()),
        )
    except RuntimeError as error:
        if "before" not in str(error):
            raise
        raise ValueError("JAX has computed something before the processes met: call train first, or use the command.") from None
    try:
        yield
    except BaseException as error:
        # At its end JAX waits for all, and aborts the process with pages of text where one of them is gone.
        atexit.register(_leave, exit_code(error) if isinstance(error, KeyboardInterrupt) else 2)
        raise
    jax.distributed.shutdown()


def _leave(code: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def greatest(numbers: list[int]) -> list[int]:
    """Of each number the greatest that a process has."""
    if _backend() == "jax":
        from jax.experimental import multihost_utils

        return [int(value) for value in multihost_utils.process_allgather(np.array(numbers, np.int32)).max(axis=0)]
    import torch

    values = torch.tensor(numbers, device=_device())
    torch.distributed.all_reduce(values, torch.distributed.ReduceOp.MAX)
    return list(values.tolist())


def gathered(content: bytes) -> list[bytes]:
    """What each process gave, in their order."""
    own = np.frombuffer(content, np.uint8)
    longest = greatest([len(own)])[0]
    padded = np.concatenate(
        [np.frombuffer(len(own).to_bytes(8, "little"), np.uint8), own, np.zeros(longest - len(own), np.uint8)]
    )
    if _backend() == "jax":
        from jax.experimental import multihost_utils

        rows = np.asarray(multihost_utils.process_allgather(padded))
    else:
        import torch

        sent = torch.from_numpy(padded).to(_device())
        received = [torch.empty_like(sent) for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather(received, sent)
        rows = np.stack([each.cpu().numpy() for each in received])
    return [row[8 : 8 + int.from_bytes(row[:8].tobytes(), "little")].tobytes() for row in rows]


def as_the_first(variables: list[Any]) -> None:
    """Gives each variable the value that it has in the first process."""
    if _backend() == "jax":
        from jax.experimental import multihost_utils

        from maskrcnn.ops import native

        values = multihost_utils.broadcast_one_to_all([np.asarray(variable.value) for variable in variables])
        for variable, value in zip(variables, values, strict=True):
            variable.assign(native.place_as(variable, np.asarray(value)))
        return
    import torch

    for variable in variables:
        torch.distributed.broadcast(variable.value.data, 0)


def _backend() -> str:
    import keras

    return keras.backend.backend()


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
