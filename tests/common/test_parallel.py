import time

import pytest

from thaw.common import parallel
from thaw.common.parallel import prefetch_map, with_progress


def test_results_come_in_the_items_order():
    def slow_if_even(n):
        time.sleep(0.002 * (n % 2 == 0))
        return n * n

    assert list(prefetch_map(slow_if_even, range(100))) == [n * n for n in range(100)]


def test_nothing_runs_far_ahead_of_whoever_takes_the_results(monkeypatch):
    monkeypatch.setattr(parallel, "MAX_THREADS", 2)
    done = []
    results = prefetch_map(lambda n: done.append(n), range(10_000))
    next(results)
    time.sleep(0.05)
    results.close()
    assert len(done) <= (2 * parallel.PREFETCH_CHUNKS + 2) * parallel.CHUNK_ITEMS


def test_an_error_ends_the_work_in_its_place_and_only_what_has_begun_is_waited_for(monkeypatch):
    monkeypatch.setattr(parallel, "MAX_THREADS", 2)
    done, taken = [], []

    def work(n):
        if n == 20:
            raise ValueError("twenty")
        time.sleep(0.004)
        done.append(n)
        return n

    with pytest.raises(ValueError, match="twenty"):
        taken.extend(prefetch_map(work, range(10_000)))
    assert taken == list(range(parallel.CHUNK_ITEMS))
    assert len(done) <= 6 * parallel.CHUNK_ITEMS  # of the 10 tasks that were handed out


def test_counting_changes_nothing():
    assert list(with_progress(iter("abc"), "letters", 3)) == ["a", "b", "c"]
