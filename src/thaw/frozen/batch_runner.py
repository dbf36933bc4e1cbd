"""Batches in order, prefetched by threads, and a network's probabilities for them."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from thaw.common.console import progress
from thaw.common.parallel import default_threads, prefetch_map
from thaw.frozen.engine import InferenceFunction

PREFETCHED_BATCHES = 4  # batches prepared ahead of the network, at least one for each thread

Item = TypeVar("Item")
Result = TypeVar("Result")


class BatchSequence(Protocol):
    """A split in batches, of images or of activations; any batch of any epoch can be computed alone."""

    def __len__(self) -> int: ...

    def rows(self, epoch: int, i: int) -> npt.NDArray[np.int64]:
        """Return the catalog indices of batch i, int64 (B,)."""

    def batch(self, epoch: int, i: int) -> tuple[Any, npt.NDArray[np.float32]]:
        """Return the inputs of batch i and its one-hot targets, float32 (B, C)."""


def prefetch(items: Iterable[Item], function: Callable[[Item], Result]) -> Iterator[Result]:
    """Yield function(item) of every item, in order, computed in threads a few batches ahead of the reader."""
    threads = default_threads()
    return prefetch_map(function, items, threads=threads, prefetch=max(PREFETCHED_BATCHES, threads), chunk=1)


def stream_batches(
    batches: BatchSequence, first_epoch: int = 0, epochs: int = 1, first_batch: int = 0
) -> Iterator[tuple[Any, npt.NDArray[np.float32]]]:
    """Yield the batches of `epochs` epochs in order, the first epoch from `first_batch` on, prefetched by threads."""
    positions = (
        (epoch, i)
        for epoch in range(first_epoch, first_epoch + epochs)
        for i in range(first_batch if epoch == first_epoch else 0, len(batches))
    )
    return prefetch(positions, lambda position: batches.batch(*position))


def predict_probabilities(
    function: InferenceFunction, batches: BatchSequence, description: str, images: int
) -> npt.NDArray[np.float32]:
    """Return the classifier's probabilities for every image of unshuffled `batches`, float32 (N, C); a sigmoid has C=2.

    Args:
        function: the classifier.
        batches: read once, in order.
        description: label of the progress bar.
        images: number of images.
    """
    outputs = []
    with progress(description, images) as steps:
        for inputs, targets in stream_batches(batches):
            outputs.append(function(*(inputs if isinstance(inputs, tuple) else (inputs,)))[0])
            steps.advance(len(targets))
    return expand_sigmoid(np.concatenate(outputs))


def expand_sigmoid(out: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return a sigmoid's output (N, 1) as probabilities of both classes (N, 2), and any other output unchanged."""
    return np.hstack([1 - out, out]) if out.shape[1] == 1 else out
