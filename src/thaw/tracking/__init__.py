"""Remember every run: the only place that imports mlflow, and only when it is used."""

from thaw.tracking.alive import CWD, FOLDER
from thaw.tracking.fingerprint import BEGUN, Fingerprint, collect, differences
from thaw.tracking.folds import Setting
from thaw.tracking.lookup import OVERRIDES, PARENT, RunInfo, best_of, find_run, of_folder, with_weights_of_run
from thaw.tracking.occupied import check_whole, run_of_folder
from thaw.tracking.resumed import REASON
from thaw.tracking.runs import WEIGHTS, NotClosed, Run, start
from thaw.tracking.store import open_store, sqlite_path
from thaw.tracking.sweeps import Child, best_objective, close_sweep, fold_settings, folds_json, open_sweep

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
