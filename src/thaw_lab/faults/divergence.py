"""A learning rate that no training survives."""

from functools import partial

import numpy as np

from thaw_lab.faults.trial import Trial, Work
from thaw_lab.faults.workspace import Yard, unclear

FAULT = "the loss becomes NaN"


def trials(yard: Yard) -> list[Work]:
    """In the second stage, after a sound first one."""
    return [partial(trial, yard)]


def trial(yard: Yard) -> Trial:
    """It stops and says why; what was kept before it went wrong is finite."""
    place = yard.place("diverged", "optimizer.learning_rate=1e30")
    ended = place.end(place.train())
    wrong = unclear(ended)
    status, reason = place.status, place.reason
    if status != "FAILED" or "Lower the learning rate" not in reason:
        wrong.append(f"the run is {status}, its reason {reason!r}")
    files = sorted(place.run.glob("checkpoints/*.npz"))
    if not files:
        wrong.append("no checkpoint is left")
    for file in files:
        with np.load(file, allow_pickle=False) as arrays:
            floats = [arrays[name] for name in arrays.files if arrays[name].dtype.kind == "f"]
        if not all(np.isfinite(array).all() for array in floats):
            wrong.append(f"{file.name} is not finite")
    return place.judged(FAULT, "FAILED, says why, the last good checkpoint kept", wrong, error=ended.err)
