"""Prefetched batches: order, errors, and how far ahead of the reader they are."""

import threading

import numpy as np
import pytest

from thaw.frozen.batch_runner import PREFETCHED_BATCHES, prefetch, stream_batches


class Numbers:
    """Batches that say which they are; the first of an epoch takes longest."""

    def __len__(self) -> int:
        return 5

    def rows(self, epoch: int, i: int) -> np.ndarray:
        return np.array([i])

    def batch(self, epoch: int, i: int) -> tuple[tuple[int, int], np.ndarray]:
        if i == 0:
            threading.Event().wait(0.05)
        if epoch == 9:
            raise OSError("disk is gone")
        return (epoch, i), np.zeros((1, 2), np.float32)


def test_batches_come_in_order_however_long_each_takes() -> None:
    assert [inputs for inputs, _ in stream_batches(Numbers(), 1, 2)] == [(e, i) for e in (1, 2) for i in range(5)]


def test_an_error_in_a_thread_reaches_the_reader() -> None:
    with pytest.raises(OSError, match="disk is gone"):
        list(stream_batches(Numbers(), 9))


def test_a_reader_that_stops_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    batches = stream_batches(Numbers(), 0, 1000)
    next(batches)
    batches.close()
    assert threading.active_count() == before


def test_what_is_made_comes_in_order_whatever_finishes_first() -> None:
    def make(number: int) -> int:
        threading.Event().wait(0.02 if number % 2 == 0 else 0)
        return number * number

    assert list(prefetch(range(9), make)) == [n * n for n in range(9)]


def test_nothing_wanted_is_nothing_made() -> None:
    assert list(prefetch([], pytest.fail)) == []


def test_only_a_few_are_made_ahead_of_the_reader() -> None:
    """Memory stays flat: a reader that is slow holds the makers back."""
    made: list[int] = []

    def make(number: int) -> int:
        made.append(number)
        return number

    results = prefetch(iter(range(1000)), make)
    for read in range(1, 4):
        next(results)
        threading.Event().wait(0.05)
        assert read <= len(made) <= read + PREFETCHED_BATCHES
    results.close()
    assert len(made) <= 4 + PREFETCHED_BATCHES


def test_a_reader_that_stops_ends_what_has_not_begun() -> None:
    made: list[int] = []

    def make(number: int) -> int:
        made.append(number)
        threading.Event().wait(0.2 if number else 0)
        return number

    results = prefetch(range(1000), make)
    next(results)
    results.close()
    assert len(made) < 1 + PREFETCHED_BATCHES


def test_they_are_made_while_the_reader_works() -> None:
    """The second is made by the time it is asked for, though nobody has asked."""
    second = threading.Event()

    def make(number: int) -> int:
        if number == 1:
            second.set()
        return number

    results = prefetch(range(3), make)
    assert next(results) == 0
    assert second.wait(5)
    results.close()


def test_two_are_made_at_a_time() -> None:
    both = threading.Barrier(2, timeout=5)  # passes only when two threads wait at it

    def make(number: int) -> int:
        both.wait()
        return number

    assert list(prefetch(range(4), make)) == [0, 1, 2, 3]


def test_an_error_comes_in_its_place_after_what_was_made_before_it() -> None:
    def make(number: int) -> int:
        if number == 3:
            raise OSError("disk is gone")
        return number

    results = prefetch(range(1000), make)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(OSError, match="disk is gone"):
        next(results)
    assert next(results, None) is None


def test_an_error_leaves_no_thread_and_makes_no_more() -> None:
    made: list[int] = []

    def make(number: int) -> int:
        made.append(number)
        raise OSError("disk is gone")

    before = threading.active_count()
    with pytest.raises(OSError, match="disk is gone"):
        list(prefetch(range(1000), make))
    assert threading.active_count() == before
    assert len(made) <= 2 + PREFETCHED_BATCHES


def test_an_error_in_what_is_wanted_reaches_the_reader() -> None:
    def wanted():
        yield 1
        raise OSError("list is gone")

    with pytest.raises(OSError, match="list is gone"):
        list(prefetch(wanted(), lambda number: number))
