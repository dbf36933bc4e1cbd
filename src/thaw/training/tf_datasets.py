"""Feeds batches to Keras: one by one, or as one tf.data stream over a stage's epochs."""

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from thaw.frozen.batch_runner import BatchSequence, stream_batches


def keras_batches(
    batches: BatchSequence, sigmoid: bool, epoch: int = 0, step: int = 0, epochs: int = 1
) -> Iterator[tuple[Any, npt.NDArray[np.float32]]]:
    """Yield batches as the model takes them: a single tensor bare, of a sigmoid's targets only the second class's."""
    for inputs, targets in stream_batches(batches, epoch, epochs, step):
        if isinstance(inputs, tuple) and len(inputs) == 1:
            inputs = inputs[0]
        yield inputs, targets[:, 1:] if sigmoid else targets


def tensor_specs(batch: Any) -> Any:
    """Return the specs of a batch's tensors, for batches of any length."""
    return tf.nest.map_structure(lambda a: tf.TensorSpec((None, *a.shape[1:]), a.dtype), batch)


def tf_dataset(batches: BatchSequence, sigmoid: bool, epoch: int, step: int, end: int) -> Any:
    """Return a tf.data stream from a step of an epoch to epoch `end`; each epoch's first batch is prefetched."""
    generator = functools.partial(keras_batches, batches, sigmoid, epoch, step, end - epoch)
    data = tf.data.Dataset.from_generator(generator, output_signature=tensor_specs(next(generator())))
    data = data.map(lambda x, y: (tf.nest.map_structure(lambda a: tf.cast(a, tf.float32), x), y))
    options = tf.data.Options()
    options.autotune.enabled = False  # nothing to tune; its thread let a finished stage wait up to 10 s for its end
    data = data.with_options(options)
    # Keras otherwise learns the length by running into the end, and warns about it.
    length = len(batches) * (end - epoch) - step
    return data.prefetch(2).apply(tf.data.experimental.assert_cardinality(length))
