"""optimizer.ema: a stage is validated with, and ends with, a moving average of its weights.

The average is Keras's (`use_ema` of its optimizers), kept among the optimizer's variables, and so in checkpoints. Keras
writes it over the weights wherever a `fit` ends; a resumed stage has more than one, so here the stage's end does that.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras


class AveragedWeights:
    """The average of a compiled model's weights, which takes their place while the model is validated."""

    def __init__(self, model: Any) -> None:
        self._model, self._shown = model, False

    def show(self) -> None:
        """Put the average into the model, and the weights where it was."""
        if not self._shown:
            self._swap()

    def hide(self) -> None:
        """Undo `show`."""
        if self._shown:
            self._swap()

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Have the weights in the model within the block: what a checkpoint saves."""
        shown = self._shown
        self.hide()
        try:
            yield
        finally:
            if shown:
                self.show()

    def _swap(self) -> None:
        optimizer = self._model.optimizer
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # of float16, whose loss is scaled
        averages = optimizer._model_variables_moving_average  # as Keras's own callback SwapEMAWeights reads them
        for variable, average in zip(optimizer._trainable_variables, averages, strict=True):
            weights = keras.ops.convert_to_numpy(variable)
            variable.assign(average)
            average.assign(weights)
        self._shown = not self._shown


class ShowAverage(keras.callbacks.Callback):
    """Comes before validation: what follows sees the average, and so does whoever uses the model after the stage."""

    def __init__(self, averaged: AveragedWeights) -> None:
        super().__init__()
        self._averaged = averaged

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Show the average to validation and early stopping."""
        self._averaged.show()

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """End the stage with the average; early stopping may then restore an earlier one."""
        self._averaged.show()


class HideAverage(keras.callbacks.Callback):
    """Comes after early stopping: the next epoch trains on from the weights."""

    def __init__(self, averaged: AveragedWeights) -> None:
        super().__init__()
        self._averaged = averaged

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Bring the weights back."""
        self._averaged.hide()
