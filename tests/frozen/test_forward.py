import threading

import numpy as np
import pytest

from thaw.frozen.forward import stream


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
    assert [inputs for inputs, _ in stream(Numbers(), 1, 2)] == [(e, i) for e in (1, 2) for i in range(5)]


def test_an_error_in_a_thread_reaches_the_reader() -> None:
    with pytest.raises(OSError, match="disk is gone"):
        list(stream(Numbers(), 9))


def test_a_reader_that_stops_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    batches = stream(Numbers(), 0, 1000)
    next(batches)
    batches.close()
    assert threading.active_count() == before
