"""Runs that a sweep takes over instead of repeating them."""

from pathlib import Path

from thaw.tracking.fingerprint import FINGERPRINT_PREFIX
from thaw.tracking.run_lookup import PARENT_TAG, REUSED_BY, StoredRun
from thaw.tracking.run_search import iterate_runs, open_existing_store

SETTING_TAG = "thaw.setting_sha256"  # of config and code
COMPLETE_TAG = "thaw.complete"  # whether network, pictures and predictions were kept
_DATA_TAG = f"{FINGERPRINT_PREFIX}data_sha256"


def finished_runs_of_setting(uri: str, outputs: Path, setting_sha256: str) -> list[StoredRun]:
    """Return the finished runs of the store, in any experiment, of this config and code, newest first."""
    found = iterate_runs(
        open_existing_store(uri, outputs),
        f"tags.`{SETTING_TAG}` = '{setting_sha256}' AND attributes.status = 'FINISHED'",
    )
    return [run for run in found if run.objective is not None and not run.is_evaluation]


def data_sha256(run: StoredRun) -> str | None:
    """Return the sha256 of the data that a run trained on; None when it logged none."""
    return run.tags.get(_DATA_TAG)


def is_complete(run: StoredRun) -> bool:
    """Whether a run kept its network."""
    return run.tags.get(COMPLETE_TAG) == "True"


def reused_tag(sweep_id: str) -> str:
    """Return the tag of runs that a sweep took over."""
    return f"{REUSED_BY}{sweep_id}"


def may_replace(run: StoredRun, sweep_id: str) -> bool:
    """Whether a run can stand for a job of a sweep: it kept its network, or a better one of the sweep has kept its own.

    A sweep's best run is what its id means to `predict` and `export`, so it must have a network.
    """
    if is_complete(run):
        return True
    ours = f"tags.`{PARENT_TAG}` = '{sweep_id}' AND tags.`{COMPLETE_TAG}` = 'True' AND attributes.status = 'FINISHED'"
    best = max((other.objective or 0.0 for other in iterate_runs(run._store, ours)), default=-1.0)
    return best > (run.objective or 0.0)
