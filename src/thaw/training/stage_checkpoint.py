"""When a stage's state is saved, and what of it: weights that training may have changed, and what its fit adds."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import keras

from thaw.config.schema import CheckpointConfig
from thaw.models.freeze import FreezePlan
from thaw.models.network import HEAD_LAYERS, Network
from thaw.training.checkpoint import Checkpoint, CheckpointDir, NamedArrays, TrainingProgress

# Short epochs share a checkpoint: of training's time, writing takes no more than this.
MAX_WRITING_SHARE = 0.05

WEIGHTS = "weights"

WeightHashes = dict[str, dict[str, str]]  # sha256 by layer and variable


class StageCheckpointer:
    """Saves one stage.

    stage: its number. weights: what it and the stages before it may have changed. done: those stages' results. found:
    where the run goes on, in this stage; None when the stage begins. elapsed: seconds that the run has taken so far.
    """

    def __init__(
        self,
        folder: CheckpointDir,
        options: CheckpointConfig,
        stage: int,
        weights: list[Any],
        done: list[dict[str, Any]],
        found: Checkpoint | None,
        elapsed: Callable[[], float],
    ) -> None:
        self.resume_from = found
        self._elapsed = elapsed
        self._folder, self._seconds, self._stage = folder, 60 * options.minutes, stage
        self._weights = weights
        self._fixed: dict[str, Any] = {"done": done}
        self._written, self._took = time.monotonic(), 0.0

    def begin(self, hashes: Callable[[], WeightHashes]) -> WeightHashes:
        """Return the hashes of all weights as the stage began, though the run may have been stopped since.

        A stage after the first is saved here: the one before it need not be trained again.
        """
        before: WeightHashes = self.resume_from.state["before"] if self.resume_from else hashes()
        self._fixed["before"] = before
        if self.resume_from is None and self._stage > 0:
            self.save(0, 0, {}, {})
        return before

    def due_mid_epoch(self) -> bool:
        """Whether `checkpoint.minutes` have passed."""
        return time.monotonic() - self._written >= self._seconds

    def due_at_epoch_end(self) -> bool:
        """Whether enough was trained since the last one to be worth its writing."""
        return time.monotonic() - self._written >= self._took * (1 / MAX_WRITING_SHARE - 1)

    def save(self, epoch: int, step: int, state: Mapping[str, Any], arrays: NamedArrays) -> None:
        """Write what was done: `epoch` epochs of the stage and `step` steps of the next. Raises UserError."""
        started = time.monotonic()
        own = {f"{WEIGHTS}/{i}": keras.ops.convert_to_numpy(variable) for i, variable in enumerate(self._weights)}
        place = TrainingProgress(self._stage, epoch, step)
        self._folder.save(Checkpoint(place, {"elapsed": self._elapsed(), **self._fixed, **state}, {**own, **arrays}))
        self._written = time.monotonic()
        self._took = self._written - started


def checkpointed_variables(network: Network, plans: list[FreezePlan]) -> list[Any]:
    """The variables of all layers that any of the plans thaws, and the head's; the others are as they were loaded."""
    first = min(plan.boundary for plan in plans)
    head = [layer for layer in network.model.layers if layer.name in HEAD_LAYERS]
    return [variable for layer in (*network.backbone.layers[first:], *head) for variable in layer.weights]


def restore_weights(weights: list[Any], found: Checkpoint) -> None:
    """Give the variables the values that they had."""
    for i, variable in enumerate(weights):
        variable.assign(found.arrays[f"{WEIGHTS}/{i}"])
