"""What happens around Keras's steps: the learning rate, validation, the history."""

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
from thaw.training.batch_feed import keras_batches, tensor_specs
from thaw.training.checkpoint import TrainingProgress
from thaw.training.recipes import TrainingStage


class Diverged(UserError):
    """The loss became NaN or infinite."""


def divergence_error(what: str, value: object, stage: TrainingStage, epoch: int, model: Any) -> Diverged:
    return Diverged(
        f"{what} became {value} in stage {stage.name}, epoch {epoch + 1}. "
        f"Lower the learning rate (it is {float(model.optimizer.learning_rate):.3g})"
    )


class StageCallbacks(keras.callbacks.CallbackList):
    """A stage's callbacks: begun once and ended once, however often `fit` is called for it."""

    def __init__(self, callbacks: list[Any], model: Any) -> None:
        super().__init__(callbacks, add_history=True, model=model)
        self._begun = False

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        if not self._begun:
            self._begun = True
            super().on_train_begin(logs)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None: ...

    def end(self) -> None:
        super().on_train_end()


class LearningRateCallback(keras.callbacks.Callback):
    """Sets the learning rate before every step, as the schedule says."""

    def __init__(self, stage: TrainingStage, steps: int, place: TrainingProgress) -> None:
        super().__init__()
        self.stage, self.steps, self.step = stage, steps, steps * place.epoch + place.step

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        own = self.stage.optimizer
        warmed = self.step >= round(own.warmup_epochs * self.steps)
        if own.schedule == "cosine" or not warmed:
            rate = optimizers.learning_rate(own, self.step, self.steps, self.stage.epochs)
            self.model.optimizer.learning_rate.assign(rate)
        elif self.step == round(own.warmup_epochs * self.steps):
            self.model.optimizer.learning_rate.assign(own.learning_rate)
        self.step += 1


class ValidationCallback(keras.callbacks.Callback):
    """Adds `val_loss` and `val_accuracy` to an epoch's figures: those that the run's val/loss and val/accuracy are.

    The loss is the mean cross-entropy of `results.evaluate`. objective: it is what training minimizes instead, which
    has label smoothing in it. Keras's own validation starts a data set anew every time, which takes longer than a head
    takes on a thousand images.
    """

    def __init__(
        self, batches: BatchSequence, sigmoid: bool, objective: bool, bar: ProgressHandle, between: Callable[[], None]
    ) -> None:
        super().__init__()
        self.batches, self.sigmoid, self.objective, self.bar, self.after_batch = (
            batches,
            sigmoid,
            objective,
            bar,
            between,
        )
        self._step: Any = None

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        loss, right, images = 0.0, 0, 0
        for inputs, targets in keras_batches(self.batches, self.sigmoid):
            if self._step is None:
                self._step = tf.function(self._judge, input_signature=tensor_specs((inputs, targets)), autograph=False)
            of_batch, correct = self._step(inputs, targets)
            loss += float(of_batch) * len(targets)
            right += int(correct)
            images += len(targets)
            self.bar.advance()
            self.after_batch()
        assert logs is not None
        logs.update(val_loss=loss / images, val_accuracy=right / images)

    def _judge(self, inputs: Any, targets: Any) -> tuple[Any, Any]:
        """Mean loss of a batch, and how many of its images are right."""
        out = self.model(tf.nest.map_structure(lambda a: tf.cast(a, tf.float32), inputs), training=False)
        if self.objective:
            loss = self.model.compute_loss(x=inputs, y=targets, y_pred=out, training=False)
        else:
            loss = _cross_entropy(out, targets)
        right = tf.equal(out > 0.5, targets > 0.5)[:, 0] if self.sigmoid else _first(out) == _first(targets)
        return loss, tf.reduce_sum(tf.cast(right, tf.int32))


def _cross_entropy(out: Any, targets: Any) -> Any:
    """The mean over a batch, of a softmax (B, C) or a sigmoid (B, 1); clipped as `results.evaluate` clips it."""
    out, targets = tf.cast(out, tf.float64), tf.cast(targets, tf.float64)
    of_label = 1 - tf.abs(targets - out)[:, 0] if out.shape[1] == 1 else tf.reduce_sum(out * targets, axis=1)
    return -tf.reduce_mean(tf.math.log(tf.clip_by_value(of_label, 1e-7, 1 - 1e-7)))


def _first(scores: Any) -> Any:
    return tf.argmax(scores, axis=1)


class EpochLogger(keras.callbacks.Callback):
    """Keeps the history, moves the bar, and stops when the loss is no longer finite."""

    def __init__(
        self,
        stage: TrainingStage,
        images: int,
        steps: int,
        bar: ProgressHandle,
        report: Callable[[dict[str, Any]], None],
    ) -> None:
        super().__init__()
        self.stage, self.images, self.steps, self.bar, self.report = stage, images, steps, bar, report
        self.history: list[dict[str, Any]] = []
        self.seconds_before_resume = 0.0  # seconds, of what was trained before the run was stopped
        self.began = self.started = time.perf_counter()
        self.training_seconds, self.batches = 0.0, 0

    @property
    def seconds(self) -> float:
        return self.seconds_before_resume + time.perf_counter() - self.began

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.started, self.training_seconds, self.batches = time.perf_counter(), 0.0, 0
        self.bar.describe(f"{self.stage.name} {epoch + 1}/{self.stage.epochs}")

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self.training_seconds = time.perf_counter() - self.started  # the last one leaves out validation
        self.batches += 1
        self.bar.advance()
        if logs:
            self._must_be_finite(logs["loss"], "loss")

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        figures = {name: float(value) for name, value in (logs or {}).items() if name != "learning_rate"}
        self._must_be_finite(figures["val_loss"], "validation loss")  # it is the first to see the last step's weights
        images = self.images * self.batches / self.steps
        entry = {
            "stage": self.stage.name,
            "epoch": self.stage.first_epoch + epoch + 1,
            **figures,
            "learning_rate": float(self.model.optimizer.learning_rate),
            "images_per_second": images / self.training_seconds if self.training_seconds else 0.0,
        }
        self.history.append(entry)
        self.report(entry)

    def _must_be_finite(self, loss: float, name: str) -> None:
        if not math.isfinite(loss):
            raise divergence_error(f"the {name}", loss, self.stage, len(self.history), self.model)
