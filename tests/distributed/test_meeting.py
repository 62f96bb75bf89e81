"""Laws of processes that a launcher started and that end together. Each stands in a process of its own, but for the first."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from maskrcnn.distributed.meeting import LostProcessError, meeting
from maskrcnn.distributed.place import ALONE, Place

FURTHER = """
import sys, time
from maskrcnn.distributed.meeting import meeting
from maskrcnn.distributed.place import Place
number, among, address, work = sys.argv[1:]
with meeting(Place(int(number), int(among), address, 0, True), seconds=20.0):
    print("met", flush=True)
    exec(work)
"""


def free_address() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{min(one.getsockname()[1], 65000)}"


def start(number: int, among: int, address: str, work: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", FURTHER, str(number), str(among), address, work]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def meet(place: Place, work: Callable[[], object] = lambda: None, *, seconds: float = 20.0) -> None:
    with meeting(place, seconds=seconds):
        work()


def first_of(among: int, address: str) -> Place:
    return Place(0, among, address, 0, True)


def fail(error: BaseException) -> None:
    raise error


def test_alone_nothing_happens():
    meet(ALONE)


def test_all_are_there_and_all_are_done():
    address = free_address()
    others = [start(number, 3, address, "time.sleep(0.1)") for number in (2, 1)]
    meet(first_of(3, address))
    for other in others:
        told, wrong = other.communicate()
        assert (other.returncode, told, wrong) == (0, "met\n", "")


@pytest.mark.skipif(os.name == "nt", reason="Windows knows no SIGKILL")
def test_the_loss_of_one_is_told_to_all():
    address = free_address()
    one, two = start(1, 3, address, "time.sleep(60)"), start(2, 3, address, "time.sleep(0.5); raise RuntimeError('closed')")

    def work() -> None:
        one.stdout.readline()
        one.kill()
        time.sleep(0.3)
        raise RuntimeError("the connection was closed by a peer")  # what a backend says then

    with pytest.raises(LostProcessError, match=r"Process 1 of 3 that train together was lost; go on with resume=True"):
        meet(first_of(3, address), work)
    assert "LostProcessError: Process 1 of 3" in two.communicate()[1]
    one.communicate()


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (RuntimeError("of the first"), 1, "The first of 2 processes that train together ended with an error"),
        (KeyboardInterrupt(), 143, ""),
    ],
)
def test_others_end_with_the_first(error, code, text):
    address = free_address()
    work = "time.sleep(1); raise ValueError('closed')" if text else "time.sleep(60)"
    other = start(1, 2, address, work)
    with pytest.raises(type(error)):
        meet(first_of(2, address), lambda: fail(error))
    wrong = other.communicate()[1]
    assert other.returncode == code and text in wrong


def test_one_that_is_asked_to_stop_leaves_it_to_the_first():
    """Both wait in short naps, as a training does in steps: Python sees no signal that comes just before a call that blocks."""
    address = free_address()
    other = start(1, 2, address, "while True: time.sleep(0.05)")
    asked = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: asked.set())

    def work() -> None:
        assert other.stdout.readline() == "met\n"
        other.send_signal(signal.SIGTERM)
        until = time.monotonic() + 60.0
        while not asked.is_set() and time.monotonic() < until:
            time.sleep(0.05)
        assert asked.is_set()
        raise KeyboardInterrupt

    try:
        with pytest.raises(KeyboardInterrupt):
            meet(first_of(2, address), work)
        assert other.wait(60.0) == 128 + signal.SIGTERM
    finally:
        signal.signal(signal.SIGTERM, before)
        other.kill()
        other.communicate()


def test_an_error_of_ones_own_stays_what_it_is():
    address = free_address()
    other = start(1, 2, address, "pass")
    with pytest.raises(ValueError, match="of the data"):
        meet(first_of(2, address), lambda: other.wait() or fail(ValueError("of the data")))
    other.communicate()


def test_who_does_not_come_is_named_and_strangers_are_not_let_in():
    address = free_address()
    host, port = address.split(":")

    def stranger() -> None:
        for _ in range(100):
            try:
                with socket.create_connection((host, int(port) + 1)) as connection:
                    connection.sendall(b"GET / HTTP/1.1\n")
                    return
            except OSError:
                time.sleep(0.01)

    calling = threading.Thread(target=stranger)
    calling.start()
    with pytest.raises(LostProcessError, match=r"Process 1 of 2 did not come to 127.0.0.1:\d+ within 0.5 seconds"):
        meet(first_of(2, address), seconds=0.5)
    calling.join()
    with pytest.raises(LostProcessError, match="cannot be reached at 127.0.0.1"):
        meet(Place(1, 2, address, 0, True), seconds=0.1)
