"""Saves a stage while it trains: when a checkpoint is due, and what is in it."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import keras
import numpy as np

from thaw.common.signals import PendingSignal
from thaw.config.schema import CheckpointConfig
from thaw.data.seeds import rng_for
from thaw.training import data_parallel, resume_state
from thaw.training.averaged_weights import AveragedWeights
from thaw.training.callbacks import EpochLogger, divergence_error
from thaw.training.checkpoint import Checkpoint, CheckpointDir, NamedArrays, TrainingProgress
from thaw.training.recipes import TrainingStage
from thaw.training.stage_result import FOUND_RATE

# Short epochs share a checkpoint: writing takes no more than this of training's time.
MAX_WRITING_SHARE = 0.05

WeightHashes = dict[str, dict[str, str]]  # sha256 by layer and variable


@dataclass
class StageCheckpointer:
    """Writes the checkpoints of one stage, and holds the one that the stage is resumed from.

    directory: of the run's checkpoints. stage: its number. variables: those that this stage and the ones before it may
    have changed. finished: `StageResult.to_state` of the stages before it. elapsed: seconds that the run has taken so
    far. resume_from: None when the stage begins. found_rate: the stage's, once a range test has found it.
    """

    directory: CheckpointDir
    config: CheckpointConfig
    stage: int
    variables: list[Any]
    _: KW_ONLY
    finished: list[dict[str, Any]] = field(default_factory=list)
    elapsed: Callable[[], float] = float
    resume_from: Checkpoint | None = None

    def __post_init__(self) -> None:
        self._hashes: WeightHashes = {}
        state = self.resume_from.state if self.resume_from else {}
        self.found_rate: float | None = state.get(FOUND_RATE)
        self._written, self._writing_seconds = time.monotonic(), 0.0

    @property
    def start(self) -> TrainingProgress:
        """Where the stage begins or resumes."""
        return self.resume_from.progress if self.resume_from else TrainingProgress(self.stage, 0, 0)

    def begin_stage(self, hash_weights: Callable[[], WeightHashes]) -> WeightHashes:
        """Restore the weights of a resumed stage; return the hashes of all weights as they were when it first began.

        The beginning of a later stage is saved: the stage before it need not be trained again.
        """
        if self.resume_from:
            resume_state.restore_weights(self.variables, self.resume_from)
            self._hashes = self.resume_from.state["before"]
        else:
            self._hashes = hash_weights()
            if self.stage > 0:
                self.save(0, 0, {}, {})
        return self._hashes

    def save_found_rate(self, rate: float) -> None:
        """Save what the stage's range test found: a resumed stage does not test again."""
        self.found_rate = rate
        self.save(0, 0, {}, {})

    def due_mid_epoch(self) -> bool:
        """Whether `checkpoint.minutes` have passed since the last checkpoint."""
        return time.monotonic() - self._written >= 60 * self.config.minutes

    def due_at_epoch_end(self) -> bool:
        """Whether enough was trained since the last checkpoint to be worth writing another."""
        return time.monotonic() - self._written >= self._writing_seconds * (1 / MAX_WRITING_SHARE - 1)

    def save(self, epoch: int, step: int, state: Mapping[str, Any], arrays: NamedArrays) -> None:
        """Write a checkpoint after `epoch` epochs of the stage and `step` steps of the next one. Raises UserError."""
        started = time.monotonic()
        progress = TrainingProgress(self.stage, epoch, step)
        state = {"elapsed": self.elapsed(), "done": self.finished, "before": self._hashes, **state}
        if self.found_rate is not None:
            state |= {FOUND_RATE: self.found_rate}
        self.directory.save(Checkpoint(progress, state, {**_numbered("weights", self.variables), **arrays}))
        self._written = time.monotonic()
        self._writing_seconds = self._written - started


class CheckpointCallback(keras.callbacks.Callback):
    """Restores a stage as its fit begins, and saves it after epochs, now and then inside one, and before a stop.

    It comes after the other callbacks. averaged: the average that validation may see, and no checkpoint. start: where
    the fit begins or resumes. ended: the stage is over, by its last epoch or by early stopping.
    """

    def __init__(
        self,
        stage: TrainingStage,
        seed: int,
        checkpointer: StageCheckpointer,
        pending: PendingSignal,
        epochs: EpochLogger,
        validation_callbacks: Sequence[Any],
        averaged: AveragedWeights | None = None,
    ) -> None:
        super().__init__()
        self._averaged = averaged
        self._stage, self._seed, self._checkpointer, self._pending = stage, seed, checkpointer, pending
        self._epochs, self._validation_callbacks = epochs, validation_callbacks
        self._checkpoint, self.start = checkpointer.resume_from, checkpointer.start
        self.ended = bool(self._checkpoint and self._checkpoint.state.get("ended"))
        self._epoch = self._step = 0

    def save_if_stopped(self) -> None:
        """Save, and then act on a stop that was asked for."""
        if self._pending.received:
            self._save()
            self._pending.deliver()

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Restore what the fit of a resumed stage had."""
        if self._checkpoint:
            resume_state.restore_fit(self.model, self._checkpoint, self._epochs, self._validation_callbacks)

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Give dropout the epoch's own random numbers, or restore an epoch that was stopped."""
        self._epoch, self._step = epoch, 0
        for i, counter in enumerate(resume_state.random_counters(self.model)):
            word = int(rng_for(self._seed, "dropout", self._stage.number, epoch, i).integers(2**32))
            data_parallel.assign_counter(self.model, counter, word, 0)
        if self._checkpoint and self.start.epoch == epoch and self.start.step:
            self._step = self.start.step
            resume_state.restore_epoch(self.model, self._checkpoint)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Save if a checkpoint is due or a stop was asked for, which is then acted on."""
        self._step += 1
        if self._pending.received or self._checkpointer.due_mid_epoch():
            self._save()
        self._pending.deliver()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Save the stage's end, or an epoch if a checkpoint is due."""
        self._epoch, self._step = epoch + 1, 0
        self.ended = self.model.stop_training or self._epoch == self._stage.epochs
        if self.ended or self._pending.received or self._checkpointer.due_at_epoch_end():
            self._save()
        self._pending.deliver()

    def _save(self) -> None:
        with self._averaged.hidden() if self._averaged else nullcontext():
            self._save_weights()

    def _save_weights(self) -> None:
        self._check_finite()
        model = self.model
        arrays = {
            **_numbered("optimizer", model.optimizer.variables),
            **_numbered("metrics", model.metrics_variables),
            **_numbered("seeds", resume_state.random_counters(model)),
        }
        callbacks = {}
        for callback in self._validation_callbacks:
            kind = type(callback).__name__
            callbacks[kind] = {name: getattr(callback, name) for name in resume_state.CALLBACK_STATE[kind]}
            best_weights = getattr(callback, "best_weights", None) or []
            arrays.update({f"best/{i}": array for i, array in enumerate(best_weights)})
        state = {"history": self._epochs.history, "seconds": self._epochs.seconds}
        state |= {"callbacks": callbacks, "ended": self.ended}
        self._checkpointer.save(self._epoch, self._step, state, arrays)

    def _check_finite(self) -> None:
        """A step may spoil the weights after its loss was known: the good checkpoint before it is not replaced."""
        if not all(np.isfinite(keras.ops.convert_to_numpy(v)).all() for v in self.model.trainable_variables):
            raise divergence_error("a weight", "no number", self._stage, self._epoch, self.model)


def _numbered(kind: str, variables: Sequence[Any]) -> NamedArrays:
    return {f"{kind}/{i}": keras.ops.convert_to_numpy(variable) for i, variable in enumerate(variables)}
