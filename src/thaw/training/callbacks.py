"""Callbacks around Keras's steps: the learning rate, validation, the history."""

import math
import time
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from thaw.common.console import ProgressHandle
from thaw.common.errors import UserError
from thaw.frozen.batch_runner import BatchSequence
from thaw.training import optimizers
from thaw.training.checkpoint import TrainingProgress
from thaw.training.recipes import TrainingStage
from thaw.training.tf_datasets import keras_batches, tensor_specs


class Diverged(UserError):
    """The loss or a weight became NaN or infinite."""


def divergence_error(what: str, value: object, stage: TrainingStage, epoch: int, model: Any) -> Diverged:
    """Return the error for what is no longer finite in an epoch of a stage, 0-based."""
    return Diverged(
        f"{what} became {value} in stage {stage.name}, epoch {epoch + 1}. "
        f"Lower the learning rate (it is {_learning_rate(model):.3g})"
    )


def _learning_rate(model: Any) -> float:
    return float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))


class StageCallbacks(keras.callbacks.CallbackList):
    """A stage's callbacks: they begin once and end once, however often `fit` is called for the stage."""

    def __init__(self, callbacks: list[Any], model: Any) -> None:
        super().__init__(callbacks, add_history=True, model=model)
        self._begun = False

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Begin, the first time only."""
        if not self._begun:
            self._begun = True
            super().on_train_begin(logs)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Ignore the end of a `fit`, which need not be the stage's."""

    def end_stage(self) -> None:
        """End the stage; early stopping restores the best weights here."""
        super().on_train_end()


class LearningRateCallback(keras.callbacks.Callback):
    """Sets the learning rate before every step, as the schedule says; start: where the stage begins or resumes."""

    def __init__(self, stage: TrainingStage, steps_per_epoch: int, start: TrainingProgress) -> None:
        super().__init__()
        self._stage, self._steps_per_epoch = stage, steps_per_epoch
        self._step = steps_per_epoch * start.epoch + start.step

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Set the rate of this step; after warm-up, a plateau's rate is left to Keras's own callback."""
        config, course = self._stage.optimizer, (self._steps_per_epoch, self._stage.epochs)
        if config.schedule in ("cosine", "one_cycle") or self._step <= optimizers.warmup_steps(config, *course):
            rate = optimizers.scheduled_learning_rate(config, self._step, *course)
            self.model.optimizer.learning_rate.assign(rate)
        self._step += 1


class ValidationCallback(keras.callbacks.Callback):
    """Adds `val_loss` and `val_accuracy` to an epoch's metrics, computed as the run's val/loss and val/accuracy are.

    The loss is the mean cross-entropy of `results.metrics`. objective: it is what training minimizes instead, label
    smoothing included, and `val_cross_entropy` is added, which can be compared with the run's val/loss.
    after_batch: is called after each batch. Keras's own validation starts a data set anew every time, which takes
    longer than a head takes on a thousand images.
    """

    def __init__(
        self,
        batches: BatchSequence,
        sigmoid: bool,
        objective: bool,
        bar: ProgressHandle,
        after_batch: Callable[[], None],
    ) -> None:
        super().__init__()
        self._batches, self._sigmoid, self._objective = batches, sigmoid, objective
        self._bar, self._after_batch = bar, after_batch
        self._step: Any = None

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Validate, and add the metrics to `logs`."""
        loss, cross_entropy, correct, images = 0.0, 0.0, 0, 0
        for inputs, targets in keras_batches(self._batches, self._sigmoid):
            if self._step is None:
                specs = tensor_specs((inputs, targets))
                self._step = tf.function(self._evaluate, input_signature=specs, autograph=False)
            batch_loss, batch_cross_entropy, batch_correct = self._step(inputs, targets)
            loss += float(batch_loss) * len(targets)
            cross_entropy += float(batch_cross_entropy) * len(targets)
            correct += int(batch_correct)
            images += len(targets)
            self._bar.advance()
            self._after_batch()
        assert logs is not None
        logs.update(val_loss=loss / images, val_accuracy=correct / images)
        if self._objective:
            logs.update(val_cross_entropy=cross_entropy / images)

    def _evaluate(self, inputs: Any, targets: Any) -> tuple[Any, Any, Any]:
        """Return a batch's mean loss and mean cross-entropy, and how many of its images get their own class."""
        out = self.model(tf.nest.map_structure(lambda a: tf.cast(a, tf.float32), inputs), training=False)
        loss = cross_entropy = _cross_entropy(out, targets)
        if self._objective:
            loss = self.model.compute_loss(x=inputs, y=targets, y_pred=out, training=False)
        if self._sigmoid:
            correct = tf.equal(out > 0.5, targets > 0.5)[:, 0]
        else:
            correct = tf.argmax(out, axis=1) == tf.argmax(targets, axis=1)
        return loss, cross_entropy, tf.reduce_sum(tf.cast(correct, tf.int32))


def _cross_entropy(out: Any, targets: Any) -> Any:
    """Mean over a batch, of a softmax (B, C) or a sigmoid (B, 1); clipped as `results.metrics` clips it."""
    out, targets = tf.cast(out, tf.float64), tf.cast(targets, tf.float64)
    of_label = 1 - tf.abs(targets - out)[:, 0] if out.shape[1] == 1 else tf.reduce_sum(out * targets, axis=1)
    return -tf.reduce_mean(tf.math.log(tf.clip_by_value(of_label, 1e-7, 1 - 1e-7)))


class EpochLogger(keras.callbacks.Callback):
    """Collects the history, advances the progress bar, and raises Diverged when the loss is no longer finite.

    images, steps: of an epoch. on_epoch: is called with each entry of `history`; the stage ends if it returns true.
    seconds_before_resume: of this stage's training before the run was stopped.
    """

    def __init__(
        self,
        stage: TrainingStage,
        images: int,
        steps: int,
        bar: ProgressHandle,
        on_epoch: Callable[[dict[str, Any]], bool | None],
    ) -> None:
        super().__init__()
        self._stage, self._images, self._steps, self._bar, self._on_epoch = stage, images, steps, bar, on_epoch
        self.history: list[dict[str, Any]] = []
        self.seconds_before_resume = 0.0
        self._started = self._epoch_started = time.perf_counter()
        self._step_seconds, self._steps_done = 0.0, 0

    @property
    def seconds(self) -> float:
        """Seconds of the stage's training and validation."""
        return self.seconds_before_resume + time.perf_counter() - self._started

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Start the epoch's clock."""
        self._epoch_started, self._step_seconds, self._steps_done = time.perf_counter(), 0.0, 0
        self._bar.describe(f"{self._stage.name} {epoch + 1}/{self._stage.epochs}")

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Count the step; the epoch's last one stops the clock before validation."""
        self._step_seconds = time.perf_counter() - self._epoch_started
        self._steps_done += 1
        self._bar.advance()
        if logs:
            self._check_finite(logs["loss"], "loss")

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Add the epoch to the history, and hand it on."""
        metrics = {name: float(value) for name, value in (logs or {}).items() if name != "learning_rate"}
        self._check_finite(metrics["val_loss"], "validation loss")  # it is the first to see the last step's weights
        images = self._images * self._steps_done / self._steps
        entry = {
            "stage": self._stage.name,
            "epoch": self._stage.first_epoch + epoch + 1,
            **metrics,
            "learning_rate": _learning_rate(self.model),
            "images_per_second": images / self._step_seconds if self._step_seconds else 0.0,
        }
        self.history.append(entry)
        if self._on_epoch(entry):
            self.model.stop_training = True

    def _check_finite(self, loss: float, name: str) -> None:
        if not math.isfinite(loss):
            raise divergence_error(f"the {name}", loss, self._stage, len(self.history), self.model)
