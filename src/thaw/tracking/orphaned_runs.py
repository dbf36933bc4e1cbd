"""Runs that ended without a word are closed by the next one that starts."""

from pathlib import Path
from typing import Any

from thaw.common.console import say
from thaw.config import command_lines
from thaw.tracking import run_lock, spool
from thaw.tracking.mlflow_store import MlflowStore
from thaw.tracking.reopen import REASON_TAG
from thaw.tracking.retry import StoreRefused

SWEEP_TAG = "thaw.sweep"
_WITHOUT_A_WORD = "ended without a word: out of memory, or kill -9?"


def close_orphaned_runs(store: MlflowStore, experiment: str) -> None:
    """Close what is RUNNING in the store and dead on this machine as KILLED, with the reason; a line tells of each.

    A run is dead when its folder is here and its lock is free. Runs on other machines, of other users and without a
    folder are left alone.
    """
    running = store.client.search_runs([store.experiment_id(experiment)], "attributes.status = 'RUNNING'")
    for run in running:
        folder = run_lock.local_folder(run.data.tags)
        lock = run_lock.acquire_if_dead(folder) if folder else None
        if lock is None:
            continue
        try:
            close_orphaned_run(store, run)
        except StoreRefused as refused:  # one run that was deleted, say, keeps no other from starting
            say(f"run {run.info.run_id} ({run.info.run_name}) ended, and cannot be closed: {refused}")
        finally:
            lock.release()


def close_orphaned_run(store: MlflowStore, run: Any) -> None:
    """Close a dead run as it said itself when its store was away, or else as KILLED, with how to go on with it."""
    run_id = run.info.run_id
    folder = run_lock.local_folder(run.data.tags)
    refused = spool.replay_unsent(store, folder) if folder is not None else None
    if refused is not None:
        say(f"run {run_id} ({run.info.run_name}): not all of {folder}/{spool.UNSENT_FILE} can be sent: {refused}")
    # It may have ended well since it was found.
    if store.client.get_run(run_id).info.status != "RUNNING":
        return
    where = folder or Path(run.data.tags.get(run_lock.FOLDER_TAG, "."))
    go_on = command_lines.run_command("train", "resume", run_id, where, store.uri)
    hint = "" if SWEEP_TAG in run.data.tags else f" go on: {go_on}"
    store.client.set_tag(run_id, REASON_TAG, _WITHOUT_A_WORD + hint)
    store.client.set_terminated(run_id, "KILLED")
    say(f"run {run_id} ({run.info.run_name}) {_WITHOUT_A_WORD} It is closed as KILLED.{hint}")
