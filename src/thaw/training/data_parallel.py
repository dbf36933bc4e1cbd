"""Trains on several devices as on one: each has its part of every batch, and a step is one of the whole batch.

The loss, its gradients, accuracy and the statistics of BatchNorm are those of the whole batch, whatever its parts, so a
run on two devices has the losses of one on one device but for rounding. Dropout alone draws other numbers.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

# Between the words of dropout's counters on two devices, so that each draws numbers of its own: 2**32 divided by the
# golden ratio, which spreads multiples of it evenly (Knuth, TAOCP 3, section 6.4).
_WORDS_BETWEEN = 0x9E3779B9


class DataParallelModel(keras.Model):
    """A functional model whose step is computed by the devices of a strategy, each on its part of the batch.

    It is made of a model whose variables are on all of these devices, and shares them. Keras is left unaware of the
    strategy. It would average the averages of parts, another loss where they differ in size, as those of an epoch's
    last batch may; and the iterator that it would use waits for ever when it is freed after an error.
    """

    strategy: Any  # of TensorFlow

    @classmethod
    def of(cls, model: Any, strategy: Any) -> Any:
        """Return a model of the same layers and precision. Call it outside of the strategy's scope."""
        parallel = cls(inputs=model.input, outputs=model.output, name=model.name)
        parallel.dtype_policy = model.dtype_policy
        parallel.strategy = strategy
        return parallel

    def compile(self, *, optimizer: Any, **options: Any) -> None:
        """Compile as Keras does, with the optimizer's variables on all devices, under whose scope it was made.

        The metrics have their variables before the first step too: one that makes any is traced a second time, and
        every trace has the step of every device in it.
        """
        with self.strategy.scope():
            if self.dtype_policy.name == "mixed_float16":
                optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
            optimizer.build(self.trainable_variables)
        super().compile(optimizer=optimizer, **options)
        zeros = tf.zeros((1, self.output_shape[-1]))
        self.compute_metrics(x=None, y=zeros, y_pred=zeros)
        self.reset_metrics()

    def train_step(self, data: Any) -> Any:
        """Train on a whole batch: inputs, targets (B, C), and the images' weights (B,) if classes have any."""
        x, y, weights = keras.utils.unpack_x_y_sample_weight(data)
        images = tf.shape(y)[0]
        given = tf.ones((images,)) if weights is None else tf.cast(weights, tf.float32)
        with self.strategy.scope():
            results = self.strategy.run(self._train_on_part, args=(x, y, given))
        losses, outputs = (self.strategy.experimental_local_results(values) for values in results)
        self.metrics[0].update_state(tf.add_n(losses), sample_weight=images)
        return self.compute_metrics(x, y, tf.concat(outputs, axis=0)[:images], sample_weight=weights)

    def _train_on_part(self, x: Any, y: Any, weights: Any) -> tuple[Any, Any]:
        """Train on this device's part of a batch; return its summand of the batch's mean loss, and its outputs."""
        context = tf.distribute.get_replica_context()
        parts = context.num_replicas_in_sync
        with tf.device("CPU:0"):  # only a part is copied to a device
            images = tf.shape(y)[0]
            rows = part_rows(images, context.replica_id_in_sync_group, parts)
            counts = tf.cast(rows < images, tf.float32)
            x, y, weights = tf.nest.map_structure(lambda a: tf.gather(a, rows % images), (x, y, weights))
            # `compute_loss` divides by the part's images and by the number of parts.
            weights *= counts * tf.cast(parts * tf.size(rows), tf.float32) / tf.cast(images, tf.float32)
        with tf.GradientTape() as tape:
            outputs = self(x, training=True)
            loss = self.compute_loss(x=x, y=y, y_pred=outputs, sample_weight=weights, training=True)
            scaled = self.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))  # sums those of all parts
        return loss, outputs


def part_rows(images: Any, part: int, parts: int) -> Any:
    """Return the rows of a batch that are in a part of it, int32 (n,): in order, in parts that differ by one at most.

    No part is empty, as not every kernel takes that: of fewer images than parts, the last parts have a row that is none
    of the batch's. An image stands there again without any weight, which only BatchNorm in training sees.
    """
    rows = tf.maximum(images, parts)
    return tf.range(rows * part // parts, rows * (part + 1) // parts)


@contextmanager
def statistics_of_whole_batches(model: Any) -> Iterator[None]:
    """Within the block, let BatchNorm normalize by the statistics of a whole batch, not of a device's part.

    Otherwise each device would have moving statistics of its own, of which only the first one's are read.
    """
    layers = [x for x in model._flatten_layers() if isinstance(x, keras.layers.BatchNormalization)]
    before = [layer.synchronized for layer in layers]
    try:
        for layer in layers:
            layer.synchronized = True
        yield
    finally:
        for layer, synchronized in zip(layers, before, strict=True):
            layer.synchronized = synchronized


def assign_counter(model: Any, variable: Any, word: int, count: int) -> None:
    """Assign word and count to a counter of a model's random numbers; each further device gets a word of its own."""
    copies: Sequence[Any] = (variable,)
    if isinstance(model, DataParallelModel):
        copies = model.strategy.experimental_local_results(variable.value)
    for i, copy in enumerate(copies):
        copy.assign([(word + i * _WORDS_BETWEEN) % 2**32, count])
