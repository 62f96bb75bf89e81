"""Processes that were started from outside find each other, and end together: between GPUs nobody else says that one is lost.

Each keeps a connection to the first one, on the port behind the one where the backend meets, and a line of text on it is
all that is ever said: what ends without `DONE` was lost.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from maskrcnn.distributed.place import Place

JOIN_SECONDS = 300.0  # from the first process that is there until the last
LEAVE_SECONDS = 20.0  # from the loss of a process until one that waits for it is ended
HELLO, GO, DONE, STOP, FAILED, LOST = "maskrcnn", "go", "done", "stop", "failed", "lost"
LONGEST = 300  # bytes of a line
ADVICE = "go on with resume=True (--resume)."


class LostProcessError(OSError):
    """One of the processes that train together ended too early."""


@contextmanager
def meeting(place: Place, *, seconds: float = JOIN_SECONDS) -> Iterator[None]:
    """While it is open, all processes are there; they met before it opened. When one is lost, all end within a minute.

    Processes other than the first leave SIGINT and SIGTERM to it: they ask it to stop, and it ends them when its state is kept.

    Args:
        place: of this process; alone, or with processes that one of them started, nothing happens.
        seconds: to wait for the others.

    Raises:
        LostProcessError: a process did not come or ended too early; one line that says what to do.
    """
    if not place.launched:
        yield
        return
    party: _First | _Further = _First(place, seconds) if place.is_first else _Further(place, seconds)
    last = FAILED
    try:
        with party.signals():
            yield
        last = DONE
    except KeyboardInterrupt:
        last = STOP
        raise
    except LostProcessError:
        raise
    except Exception as error:
        party.lost.wait(2.0)  # the error may be that a process is gone
        if party.lost.is_set():
            raise LostProcessError(party.why) from error
        raise
    finally:
        party.leave(last)


class _Party:
    """What both sides share: the loss of a process, and the end of one that goes on waiting for it."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.lost = threading.Event()
        self.why = ""
        self._left = threading.Event()

    def lose(self, why: str, code: int = 2) -> None:
        """Notes that all is over; ends this process where its main thread does not end it soon."""
        if self._left.is_set() or self.lost.is_set():
            return
        self.why = why
        self.lost.set()
        if not self._left.wait(LEAVE_SECONDS if code == 2 else 1.0):
            if code == 2:
                sys.stderr.write(f"Error: {why}\n")
            os._exit(code)


class _First(_Party):
    def __init__(self, place: Place, seconds: float) -> None:
        super().__init__(place)
        self._wires: dict[int, _Wire] = {}  # by process number
        self._done: set[int] = set()
        host, port = _beside(place)
        until = time.monotonic() + seconds
        try:
            both = socket.has_dualstack_ipv6()
            family = socket.AF_INET6 if both else socket.AF_INET
            server = socket.create_server(("", port), family=family, dualstack_ipv6=both)
        except OSError as error:
            raise LostProcessError(
                f"Port {port} of the first process cannot be had: {error.strerror}; choose another."
            ) from None
        with server:
            while len(self._wires) < place.among - 1:
                server.settimeout(max(until - time.monotonic(), 0.01))
                try:
                    self._greet(server.accept()[0])
                except TimeoutError:
                    missing = sorted(set(range(1, place.among)) - set(self._wires))
                    raise LostProcessError(
                        f"Process {missing[0]} of {place.among} did not come to {host}:{port} within {seconds:g} seconds; "
                        "start all with the same --coordinator, and let machines reach its port and the next one."
                    ) from None
        for number, wire in self._wires.items():
            wire.say(GO)
            threading.Thread(target=self._listen, args=(number, wire), daemon=True).start()

    @contextmanager
    def signals(self) -> Iterator[None]:
        yield

    def leave(self, last: str) -> None:
        if last == DONE:  # the others are at their last lines
            until = time.monotonic() + LEAVE_SECONDS
            while len(self._done) < self.place.among - 1 and time.monotonic() < until and not self.lost.is_set():
                time.sleep(0.01)
        self._left.set()
        for wire in self._wires.values():
            wire.say(f"{LOST} {self.why}" if self.lost.is_set() else last)
            wire.close()

    def _greet(self, connection: socket.socket) -> None:
        wire = _Wire(connection)
        words = wire.hear(5.0).split()
        numbers = [int(word) for word in words[1:] if word.isdecimal()]
        if words[:1] == [HELLO] and len(numbers) == 2 and numbers[1] == self.place.among and 0 < numbers[0] < numbers[1]:
            self._wires[numbers[0]] = wire
        else:
            wire.close()  # a stranger

    def _listen(self, number: int, wire: _Wire) -> None:
        while word := wire.hear():
            if word == DONE:
                self._done.add(number)
                return
            if word == STOP:
                _interrupt()
            if word == FAILED:
                break
        how = "ended with an error, which it shows" if word == FAILED else "was lost"
        why = f"Process {number} of {self.place.among} that train together {how}; {ADVICE}"
        for other, further in self._wires.items():
            if other != number:
                further.say(f"{LOST} {why}")
        self.lose(why)


class _Further(_Party):
    def __init__(self, place: Place, seconds: float) -> None:
        super().__init__(place)
        address = _beside(place)
        until = time.monotonic() + seconds
        while True:
            try:
                connection = socket.create_connection(address, timeout=5.0)
                break
            except OSError as error:
                if time.monotonic() > until:
                    raise LostProcessError(
                        f"The first of {place.among} processes cannot be reached at {address[0]}:{address[1]}: {error}. Start "
                        "all with the same --coordinator, and let machines reach its port and the next one."
                    ) from None
                time.sleep(0.2)
        self._wire = _Wire(connection)
        self._wire.say(f"{HELLO} {place.number} {place.among}")
        if (word := self._wire.hear(seconds)) != GO:
            text = word.removeprefix(f"{LOST} ") if word.startswith(LOST) else f"The first of {place.among} processes is gone."
            raise LostProcessError(text)
        threading.Thread(target=self._listen, daemon=True).start()

    @contextmanager
    def signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        for number in before:
            signal.signal(number, lambda *_: self._wire.say(STOP))
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def leave(self, last: str) -> None:
        self._left.set()
        self._wire.say(last)
        self._wire.close()

    def _listen(self) -> None:
        word = self._wire.hear()
        if word == STOP:
            self.lose("The first process was asked to stop.", code=128 + signal.SIGTERM)
        elif word.startswith(LOST):
            self.lose(word.removeprefix(f"{LOST} "))
        elif word != DONE:
            how = "ended with an error, which it shows" if word == FAILED else "was lost"
            self.lose(f"The first of {self.place.among} processes that train together {how}; {ADVICE}")


def _interrupt() -> None:
    """SIGTERM to the main thread, which it wakes; Windows has `raise_signal` alone, whose handler waits for it to wake."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
    else:
        signal.raise_signal(signal.SIGTERM)


def _beside(place: Place) -> tuple[str, int]:
    host, _, port = place.address.rpartition(":")
    return host.strip("[]"), int(port) + 1


class _Wire:
    """Lines of text to another process and from it."""

    def __init__(self, connection: socket.socket) -> None:
        """Keeps the connection alive: a machine that vanishes says nothing, and after 25 seconds without it is gone."""
        self.connection = connection
        self._heard = b""
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
            if hasattr(socket, name):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def say(self, text: str) -> None:
        with suppress(OSError):  # it may be gone
            self.connection.sendall(text.encode()[: LONGEST - 1] + b"\n")

    def hear(self, seconds: float | None = None) -> str:
        """The next line; "" at the end, for what is no line of text, and where nothing comes in time."""
        try:
            self.connection.settimeout(seconds)
            while b"\n" not in self._heard:
                more = self.connection.recv(LONGEST)
                self._heard += more
                if not more or len(self._heard) > LONGEST:
                    return ""
        except OSError:
            return ""
        line, _, self._heard = self._heard.partition(b"\n")
        return line.decode(errors="replace").strip()

    def close(self) -> None:
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)  # which wakes who listens
        self.connection.close()
