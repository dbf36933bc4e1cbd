"""Runs a network over batches in inference mode, while the next batches are decoded."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from thaw.console import progress

AHEAD = 4  # batches prepared ahead of the network
THREADS = 2  # Pillow releases the interpreter lock while it resizes


class Batches(Protocol):
    """A split in batches: of images, or of activations."""

    def __len__(self) -> int: ...

    def rows(self, epoch: int, i: int) -> npt.NDArray[np.int64]: ...

    def batch(self, epoch: int, i: int) -> tuple[Any, npt.NDArray[np.float32]]: ...


def stream(batches: Batches, first_epoch: int = 0, epochs: int = 1) -> Iterator[tuple[Any, npt.NDArray[np.float32]]]:
    """Yield the batches of `epochs` epochs in order, prepared ahead in threads."""
    wanted = ((epoch, i) for epoch in range(first_epoch, first_epoch + epochs) for i in range(len(batches)))
    with ThreadPoolExecutor(THREADS) as threads:
        waiting: deque[Future[Any]] = deque()
        try:
            for epoch, i in wanted:
                waiting.append(threads.submit(batches.batch, epoch, i))
                if len(waiting) > AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def forward(model: Any, batches: Batches, description: str, images: int) -> Iterator[list[npt.NDArray[np.float32]]]:
    """Yield the model's outputs batch by batch, a list of float32 arrays (B, ...); `images` is what the bar counts."""
    import tensorflow as tf

    call = tf.function(lambda x: model(x, training=False), reduce_retracing=True)
    with progress(description, images) as steps:
        for inputs, targets in stream(batches):
            outputs = call(_tensors(inputs))
            outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
            yield [tf.cast(output, tf.float32).numpy() for output in outputs]
            steps.advance(len(targets))


def _tensors(inputs: Any) -> Any:
    import tensorflow as tf

    if isinstance(inputs, tuple):
        return [tf.convert_to_tensor(x) for x in inputs] if len(inputs) > 1 else tf.convert_to_tensor(inputs[0])
    return tf.cast(inputs, tf.float32)


def probabilities(model: Any, batches: Batches, description: str, images: int) -> npt.NDArray[np.float32]:
    """Return the classifier's output for every image of unshuffled `batches`, float32 (N, C); a sigmoid gives C=2."""
    out = np.concatenate([outputs[0] for outputs in forward(model, batches, description, images)])
    return np.hstack([1 - out, out]) if out.shape[1] == 1 else out
