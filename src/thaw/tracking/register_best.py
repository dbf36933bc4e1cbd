"""Registers the best network of a sweep, once the sweep knows which one that is."""

import json
from collections.abc import Sequence

from thaw.common.errors import UserError
from thaw.tracking import model_registry
from thaw.tracking.run_lookup import StoredRun

CANDIDATE_FILE = "candidate.json"  # artifact of a sweep's run whose network may be registered


def register_best(children: Sequence[StoredRun], name: str) -> str:
    """Register the network of a sweep's best run, and return what was done.

    Args:
        children: runs of the sweep, the best by validation first.
        name: `tracking.register`.

    Raises:
        UserError: no run has finished, the best kept no network, or the store refuses.
    """
    best = next((child for child in children if child.status == "FINISHED" and child.objective is not None), None)
    if best is None:
        raise UserError("no run of the sweep has finished")
    try:
        text = best.artifact_path(CANDIDATE_FILE).read_text(encoding="utf-8")
    except Exception as error:
        raise UserError(
            f"the best run, {best.id}, left no {CANDIDATE_FILE}: it was taken over from a sweep without "
            "tracking.register. Train it alone with tracking.register, or set sweep.reuse=false"
        ) from error
    candidate = model_registry.Candidate(**json.loads(text))
    return model_registry.register(best._store, best.experiment_id, best.id, name, candidate)
