"""Restores a stopped run from its newest checkpoint: finished stages, weights, and the state of the stage's fit.

A checkpoint's keys: `done` (results of finished stages), `before` (hashes of all weights when the stage began),
`elapsed` (seconds of the run), and of a stage that has trained `history`, `seconds`, `callbacks` and `ended`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from thaw.models.network import Network, head_layers
from thaw.training import data_parallel
from thaw.training.callbacks import EpochLogger
from thaw.training.checkpoint import Checkpoint
from thaw.training.stage_plans import PlannedStage
from thaw.training.stage_result import StageResult

# What Keras's callbacks hold outside variables: https://github.com/keras-team/keras, callbacks/early_stopping.py and
# callbacks/reduce_lr_on_plateau.py. The best weights are arrays, and are saved as such.
CALLBACK_STATE = {
    "EarlyStopping": ("wait", "stopped_epoch", "best", "best_epoch"),
    "ReduceLROnPlateau": ("wait", "cooldown_counter", "best"),
}


def finished_stages(checkpoint: Checkpoint, planned: Sequence[PlannedStage]) -> list[StageResult]:
    """Return the results of the stages that were finished when the checkpoint was written."""
    results: list[StageResult] = []
    for stage, state in zip(planned, checkpoint.state["done"], strict=False):
        results.append(StageResult.from_state(stage.after(results), state))
    return results


def checkpointed_variables(network: Network, planned: Sequence[PlannedStage]) -> list[Any]:
    """Return the variables that any of these stages may change: all from the lowest boundary on, and the head's."""
    lowest = min(stage.plan.boundary for stage in planned)
    layers = [*network.backbone.layers[lowest:], *head_layers(network)]
    return [variable for layer in layers for variable in layer.weights]


def random_counters(model: Any) -> list[Any]:
    """Return the counters of the layers that draw random numbers: dropout's."""
    return [variable for variable in model.variables if variable.name == "seed_generator_state"]


def restore_weights(variables: list[Any], checkpoint: Checkpoint) -> None:
    """Assign the weights that the checkpoint holds to `checkpointed_variables`."""
    _assign(variables, checkpoint, "weights")


def restore_fit(model: Any, checkpoint: Checkpoint, epochs: EpochLogger, validation_callbacks: Sequence[Any]) -> None:
    """Restore a compiled model's optimizer and metrics, Keras's callbacks, and the history of its epochs.

    A checkpoint that was written as its stage began holds none of them.
    """
    if checkpoint.state.get("history") is None:
        return
    # Keras makes these variables in the first step, which would be too late for their values.
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    zeros = np.zeros((1, model.output_shape[-1]), np.float32)
    model.compute_metrics(x=None, y=zeros, y_pred=zeros)
    _assign(model.optimizer.variables, checkpoint, "optimizer")
    for callback in validation_callbacks:
        kind = type(callback).__name__
        for name, value in checkpoint.state["callbacks"][kind].items():
            setattr(callback, name, value)
        best_weights = _arrays(checkpoint, "best")
        if best_weights and kind == "EarlyStopping":
            callback.best_weights = best_weights
    epochs.history[:] = checkpoint.state["history"]
    epochs.seconds_before_resume = checkpoint.state["seconds"]


def restore_epoch(model: Any, checkpoint: Checkpoint) -> None:
    """Restore the sums of an epoch that was stopped between two steps; Keras has just set them to zero."""
    _assign(model.metrics_variables, checkpoint, "metrics")
    for counter, state in zip(random_counters(model), _arrays(checkpoint, "seeds"), strict=True):
        data_parallel.assign_counter(model, counter, *map(int, state))


def _arrays(checkpoint: Checkpoint, kind: str) -> list[Any]:
    count = sum(name.startswith(f"{kind}/") for name in checkpoint.arrays)
    return [checkpoint.arrays[f"{kind}/{i}"] for i in range(count)]


def _assign(variables: Sequence[Any], checkpoint: Checkpoint, kind: str) -> None:
    for variable, array in zip(variables, _arrays(checkpoint, kind), strict=True):
        variable.assign(array)
