"""Work that threads do beside the caller's own, in order: what comes next is got ready, what came last is finished.

The caller's thread keeps the work between, the model's: a device that was chosen for a thread stays chosen, and Ctrl-C arrives
where the work is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")
_END: Any = object()


def ahead(items: Iterable[T], depth: int) -> Iterator[T]:
    """The same items; while the caller is busy with one, a thread gets the next ones ready.

    Close it where it isn't read to its end: then the thread ends, and `items` is closed too.

    Args:
        items: read by the thread, never by two at once.
        depth: how many wait at most.

    Raises:
        Whatever `items` raises, in its place: after the items before it.
    """
    iterator = iter(items)
    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(1, "ahead") as thread:
        try:
            for _ in range(depth):
                waiting.append(thread.submit(next, iterator, _END))
            while (item := waiting.popleft().result()) is not _END:
                waiting.append(thread.submit(next, iterator, _END))
                yield item
        finally:
            for task in waiting:
                task.cancel()
            thread.submit(_close, iterator)


def behind(work: Callable[[T], R], items: Iterable[T], depth: int) -> Iterator[R]:
    """`map(work, items)`, where a thread does the work while the caller's thread makes the next items.

    Close it where it isn't read to its end: then the thread ends, and what it has not begun is left undone.

    Args:
        work: done by one thread, item after item.
        items: read by the caller's thread.
        depth: how many items wait at most; 0: no thread, the caller's does everything.

    Raises:
        Whatever `work` or `items` raises, in its place: after the results of the items before it.
    """
    if not depth:
        yield from map(work, items)
        return
    iterator = iter(items)
    waiting: deque[Future[R]] = deque()
    broken: Exception | None = None
    with ThreadPoolExecutor(1, "behind") as thread:
        try:
            while True:
                try:
                    waiting.append(thread.submit(work, next(iterator)))
                except StopIteration:
                    break
                except Exception as error:
                    broken = error
                    break
                while waiting and (len(waiting) > depth or waiting[0].done()):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for task in waiting:
                task.cancel()
    if broken is not None:
        raise broken


def _close(iterator: Any) -> None:
    """In the thread that reads it: a generator that is running cannot be closed by another."""
    if hasattr(iterator, "close"):
        iterator.close()
