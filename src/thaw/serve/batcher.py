"""Collects the images of concurrent requests into batches, which one thread computes."""

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import TracebackType

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Row = npt.NDArray[np.float32]


class QueueFull(Exception):
    """As many images wait as may wait: the request is refused, and can be sent again later."""


@dataclass(frozen=True, eq=False)
class _Waiting:
    pixels: Pixels
    answer: "Future[Row]" = field(default_factory=Future)


class Seats:
    """The places of one request's images; they are free again when the `with` block ends.

    Every image takes its place before it is decoded, so what is decoded and waits is bounded too.
    """

    def __init__(self, batcher: "Batcher", images: int) -> None:
        self._batcher, self._images, self._to_come = batcher, images, images

    def submit(self, pixels: Pixels) -> "Future[Row]":
        """Return the future probabilities, float32 (C,), of an image, uint8 (S, S, 3). Threads may call it."""
        return self._batcher._submit(self, pixels)

    def skip(self) -> None:
        """Say that one image will not be submitted: it cannot be read."""
        self._batcher._come(self)

    def __enter__(self) -> "Seats":
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._batcher._free(self, self._images)


class Batcher:
    """Computes images in batches, in one thread, in the order in which they come.

    A batch is computed as soon as no image is on its way, so that a client alone does not wait; otherwise it is when
    the batch is full or its first image has waited for `wait_seconds`. While a batch is computed the next one gathers.

    Args:
        compute: images, uint8 (B, S, S, 3), to probabilities, float32 (B, C).
        max_batch: images of a batch, at most.
        wait_seconds: how long an image waits at most for others that are being decoded.
        capacity: images that may be decoded, wait or be computed at once.
        observe: called with the number of images of every batch.
    """

    def __init__(
        self,
        compute: Callable[[Pixels], npt.NDArray[np.float32]],
        max_batch: int,
        wait_seconds: float,
        capacity: int,
        observe: Callable[[int], None] = lambda images: None,
    ) -> None:
        self._compute, self._max_batch, self._wait_seconds = compute, max_batch, wait_seconds
        self._capacity, self._observe = capacity, observe
        self._changed = threading.Condition()
        self._queue: deque[_Waiting] = deque()
        self._taken = self._to_come = 0
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="compute", daemon=True)
        self._thread.start()

    @property
    def taken(self) -> int:
        """How many images are decoded, wait or are computed."""
        return self._taken

    def reserve(self, images: int) -> Seats:
        """Return places for a request's images, all or none. Raises QueueFull."""
        with self._changed:
            if self._closed or self._taken + images > self._capacity:
                raise QueueFull
            self._taken += images
            self._to_come += images
        return Seats(self, images)

    def close(self) -> None:
        """Compute what waits, then end the thread; nothing more is taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def _submit(self, seats: Seats, pixels: Pixels) -> "Future[Row]":
        waiting = _Waiting(pixels)
        with self._changed:
            self._queue.append(waiting)
        self._come(seats)
        return waiting.answer

    def _come(self, seats: Seats, images: int = 1) -> None:
        with self._changed:
            images = min(images, seats._to_come)
            seats._to_come -= images
            self._to_come -= images
            self._changed.notify_all()

    def _free(self, seats: Seats, images: int) -> None:
        self._come(seats, images)
        with self._changed:
            self._taken -= images

    def _run(self) -> None:
        while batch := self._next_batch():
            running = [waiting for waiting in batch if waiting.answer.set_running_or_notify_cancel()]
            if running:
                self._answer(running)

    def _answer(self, batch: list[_Waiting]) -> None:
        try:
            rows = self._compute(np.stack([waiting.pixels for waiting in batch]))
            self._observe(len(batch))
        except BaseException as error:  # the thread goes on: the next batch may be computed
            for waiting in batch:
                waiting.answer.set_exception(error)
            return
        for waiting, row in zip(batch, rows, strict=True):
            waiting.answer.set_result(row)

    def _next_batch(self) -> list[_Waiting]:
        """Return the next images, in order; none when the batcher is closed and all are computed."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closed)
            until = time.monotonic() + self._wait_seconds
            while len(self._queue) < self._max_batch and self._to_come and not self._closed:
                if not self._changed.wait(until - time.monotonic()):
                    break
            return [self._queue.popleft() for _ in range(min(self._max_batch, len(self._queue)))]
