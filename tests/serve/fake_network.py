"""A server whose network needs no TensorFlow: its probabilities are the shares of red, green and blue."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from thaw.data.decode import DecodeOptions
from thaw.serve import http_server
from thaw.serve.http_app import Access
from thaw.serve.http_service import Batching, HttpService
from thaw.serve.image_service import ServedModel
from thaw.serve.serve_limits import Limits

CLASSES = ["red", "green", "bl<b>ue"]
SIZE = 16


@dataclass
class FakeNetwork:
    """Waits for `go`; `fails` has it raise; `seconds`: of a batch."""

    seconds: float = 0.0
    fails: bool = False
    go: threading.Event = field(default_factory=threading.Event)
    sizes: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.go.set()

    def __call__(self, images: np.ndarray) -> np.ndarray:
        assert self.go.wait(30)
        time.sleep(self.seconds)
        if self.fails:
            raise ValueError("a secret of the network")
        self.sizes.append(len(images))
        sums = images.reshape(len(images), -1, 3).sum(axis=1) + 1e-9
        return (sums / sums.sum(axis=1, keepdims=True)).astype(np.float32)


def colour_shares(pixels: np.ndarray) -> list[float]:
    return [float(share) for share in FakeNetwork()(pixels[None])[0]]


def fake_model(network: FakeNetwork) -> ServedModel:
    return ServedModel(
        "a fake", CLASSES, SIZE, DecodeOptions(), network, calibrate=lambda rows: 0.5 * rows,
        heat=lambda image, label: np.full((2, 2), label / 2, np.float32), facts={"engine": "none"},
    )  # fmt: skip


LIMITS = Limits(body_bytes=1_000_000, buffer_bytes=2_000_000, images=8, read_seconds=5.0, answer_seconds=10.0)


@contextmanager
def fake_server(
    network: FakeNetwork, limits: Limits = LIMITS, batching: Batching | None = None, access: Access | None = None
) -> Iterator[tuple[str, HttpService]]:
    """Serve in a thread; yields the address and the service."""
    batching = batching or Batching(max_batch=4, wait_seconds=0.002, capacity=16, decode_threads=2)
    service = HttpService(fake_model(network), limits, batching, access or Access(("127.0.0.1", "localhost")), 2)
    bound, ready = http_server.bind("127.0.0.1", 0), threading.Event()
    server = http_server.build_server(service.app, 10, ready.set, service.drain)
    thread = threading.Thread(target=http_server.run_until_signal, args=(server, bound))
    thread.start()
    try:
        assert ready.wait(10)
        yield http_server.address(bound), service
    finally:
        network.go.set()
        server.should_exit = True
        thread.join(20)
        service.close()
        assert not thread.is_alive()


def main(port: int, seconds: float) -> None:
    """Serve in this process until a signal, as scripts/serve.py does."""
    service = HttpService(fake_model(FakeNetwork(seconds)), LIMITS, Batching(capacity=64), Access(), 3)
    bound = http_server.bind("127.0.0.1", port)
    ready = http_server.address(bound)
    server = http_server.build_server(service.app, 10, lambda: print(ready, flush=True), service.drain)
    http_server.run_until_signal(server, bound)
    service.close()


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
