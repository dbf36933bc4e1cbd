"""Remember every run: the only place that imports mlflow, and only when it is used."""

from thaw.tracking.fingerprint import Fingerprint, collect
from thaw.tracking.runs import OVERRIDES, Run, RunInfo, find_run, start
from thaw.tracking.store import open_store
from thaw.tracking.sweeps import Child, best_objective, close_sweep, open_sweep

__all__ = [
    "OVERRIDES",
    "Child",
    "Fingerprint",
    "Run",
    "RunInfo",
    "best_objective",
    "close_sweep",
    "collect",
    "find_run",
    "open_store",
    "open_sweep",
    "start",
]
