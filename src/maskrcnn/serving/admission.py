"""How many images a server holds at a time: whoever comes when all places are taken, or would wait too long, is sent away."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from types import TracebackType

from maskrcnn.serving.problems import ProblemError

_SPARE = 0.5  # of the time limit: a machine that others use too may become twice as slow meanwhile


def shutting_down() -> ProblemError:
    """What is answered instead of an answer from SIGTERM on."""
    return ProblemError(503, "The server is shutting down; ask again in a moment.", headers={"Retry-After": "5"})


class Admission:
    """Places for images, from arrival to answer.

    Args:
        capacity: how many places there are.
        seconds_to_wait: estimates how long so many images take.
        limit: seconds that a request may take. Where others before it may take all of them, it would wait in vain.
    """

    def __init__(self, capacity: int, seconds_to_wait: Callable[[int], float], limit: float = math.inf) -> None:
        self.capacity = capacity
        self._seconds_to_wait, self._limit = seconds_to_wait, limit
        self._taken = 0
        self._closed = False
        self._lock = threading.Lock()

    @property
    def taken(self) -> int:
        return self._taken

    @property
    def is_open(self) -> bool:
        return not self._closed

    def close(self) -> None:
        """From now on nobody is let in."""
        self._closed = True

    def enter(self) -> Place:
        """One place, for a request; more where it turns out to bring several images.

        Raises:
            ProblemError: 503 with Retry-After, where there is none.
        """
        place = Place(self)
        place.grow(1)
        return place

    def take(self, count: int, held: int = 0) -> None:
        """So many places, for a request that holds some already.

        Raises:
            ProblemError: 503 with Retry-After.
        """
        with self._lock:
            full = self._taken + count > self.capacity
            late = self._seconds_to_wait(self._taken - held) > _SPARE * self._limit
            if not full and not late and not self._closed:
                self._taken += count
                return
        if self._closed:
            raise shutting_down()
        seconds = max(1, math.ceil(self._seconds_to_wait(self._taken)))
        why = f"full, {self.capacity} images wait" if full else f"too long for the time limit of {self._limit:g} s"
        raise ProblemError(503, f"The queue is {why}; ask again in {seconds} s.", headers={"Retry-After": str(seconds)})

    def give_back(self, count: int) -> None:
        with self._lock:
            self._taken -= count


class Place:
    """What one request holds of the server; given back when its `with` block ends, however it ends."""

    def __init__(self, admission: Admission) -> None:
        self._admission, self._count = admission, 0

    def grow(self, count: int) -> None:
        """Takes so many more places, or none and raises `ProblemError`.

        A request of more images than there are places would never be let in; that is the client's fault, not the moment's.
        """
        if self._count + count > self._admission.capacity:
            raise ProblemError(
                413, f"The server holds {self._admission.capacity} images; received {self._count + count} at once."
            )
        self._admission.take(count, self._count)
        self._count += count

    def __enter__(self) -> Place:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._admission.give_back(self._count)
        self._count = 0
