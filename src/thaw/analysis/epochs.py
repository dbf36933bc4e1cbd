"""Which epoch of each stage was the best on validation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import isfinite
from typing import Any


@dataclass(frozen=True)
class LowestLoss:
    """The epoch, from 1 over the whole run, of a stage's lowest validation loss. val_accuracy: None if unknown."""

    stage: str
    epoch: int
    val_loss: float
    val_accuracy: float | None


def best_epochs(history: Sequence[Mapping[str, Any]]) -> list[LowestLoss]:
    """Return the epoch of the lowest val_loss of each stage; of equal ones the first, as early stopping keeps it.

    history: one dict an epoch, as `FitResult`. Entries without a finite `val_loss` are skipped, and so is a stage
    without any other.
    """
    best = []
    for stage, entries in groupby(history, key=lambda entry: str(entry["stage"])):
        known = [entry for entry in entries if _is_finite(entry.get("val_loss"))]
        if known:
            entry = min(known, key=lambda entry: float(entry["val_loss"]))
            accuracy = float(entry["val_accuracy"]) if _is_finite(entry.get("val_accuracy")) else None
            best.append(LowestLoss(stage, int(entry["epoch"]), float(entry["val_loss"]), accuracy))
    return best


def _is_finite(value: Any) -> bool:
    return value is not None and isfinite(value)
