"""Puts a network, its batches, limits and counters together as one application."""

from dataclasses import dataclass

from starlette.types import ASGIApp

from thaw.serve.batcher import Batcher
from thaw.serve.http_app import Access, ServerState, build_app
from thaw.serve.http_metrics import Metrics
from thaw.serve.image_service import ImageService, ServedModel
from thaw.serve.serve_limits import BodyBuffer, Limits


@dataclass(frozen=True)
class Batching:
    """How images are computed together: see `Batcher`. decode_threads: pictures that are decoded at once."""

    max_batch: int = 32
    wait_seconds: float = 0.005
    capacity: int = 256
    decode_threads: int = 2


class HttpService:
    """The application `app` of a network, and what it holds; `close` ends its threads.

    Args:
        model: the network.
        limits: of requests.
        batching: of their images.
        access: who may use it.
        top: classes of an image, unless a request says `top=`.
    """

    def __init__(self, model: ServedModel, limits: Limits, batching: Batching, access: Access, top: int) -> None:
        buffer = BodyBuffer(limits.buffer_bytes)
        metrics = Metrics(lambda: self.batcher.taken, lambda: buffer.held)
        self.batcher = Batcher(
            model.compute, batching.max_batch, batching.wait_seconds, batching.capacity, metrics.batches.observe
        )
        self._images = ImageService(model, self.batcher, batching.decode_threads, limits.answer_seconds)
        self.state = ServerState(self._images, limits, buffer, metrics, top)
        self.app: ASGIApp = build_app(self.state, access)

    def drain(self) -> None:
        """Have /health say that the server ends."""
        self.state.draining = True

    def close(self) -> None:
        """End the threads when they have computed what waits."""
        self._images.close()
