"""The learning-rate range test: a stage trains some steps at rising rates, each batch judged before its own step."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from thaw.common.console import progress
from thaw.training import rate_choice
from thaw.training.fit import FitInputs, compiled
from thaw.training.rate_choice import RangeTest
from thaw.training.recipes import TrainingStage
from thaw.training.tf_datasets import keras_batches, tensor_specs

LossFunction = Callable[[Any, Any], Any]  # of inputs and targets (B, C): their mean loss


def run_range_test(model: Any, stage: TrainingStage, inputs: FitInputs) -> RangeTest:
    """Train `model` at rising rates, and restore all of its variables.

    Before each step, the loss of its batch under the weights as they are is compared with that under the weights of the
    beginning, both as in validation, without dropout: what batches differ in cancels out, so that a small fall of the
    loss is seen in single steps. Where BatchNorm's statistics train they are the batch's: moving ones would change the
    loss whatever the rate.

    Args:
        model: an uncompiled Keras model, batches in, probabilities out.
        stage: with the optimizer that is tested; its own rate and schedule do not count.
        inputs: as of `fit`.
    """
    optimizer = replace(stage.optimizer, learning_rate=rate_choice.RATES[0], schedule="constant", ema=None)
    with restored(model.variables):
        model = compiled(model, replace(stage, optimizer=optimizer), inputs)
        loss = _loss_function(model, inputs, training=stage.batchnorm == "trainable")
        with progress("range test", 2 * len(rate_choice.RATES)) as bar:
            before = []
            for x, y in _batches(inputs):
                before.append(float(loss(x, y)))
                bar.advance()
            changes, loss_at_first = list[float](), float(np.mean(before))
            for rate, at_first, (x, y) in zip(rate_choice.RATES, before, _batches(inputs), strict=True):
                changes.append(float(loss(x, y)) - at_first)
                bar.advance()
                if rate_choice.has_risen(changes, loss_at_first):
                    break
                model.optimizer.learning_rate.assign(rate)
                model.train_on_batch(x, y, class_weight=inputs.class_weight)
    finite = changes if np.isfinite(changes[-1]) else changes[:-1]
    classes, smoothing = max(2, model.output_shape[-1]), inputs.head.label_smoothing
    return RangeTest(rate_choice.RATES[: len(finite)], tuple(finite), loss_at_first, classes, smoothing)


@contextmanager
def restored(variables: list[Any]) -> Iterator[None]:
    """Restore variables at the block's end, dropout's counters among them."""
    values = [keras.ops.convert_to_numpy(variable) for variable in variables]
    try:
        yield
    finally:
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)


def _loss_function(model: Any, inputs: FitInputs, *, training: bool) -> LossFunction:
    def loss(x: Any, y: Any) -> Any:
        return model.compute_loss(x=x, y=y, y_pred=model(x, training=training), training=training)

    specs = tensor_specs(next(_batches(inputs)))
    function: LossFunction = tf.function(loss, input_signature=specs, autograph=False)
    return function


def _batches(inputs: FitInputs) -> Iterator[tuple[Any, Any]]:
    """Yield as many whole batches as there are rates, as the stage's first epochs have them."""
    steps = len(rate_choice.RATES)
    size = len(inputs.train.rows(0, 0))
    epochs = -(-steps // max(1, inputs.images // size))
    batches = keras_batches(inputs.train, inputs.sigmoid, 0, 0, epochs)
    whole = (batch for batch in batches if len(batch[1]) == size)
    for _, (x, y) in zip(range(steps), whole, strict=False):
        yield tf.nest.map_structure(lambda a: np.asarray(a, np.float32), x), y
