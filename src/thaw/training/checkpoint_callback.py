"""Saves a stage while it trains, and puts back what was saved."""

from typing import Any

import keras
import numpy as np

from thaw.common.signals import PendingSignal
from thaw.data.seeds import rng_for
from thaw.training.callbacks import EpochLogger, divergence_error
from thaw.training.checkpoint import Checkpoint, NamedArrays
from thaw.training.recipes import TrainingStage
from thaw.training.stage_checkpoint import StageCheckpointer

# What Keras's callbacks know, and no variable: https://github.com/keras-team/keras, callbacks/early_stopping.py and
# callbacks/reduce_lr_on_plateau.py. The best weights are arrays, and are saved as such.
CALLBACK_STATE = {
    "EarlyStopping": ("wait", "stopped_epoch", "best", "best_epoch"),
    "ReduceLROnPlateau": ("wait", "cooldown_counter", "best"),
}


class CheckpointCallback(keras.callbacks.Callback):
    """Saves the stage at the end of its epochs and now and then inside one, and puts back what was saved.

    It comes after the other callbacks. `ended`: the stage is, by its last epoch or by early stopping.
    """

    def __init__(
        self,
        stage: TrainingStage,
        seed: int,
        saver: StageCheckpointer,
        stops: PendingSignal,
        epochs: EpochLogger,
        ending: list[Any],
    ) -> None:
        super().__init__()
        self.stage, self.seed, self.saver, self.stops = stage, seed, saver, stops
        self.epochs, self.validation_callbacks = epochs, ending
        self.ended = bool(saver.resume_from and saver.resume_from.state.get("ended"))
        self.epoch = self.step = 0

    def save_if_stopped(self) -> None:
        """Save and stop if that was asked for."""
        if self.stops.received:
            self._save()
            self.stops.deliver()

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        found = self.saver.resume_from
        if found and found.state.get("history") is not None:
            self._put_back(found)

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.epoch, self.step = epoch, 0
        for i, variable in enumerate(self._seeds()):
            word = int(rng_for(self.seed, "dropout", self.stage.number, epoch, i).integers(2**32))
            variable.assign([word, 0])
        found = self.saver.resume_from
        if found and found.progress.epoch == epoch and found.progress.step:  # Keras has just set the sums to zero
            self.step = found.progress.step
            _assign(self.model.metrics_variables, found, "metrics")
            _assign(self._seeds(), found, "seeds")

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self.step += 1
        if self.stops.received or self.saver.due_mid_epoch():
            self._save()
        self.stops.deliver()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.epoch, self.step = epoch + 1, 0
        self.ended = self.model.stop_training or self.epoch == self.stage.epochs
        if self.ended or self.stops.received or self.saver.due_at_epoch_end():
            self._save()
        self.stops.deliver()

    def _seeds(self) -> list[Any]:
        """Counters of the layers that draw random numbers: dropout's."""
        return [variable for variable in self.model.variables if variable.name == "seed_generator_state"]

    def _save(self) -> None:
        self._must_be_finite()
        arrays: NamedArrays = {}
        for name, variables in (
            ("optimizer", self.model.optimizer.variables),
            ("metrics", self.model.metrics_variables),
            ("seeds", self._seeds()),
        ):
            arrays.update({f"{name}/{i}": keras.ops.convert_to_numpy(variable) for i, variable in enumerate(variables)})
        known = {}
        for callback in self.validation_callbacks:
            kind = type(callback).__name__
            known[kind] = {name: getattr(callback, name) for name in CALLBACK_STATE[kind]}
            best = getattr(callback, "best_weights", None) or []
            arrays.update({f"best/{i}": array for i, array in enumerate(best)})
        state = {
            "history": self.epochs.history,
            "seconds": self.epochs.seconds,
            "callbacks": known,
            "ended": self.ended,
        }
        self.saver.save(self.epoch, self.step, state, arrays)

    def _must_be_finite(self) -> None:
        """A step may spoil the weights after its loss was known: the good checkpoint before it is not replaced."""
        if not all(np.isfinite(keras.ops.convert_to_numpy(v)).all() for v in self.model.trainable_variables):
            raise divergence_error("a weight", "no number", self.stage, self.epoch, self.model)

    def _put_back(self, found: Checkpoint) -> None:
        # Keras makes these variables in the first step, which would be too late for their values.
        self.model.optimizer.build(self.model.trainable_variables)
        nothing = np.zeros((1, self.model.output_shape[-1]), np.float32)
        self.model.compute_metrics(x=None, y=nothing, y_pred=nothing)
        _assign(self.model.optimizer.variables, found, "optimizer")
        for callback in self.validation_callbacks:
            kind = type(callback).__name__
            for name, value in found.state["callbacks"][kind].items():
                setattr(callback, name, value)
            best = [found.arrays[name] for name in _names(found, "best")]
            if best and kind == "EarlyStopping":
                callback.best_weights = best
        self.epochs.history[:] = found.state["history"]
        self.epochs.seconds_before_resume = found.state["seconds"]


def _names(found: Checkpoint, kind: str) -> list[str]:
    return [f"{kind}/{i}" for i in range(sum(name.startswith(f"{kind}/") for name in found.arrays))]


def _assign(variables: list[Any], found: Checkpoint, kind: str) -> None:
    for variable, name in zip(variables, _names(found, kind), strict=True):
        variable.assign(found.arrays[name])
