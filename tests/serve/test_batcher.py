"""Images of concurrent requests in batches: order, sizes, waiting, refusal, faults and the end."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from thaw.serve.batcher import Batcher, QueueFull


def picture(value: int) -> np.ndarray:
    return np.full((2, 2, 3), value, np.uint8)


class Network:
    """Says of each image its first value; waits for `go` before it computes."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.go = threading.Event()
        self.go.set()
        self.started = threading.Event()

    def __call__(self, images: np.ndarray) -> np.ndarray:
        self.started.set()
        assert self.go.wait(10)
        self.sizes.append(len(images))
        if (images == 99).any():
            raise ValueError("a broken network")
        return images[:, 0, 0, :1].astype(np.float32)


@pytest.fixture
def network() -> Network:
    return Network()


def batcher(network: Network, max_batch: int = 4, wait_seconds: float = 5.0, capacity: int = 100) -> Batcher:
    return Batcher(network, max_batch, wait_seconds, capacity)


def test_a_client_alone_does_not_wait_for_others(network: Network) -> None:
    served = batcher(network)
    started = time.monotonic()
    with served.reserve(1) as seats:
        assert seats.submit(picture(7)).result(10).tolist() == [7.0]
    assert time.monotonic() - started < 2.0  # and wait_seconds is 5


def test_images_on_their_way_are_waited_for_until_the_batch_is_full(network: Network) -> None:
    served = batcher(network, max_batch=3)
    with served.reserve(3) as seats:
        futures = [seats.submit(picture(i)) for i in range(2)]
        time.sleep(0.2)
        assert network.sizes == []
        futures.append(seats.submit(picture(2)))
        assert [future.result(10)[0] for future in futures] == [0.0, 1.0, 2.0]
    assert network.sizes == [3]


def test_a_slow_picture_does_not_keep_others_for_longer_than_the_wait(network: Network) -> None:
    served = batcher(network, wait_seconds=0.05)
    with served.reserve(1), served.reserve(1) as other:
        assert other.submit(picture(5)).result(2).tolist() == [5.0]


def test_a_bad_picture_is_not_waited_for(network: Network) -> None:
    served = batcher(network)
    with served.reserve(2) as seats:
        future = seats.submit(picture(1))
        seats.skip()
        assert future.result(2).tolist() == [1.0]


def test_a_request_that_ends_early_is_not_waited_for(network: Network) -> None:
    served = batcher(network)
    with served.reserve(1) as seats:
        with served.reserve(1):
            future = seats.submit(picture(1))
        assert future.result(2).tolist() == [1.0]


def test_while_a_batch_is_computed_the_next_one_gathers(network: Network) -> None:
    served = batcher(network, max_batch=4, wait_seconds=0.0)
    network.go.clear()
    with served.reserve(9) as seats:
        futures = [seats.submit(picture(0))]
        assert network.started.wait(10)
        futures += [seats.submit(picture(i)) for i in range(1, 9)]
        network.go.set()
        assert [future.result(10)[0] for future in futures] == list(range(9))
    assert network.sizes == [1, 4, 4]


def test_every_request_of_many_threads_gets_its_own_answer(network: Network) -> None:
    served = batcher(network, max_batch=8, wait_seconds=0.001, capacity=64)

    def request(value: int) -> float:
        with served.reserve(1) as seats:
            return float(seats.submit(picture(value % 90)).result(10)[0])

    with ThreadPoolExecutor(16) as clients:
        assert list(clients.map(request, range(500))) == [value % 90 for value in range(500)]
    assert sum(network.sizes) == 500
    assert served.taken == 0


def test_more_images_than_may_wait_are_refused_and_places_come_back(network: Network) -> None:
    served = batcher(network, capacity=3)
    with served.reserve(2):
        assert served.taken == 2
        with pytest.raises(QueueFull):
            served.reserve(2)
        with served.reserve(1):
            pass
    with served.reserve(3):
        assert served.taken == 3
    assert served.taken == 0


def test_a_batch_that_fails_fails_its_own_images_only(network: Network) -> None:
    served = batcher(network)
    with served.reserve(1) as seats, pytest.raises(ValueError, match="a broken network"):
        seats.submit(picture(99)).result(10)
    with served.reserve(1) as seats:
        assert seats.submit(picture(3)).result(10).tolist() == [3.0]


def test_images_whose_request_gave_up_are_not_computed(network: Network) -> None:
    served = batcher(network, wait_seconds=0.0)
    network.go.clear()
    with served.reserve(3) as seats:
        first = seats.submit(picture(1))
        assert network.started.wait(10)
        given_up, last = seats.submit(picture(2)), seats.submit(picture(3))
        assert given_up.cancel()
        network.go.set()
        assert (first.result(10)[0], last.result(10)[0]) == (1.0, 3.0)
    assert network.sizes == [1, 1]


def test_what_waits_is_computed_before_the_end_and_nothing_is_taken_after(network: Network) -> None:
    served = batcher(network)
    network.go.clear()
    with served.reserve(6) as seats:
        futures = [seats.submit(picture(i)) for i in range(6)]
        closing = threading.Thread(target=served.close)
        closing.start()
        time.sleep(0.05)
        with pytest.raises(QueueFull):
            served.reserve(1)
        network.go.set()
        closing.join(10)
        assert [future.result(0)[0] for future in futures] == list(range(6))
