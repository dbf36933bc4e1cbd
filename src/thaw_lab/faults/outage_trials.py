"""What a training needs and does not get: the store, the network, finite numbers, a store of its own."""

import sqlite3
import time
from contextlib import closing
from dataclasses import replace

import numpy as np

from thaw_lab.faults import snapshots, triggers
from thaw_lab.faults.trial import Trial
from thaw_lab.faults.triggers import Trigger
from thaw_lab.faults.workspace import Workspace, error_problems

LOCKED_SECONDS, AWAY_SECONDS = 30.0, 10.0
CONCURRENT = 8  # processes
DOWNLOADS = {"weights": ("backbone=inceptionv3", "dataset=digits"), "data": ("dataset=cifar10",)}


def store_locked(workspace: Workspace, *, trigger: Trigger) -> Trial:
    """Lock the whole SQLite file for a while: no metric is lost."""
    trial_dir = workspace.new_trial_dir(f"locked {trigger.description}")
    process, wrong = trigger.start_training(trial_dir)
    file = trial_dir.outputs / "mlflow.db"
    with closing(sqlite3.connect(file, isolation_level=None, timeout=LOCKED_SECONDS)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        end = time.monotonic() + LOCKED_SECONDS
        while time.monotonic() < end and not workspace.processes.stopped:
            time.sleep(0.1)
        connection.execute("ROLLBACK")
    wrong += trial_dir.compare(trial_dir.wait_for_exit(process))
    fault = f"store locked for {LOCKED_SECONDS:.0f} s"
    return trial_dir.finish(fault, "FINISHED, nothing lost", wrong, moment=trigger.description)


def store_away(workspace: Workspace) -> Trial:
    """Rename the store's folder for a while: no metric is lost, and no new store is made in its place."""
    trial_dir = workspace.new_trial_dir("store-away", "tracking.uri=sqlite:///store/mlflow.db")
    process, wrong = triggers.during_stage(triggers.THAW, 1).start_training(trial_dir)
    store = trial_dir.folder / "store"
    renamed = store.rename(trial_dir.folder / "renamed")
    process.runs_for(AWAY_SECONDS)
    if store.exists():
        wrong.append("a new store was made in its place")
    else:
        renamed.rename(store)
        wrong += trial_dir.compare(trial_dir.wait_for_exit(process))
    return trial_dir.finish(f"store away for {AWAY_SECONDS:.0f} s", "FINISHED, nothing lost", wrong)


def concurrent_starts(workspace: Workspace) -> Trial:
    """Start eight trainings at once on a store and a cache that do not exist yet: all end as the baseline run."""
    trial_dir = workspace.new_trial_dir("together")
    processes = [trial_dir.start_training() for _ in range(CONCURRENT)]
    ends = [trial_dir.wait_for_exit(process) for process in processes]
    wrong = [f"exit code {ended.exit_code}: {ended.stderr.strip()}" for ended in ends if ended.exit_code]
    run_dirs = trial_dir.run_dirs()
    if len(run_dirs) != CONCURRENT:
        wrong.append(f"{len(run_dirs)} runs, not {CONCURRENT}")
    for run_dir in run_dirs if not wrong else []:
        snapshot = snapshots.read_snapshot(run_dir, trial_dir.outputs)
        differences = snapshots.differences(snapshot, workspace.baselines[0].snapshot)
        wrong += [f"{run_dir.name}: {line}" for line in differences]
    fault = f"{CONCURRENT} processes, one empty store"
    return replace(trial_dir.finish(fault, "all FINISHED with all metrics, identical", wrong), count=CONCURRENT)


def divergence(workspace: Workspace) -> Trial:
    """Train with a learning rate that makes the loss NaN: it stops, says why, and its checkpoints are finite."""
    trial_dir = workspace.new_trial_dir("diverged", "optimizer.learning_rate=1e30")
    ended = trial_dir.train()
    wrong = error_problems(ended)
    status, reason = trial_dir.status_and_reason()
    if status != "FAILED" or "Lower the learning rate" not in reason:
        wrong.append(f"the run is {status}, its reason {reason!r}")
    files = sorted(trial_dir.run_dir.glob("checkpoints/*.npz"))
    if not files:
        wrong.append("no checkpoint is left")
    for file in files:
        with np.load(file, allow_pickle=False) as arrays:
            floats = [arrays[name] for name in arrays.files if arrays[name].dtype.kind == "f"]
        if not all(np.isfinite(array).all() for array in floats):
            wrong.append(f"{file.name} is not finite")
    seen = "FAILED, says why, the last good checkpoint kept"
    return trial_dir.finish("the loss becomes NaN", seen, wrong, error=ended.stderr)


def offline_download(workspace: Workspace, *, what: str) -> Trial:
    """Train without a network on something that must be downloaded, one of DOWNLOADS: one clear error."""
    trial_dir = workspace.new_trial_dir(f"offline-{what}")
    ended = trial_dir.wait_for_exit(trial_dir.start_command("train.py", *DOWNLOADS[what]))
    return trial_dir.finish("no network", "one clear error", error_problems(ended), error=ended.stderr)
