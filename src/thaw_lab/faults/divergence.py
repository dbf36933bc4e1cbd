"""A learning rate that no training survives."""

from functools import partial

import numpy as np

from thaw_lab.faults.trial import Trial, TrialFunction
from thaw_lab.faults.workspace import Workspace, error_problems

FAULT = "the loss becomes NaN"


def divergence_trials(yard: Workspace) -> list[TrialFunction]:
    """In the second stage, after a sound first one."""
    return [partial(divergence, yard)]


def divergence(yard: Workspace) -> Trial:
    """It stops and says why; what was kept before it went wrong is finite."""
    place = yard.new_trial_dir("diverged", "optimizer.learning_rate=1e30")
    ended = place.wait_for_exit(place.start_training())
    wrong = error_problems(ended)
    status, reason = place.status, place.reason
    if status != "FAILED" or "Lower the learning rate" not in reason:
        wrong.append(f"the run is {status}, its reason {reason!r}")
    files = sorted(place.run_dir.glob("checkpoints/*.npz"))
    if not files:
        wrong.append("no checkpoint is left")
    for file in files:
        with np.load(file, allow_pickle=False) as arrays:
            floats = [arrays[name] for name in arrays.files if arrays[name].dtype.kind == "f"]
        if not all(np.isfinite(array).all() for array in floats):
            wrong.append(f"{file.name} is not finite")
    return place.finish(FAULT, "FAILED, says why, the last good checkpoint kept", wrong, error=ended.stderr)
