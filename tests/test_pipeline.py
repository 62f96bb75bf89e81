"""Laws of threads beside the caller's own: order, errors in their places, and nothing that goes on afterwards."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from maskrcnn.pipeline import ahead, behind


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


class Numbers:
    """0, 1, 2 …, which remembers how many were read, by which threads, and whether it was closed."""

    def __init__(self, count: int, *, broken_at: int | None = None) -> None:
        self.read, self.threads, self.closed = 0, set[str](), False
        self.items = self._items(count, broken_at)

    def _items(self, count: int, broken_at: int | None) -> Iterator[int]:
        try:
            for number in range(count):
                if number == broken_at:
                    raise ValueError(f"no {number}")
                self.read += 1
                self.threads.add(threading.current_thread().name)
                yield number
        finally:
            self.closed = True


def here() -> str:
    return threading.current_thread().name


def test_ahead_another_thread_reads_the_same_items() -> None:
    numbers = Numbers(50)
    assert list(ahead(numbers.items, 3)) == list(range(50))
    assert len(numbers.threads) == 1 and here() not in numbers.threads


def test_ahead_reads_no_more_than_its_depth_and_closes_what_it_read() -> None:
    numbers = Numbers(50)
    items = ahead(numbers.items, 3)
    assert next(items) == 0
    items.close()
    assert numbers.read <= 5 and numbers.closed


def test_ahead_an_error_comes_after_the_items_before_it() -> None:
    items = ahead(Numbers(9, broken_at=2).items, 4)
    assert [next(items), next(items)] == [0, 1]
    with pytest.raises(ValueError, match="no 2"):
        next(items)


def test_behind_another_thread_works_in_order_while_this_one_makes_items() -> None:
    numbers, workers = Numbers(50), set()

    def double(number: int) -> int:
        workers.add(here())
        return 2 * number

    assert list(behind(double, numbers.items, 2)) == list(range(0, 100, 2))
    assert numbers.threads == {here()} and len(workers) == 1 and here() not in workers


def test_behind_waits_for_work_that_is_slower() -> None:
    go, numbers = threading.Event(), Numbers(50)
    results = behind(lambda number: go.wait(10) and number, numbers.items, 2)
    threading.Timer(0.05, go.set).run()
    assert next(results) == 0 and numbers.read <= 4
    results.close()


@pytest.mark.parametrize("broken_at", [0, 1, 5])
def test_behind_an_error_of_items_comes_after_the_results_before_it(broken_at: int) -> None:
    results = behind(str, Numbers(9, broken_at=broken_at).items, 2)
    assert [next(results) for _ in range(broken_at)] == [str(number) for number in range(broken_at)]
    with pytest.raises(ValueError, match=f"no {broken_at}"):
        next(results)


def test_behind_an_error_of_the_work_comes_in_its_place_and_ends_it() -> None:
    results = behind(lambda number: 1 / (2 - number), iter(range(9)), 2)
    assert [next(results), next(results)] == [0.5, 1.0]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_behind_without_depth_needs_no_thread() -> None:
    assert list(behind(lambda _: here(), range(3), 0)) == [here()] * 3


def test_behind_closed_early_leaves_undone_what_was_not_begun() -> None:
    done = []
    results = behind(done.append, iter(range(9)), 2)
    next(results)
    results.close()
    assert len(done) <= 4
