"""Fits one stage: compiles anew, feeds batches, sets the learning rate, reports every epoch."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from thaw import backend
from thaw.config.schema import HeadConfig, TrainConfig
from thaw.console import Steps, progress
from thaw.errors import UserError
from thaw.frozen.forward import Batches, stream
from thaw.training import optimizers
from thaw.training.recipes import Stage


@dataclass(frozen=True)
class FitResult:
    """What a stage did.

    history: one dict an epoch: stage, epoch (1-based over the whole run), loss, accuracy, val_loss, val_accuracy,
    learning_rate, images_per_second. seconds: training and validation, without compilation of the graph.
    """

    history: list[dict[str, Any]]
    seconds: float


class Diverged(UserError):
    """The loss became NaN or infinite."""


def fit(
    model: Any,
    stage: Stage,
    train: Batches,
    val: Batches,
    *,
    images: int,
    options: TrainConfig,
    head: HeadConfig,
    class_weight: dict[int, float] | None,
    on_epoch: Callable[[dict[str, Any]], None],
) -> FitResult:
    """Train `model` on `train` for the stage's epochs; `on_epoch` is called with each entry of the history.

    model: an uncompiled Keras model, batches in, probabilities out. images: training images an epoch.
    Raises Diverged when the loss is no longer a finite number.
    """
    sigmoid = head.output == "sigmoid"
    losses = keras.losses.BinaryCrossentropy if sigmoid else keras.losses.CategoricalCrossentropy
    optimizer = optimizers.build(stage.optimizer)
    model.compile(
        optimizer=optimizer,
        loss=losses(label_smoothing=head.label_smoothing),
        metrics=["accuracy"],
        jit_compile=backend.jit_compile(),
    )
    steps = len(train)
    started = time.perf_counter()
    with progress(stage.name, (steps + len(val)) * stage.epochs) as bar:
        epochs = Epochs(stage, images, bar, on_epoch)
        model.fit(
            _dataset(train, sigmoid, stage.epochs + 1),  # one more: at the very end Keras would start it anew
            epochs=stage.epochs,
            steps_per_epoch=steps,
            class_weight=class_weight,
            shuffle=False,  # the batches are shuffled already, by (seed, stage, epoch)
            verbose=0,
            # Epochs before those that change the rate: it records the one that the epoch was trained with.
            callbacks=[Rate(stage, steps), Validate(val, sigmoid, bar), epochs, *_callbacks(stage, options)],
        )
    return FitResult(epochs.history, time.perf_counter() - started)


def _callbacks(stage: Stage, options: TrainConfig) -> list[Any]:
    chosen: list[Any] = []
    if stage.optimizer.schedule == "plateau":
        chosen.append(
            keras.callbacks.ReduceLROnPlateau(
                monitor="val_loss", factor=stage.optimizer.plateau_factor, patience=stage.optimizer.plateau_patience
            )
        )
    if options.patience:
        chosen.append(
            keras.callbacks.EarlyStopping(monitor="val_loss", patience=options.patience, restore_best_weights=True)
        )
    return chosen


def _as_given(batches: Batches, sigmoid: bool, epochs: int) -> Iterator[tuple[Any, npt.NDArray[np.float32]]]:
    """Batches as the model takes them: a single tensor bare, and of a sigmoid's targets only the second class's."""
    for inputs, targets in stream(batches, 0, epochs):
        given = inputs if not isinstance(inputs, tuple) else (inputs[0] if len(inputs) == 1 else inputs)
        yield given, targets[:, 1:] if sigmoid else targets


def _signature(batch: Any) -> Any:
    return tf.nest.map_structure(lambda a: tf.TensorSpec((None, *a.shape[1:]), a.dtype), batch)


def _dataset(batches: Batches, sigmoid: bool, epochs: int) -> Any:
    """Batches of all epochs as one tf.data stream, so that the next epoch's first batch is ready when one ends."""
    signature = _signature(next(_as_given(batches, sigmoid, 1)))
    data = tf.data.Dataset.from_generator(lambda: _as_given(batches, sigmoid, epochs), output_signature=signature)
    data = data.map(lambda x, y: (tf.nest.map_structure(lambda a: tf.cast(a, tf.float32), x), y))
    options = tf.data.Options()
    options.autotune.enabled = False  # nothing to tune; its thread let a finished stage wait up to 10 s for its end
    data = data.with_options(options)
    # Keras otherwise learns the length by running into the end, and warns about it.
    return data.prefetch(2).apply(tf.data.experimental.assert_cardinality(len(batches) * epochs))


class Rate(keras.callbacks.Callback):
    """Sets the learning rate before every step, as the schedule says."""

    def __init__(self, stage: Stage, steps: int) -> None:
        super().__init__()
        self.stage, self.steps, self.step = stage, steps, 0

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        own = self.stage.optimizer
        warmed = self.step >= round(own.warmup_epochs * self.steps)
        if own.schedule == "cosine" or not warmed:
            rate = optimizers.learning_rate(own, self.step, self.steps, self.stage.epochs)
            self.model.optimizer.learning_rate.assign(rate)
        elif self.step == round(own.warmup_epochs * self.steps):
            self.model.optimizer.learning_rate.assign(own.learning_rate)
        self.step += 1


class Validate(keras.callbacks.Callback):
    """Adds `val_loss` and `val_accuracy` to an epoch's figures, as Keras's own validation has them.

    Keras starts a data set anew for every validation, which takes longer than a head takes on a thousand images.
    """

    def __init__(self, batches: Batches, sigmoid: bool, bar: Steps) -> None:
        super().__init__()
        self.batches, self.sigmoid, self.bar = batches, sigmoid, bar
        self._step: Any = None

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        loss, right, images = 0.0, 0, 0
        for inputs, targets in _as_given(self.batches, self.sigmoid, 1):
            if self._step is None:
                self._step = tf.function(self._judge, input_signature=_signature((inputs, targets)), autograph=False)
            of_batch, correct = self._step(inputs, targets)
            loss += float(of_batch) * len(targets)
            right += int(correct)
            images += len(targets)
            self.bar.advance()
        assert logs is not None
        logs.update(val_loss=loss / images, val_accuracy=right / images)

    def _judge(self, inputs: Any, targets: Any) -> tuple[Any, Any]:
        """Mean loss of a batch, and how many of its images are right."""
        out = self.model(tf.nest.map_structure(lambda a: tf.cast(a, tf.float32), inputs), training=False)
        loss = self.model.compute_loss(x=inputs, y=targets, y_pred=out, training=False)
        right = tf.equal(out > 0.5, targets > 0.5)[:, 0] if self.sigmoid else _first(out) == _first(targets)
        return loss, tf.reduce_sum(tf.cast(right, tf.int32))


def _first(scores: Any) -> Any:
    return tf.argmax(scores, axis=1)


class Epochs(keras.callbacks.Callback):
    """Keeps the history, moves the bar, and stops when the loss is no longer finite."""

    def __init__(self, stage: Stage, images: int, bar: Steps, report: Callable[[dict[str, Any]], None]) -> None:
        super().__init__()
        self.stage, self.images, self.bar, self.report = stage, images, bar, report
        self.history: list[dict[str, Any]] = []
        self.started = self.trained = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.started = time.perf_counter()
        self.bar.describe(f"{self.stage.name} {epoch + 1}/{self.stage.epochs}")

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self.trained = time.perf_counter() - self.started  # the last one leaves out validation
        self.bar.advance()
        if logs and not math.isfinite(logs["loss"]):
            raise Diverged(
                f"the loss became {logs['loss']} in stage {self.stage.name}, epoch {len(self.history) + 1}. "
                f"Lower the learning rate (it is {float(self.model.optimizer.learning_rate):.3g})"
            )

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        figures = {name: float(value) for name, value in (logs or {}).items() if name != "learning_rate"}
        entry = {
            "stage": self.stage.name,
            "epoch": self.stage.first_epoch + epoch + 1,
            **figures,
            "learning_rate": float(self.model.optimizer.learning_rate),
            "images_per_second": self.images / self.trained if self.trained else 0.0,
        }
        self.history.append(entry)
        self.report(entry)
