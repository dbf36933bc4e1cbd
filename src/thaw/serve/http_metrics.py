"""What the server counts and times, as Prometheus reads it."""

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """Counters of one server.

    queue: returns how many images are decoded, wait or are computed. buffered: how many bytes of requests are held.
    """

    def __init__(self, queue: Callable[[], float], buffered: Callable[[], float]) -> None:
        registry = self._registry = CollectorRegistry()
        self.requests = Counter("thaw_requests", "Requests that ended", ("path", "status"), registry=registry)
        self.seconds = Histogram(
            "thaw_request_seconds", "From a request's first line to its answer", ("path",), buckets=SECONDS,
            registry=registry,
        )  # fmt: skip
        self.batches = Histogram("thaw_batch_images", "Images of a batch", buckets=BATCHES, registry=registry)
        self.images = Counter("thaw_images", "Images of answered requests", ("outcome",), registry=registry)
        waiting = Gauge("thaw_queue_images", "Images that are decoded, wait or are computed", registry=registry)
        waiting.set_function(queue)
        held = Gauge("thaw_buffered_bytes", "Bytes of requests that are held", registry=registry)
        held.set_function(buffered)

    def text(self) -> bytes:
        """Return all of it in Prometheus's text format."""
        return generate_latest(self._registry)


class MeasuredApp:
    """Counts and times every request of an application by path and status.

    paths: the application's own; all others count as one, as a client could think of as many as it likes.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: frozenset[str]) -> None:
        self._app, self._metrics, self._paths = app, metrics, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path, started, status = scope["path"] if scope["path"] in self._paths else "other", time.perf_counter(), 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            self._metrics.requests.labels(path, str(status)).inc()
            self._metrics.seconds.labels(path).observe(time.perf_counter() - started)
