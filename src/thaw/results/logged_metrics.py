"""Which of a run's figures the store gets when it has trained, and what they mean."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from thaw.analysis import epochs
from thaw.config.schema import Config

# MLflow's page draws a section of charts for each class. With more classes than this they bury all others; result.json
# and report/per_class.csv have the figures of every class.
MAX_LOGGED_CLASSES = 20
_OF_A_CLASS = "/class/"


def logged_metrics(
    metrics: Mapping[str, float], history: Sequence[Mapping[str, Any]], classes: int
) -> dict[str, float]:
    """Return the metrics of the whole run, by name: the final figures, and the best epoch's as `best/...`.

    Figures that are not finite, which a store does not keep as they are, are left out.

    Args:
        metrics: Of all splits, such as `test/accuracy`.
        history: One dict an epoch, as `FitResult`.
        classes: How many there are; the figures of each are left out if they are more than MAX_LOGGED_CLASSES.
    """
    return {
        name: value
        for name, value in (*metrics.items(), *best_epoch_metrics(history).items())
        if math.isfinite(value) and (classes <= MAX_LOGGED_CLASSES or _OF_A_CLASS not in name)
    }


def best_epoch_metrics(history: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return `best/epoch`, `best/val_loss` and `best/val_accuracy` of the epoch of the lowest validation loss.

    Where the loss of an epoch is the objective, with label smoothing, it is `best/val_objective`: charts of runs side
    by side must not mix the two. Epochs count from 1 over all stages. The network has the weights of this epoch only if
    early stopping restored them.
    """
    best = min(epochs.best_epochs(history), key=lambda epoch: epoch.val_loss, default=None)
    if best is None:
        return {}
    accuracy = {} if best.val_accuracy is None else {"best/val_accuracy": best.val_accuracy}
    name = "best/val_objective" if any("val_cross_entropy" in entry for entry in history) else "best/val_loss"
    return {"best/epoch": best.epoch, name: best.val_loss, **accuracy}


def val_loss_meaning(config: Config) -> str:
    """Return one sentence on what `epoch/val_loss` is, and whether it is what `val/loss` is."""
    plain = "mean cross-entropy of the validation images, without label smoothing and class weights"
    smoothing = config.head.label_smoothing
    if config.train.val_loss == "objective" and smoothing:
        return (
            f"The validation loss of an epoch is the loss that training minimizes, with label smoothing {smoothing:g} "
            f"(train.val_loss=objective). epoch/val_cross_entropy and val/loss are the {plain}."
        )
    return f"The validation loss of an epoch, epoch/val_loss, is what val/loss is: the {plain}."
