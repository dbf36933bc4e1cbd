"""Remember every run: the only place that imports mlflow, and only when it is used."""

from thaw.tracking.cross_validation import Setting
from thaw.tracking.fingerprint import BEGUN, Fingerprint, collect, differences
from thaw.tracking.folder_owner import check_whole, run_of_folder
from thaw.tracking.mlflow_store import open_store, sqlite_path
from thaw.tracking.reopen import REASON
from thaw.tracking.run_lock import CWD, FOLDER
from thaw.tracking.run_lookup import OVERRIDES, PARENT, RunInfo, best_of, find_run, of_folder, with_weights_of_run
from thaw.tracking.sweep_runs import Child, best_objective, close_sweep, fold_settings, folds_json, open_sweep
from thaw.tracking.tracked_run import WEIGHTS, NotClosed, Run, start

__all__ = [
    "BEGUN",
    "CWD",
    "FOLDER",
    "OVERRIDES",
    "PARENT",
    "REASON",
    "WEIGHTS",
    "Child",
    "Fingerprint",
    "NotClosed",
    "Run",
    "RunInfo",
    "Setting",
    "best_objective",
    "best_of",
    "check_whole",
    "close_sweep",
    "collect",
    "differences",
    "find_run",
    "fold_settings",
    "folds_json",
    "of_folder",
    "open_store",
    "open_sweep",
    "run_of_folder",
    "sqlite_path",
    "start",
    "with_weights_of_run",
]
