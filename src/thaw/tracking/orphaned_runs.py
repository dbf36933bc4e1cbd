"""Orphaned runs, which were killed before they could set their status: the next run that starts closes them."""

from pathlib import Path
from typing import Any

from thaw.common.console import say
from thaw.config import command_lines
from thaw.tracking import evaluation_runs, run_lock, unsent_file
from thaw.tracking.mlflow_store import MlflowStore
from thaw.tracking.reopen import REASON_TAG
from thaw.tracking.retry import StoreRefused

SWEEP_TAG = "thaw.sweep"
_ORPHANED = "ended without a word: out of memory, or kill -9?"


def close_orphaned_runs(store: MlflowStore, experiment: str) -> None:
    """Close as KILLED all runs that are RUNNING in the store and dead on this machine, and print a line for each.

    A run is dead when its folder is on this machine and the folder's lock is free. Runs of other machines and other
    users, and runs without a folder, stay as they are.
    """
    running = store.client.search_runs([store.experiment_id(experiment)], "attributes.status = 'RUNNING'")
    for run in running:
        folder = run_lock.local_folder(run.data.tags)
        lock = run_lock.lock_if_dead(folder) if folder else None
        if lock is None:
            continue
        try:
            close_orphaned_run(store, run)
        except StoreRefused as refused:  # a run that was deleted, say, must not keep another from starting
            say(f"run {run.info.run_id} ({run.info.run_name}) ended, and cannot be closed: {refused}")
        finally:
            lock.release()


def is_dead_here(run: Any) -> bool:
    """Whether a run that is RUNNING in the store was of this machine, and no process of it lives."""
    folder = run_lock.local_folder(run.data.tags)
    lock = run_lock.lock_if_dead(folder) if folder else None
    if lock is not None:
        lock.release()
    return lock is not None


def close_orphaned_run(store: MlflowStore, run: Any) -> None:
    """Send what a dead run left in `unsent.json`, its end among it; without an end, close it as KILLED.

    `thaw.reason` gets the command that resumes the run, but of sweeps and evaluations, which are started anew.
    """
    run_id = run.info.run_id
    folder = run_lock.local_folder(run.data.tags)
    refused = unsent_file.replay_unsent(store, folder) if folder is not None else None
    if refused is not None:
        say(f"run {run_id} ({run.info.run_name}): not all of {folder}/{unsent_file.UNSENT_FILE} can be sent: {refused}")
    # Its end was among what was sent, or it ended well after the search.
    if store.client.get_run(run_id).info.status != "RUNNING":
        return
    run_folder = folder or Path(run.data.tags.get(run_lock.FOLDER_TAG, "."))
    resume = command_lines.run_id_command("train", "resume", run_id, run_folder, store.uri)
    started_anew = SWEEP_TAG in run.data.tags or evaluation_runs.is_evaluation(run.data.tags)
    hint = "" if started_anew else f" resume: {resume}"
    store.client.set_tag(run_id, REASON_TAG, _ORPHANED + hint)
    store.client.set_terminated(run_id, "KILLED")
    say(f"run {run_id} ({run.info.run_name}) {_ORPHANED} It is closed as KILLED.{hint}")
