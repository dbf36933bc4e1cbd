"""Remember every run: the only place that imports mlflow, and only when it is used."""

from thaw.tracking.cross_validation import FoldSummary
from thaw.tracking.fingerprint import CONFIG_LOGGED_TAG, Fingerprint, collect_fingerprint, fingerprint_differences
from thaw.tracking.folder_owner import check_single_run, owner_of_folder
from thaw.tracking.mlflow_store import open_store, sqlite_path
from thaw.tracking.reopen import REASON_TAG
from thaw.tracking.run_lock import CWD_TAG, FOLDER_TAG
from thaw.tracking.run_lookup import (
    OVERRIDES_TAG,
    PARENT_TAG,
    StoredRun,
    best_run,
    find_run,
    find_run_of_folder,
    resolve_run_weights,
)
from thaw.tracking.sweep_runs import SweepRun, best_objective, close_sweep, fold_summaries, folds_json, open_sweep
from thaw.tracking.tracked_run import WEIGHTS_TAG, RunNotClosed, TrackedRun, start_run

__all__ = [
    "CONFIG_LOGGED_TAG",
    "CWD_TAG",
    "FOLDER_TAG",
    "OVERRIDES_TAG",
    "PARENT_TAG",
    "REASON_TAG",
    "WEIGHTS_TAG",
    "Fingerprint",
    "FoldSummary",
    "RunNotClosed",
    "StoredRun",
    "SweepRun",
    "TrackedRun",
    "best_objective",
    "best_run",
    "check_single_run",
    "close_sweep",
    "collect_fingerprint",
    "find_run",
    "find_run_of_folder",
    "fingerprint_differences",
    "fold_summaries",
    "folds_json",
    "open_store",
    "open_sweep",
    "owner_of_folder",
    "resolve_run_weights",
    "sqlite_path",
    "start_run",
]
