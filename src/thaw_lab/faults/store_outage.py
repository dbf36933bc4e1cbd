"""The store locked by somebody else, or away for a while: no metric is lost."""

import sqlite3
import time
from contextlib import closing
from functools import partial

from thaw_lab.faults.trial import Trial, TrialFunction
from thaw_lab.faults.triggers import THAW, Trigger, during_evaluation, during_stage
from thaw_lab.faults.workspace import Workspace

LOCKED, AWAY = 30.0, 10.0  # seconds


def locked_trials(yard: Workspace) -> list[TrialFunction]:
    """In the middle of training, and at the end."""
    return [partial(store_locked, yard, moment) for moment in (during_stage(THAW, 1), during_evaluation(0.2))]


def store_locked(yard: Workspace, moment: Trigger) -> Trial:
    """Hold the whole SQLite file."""
    place = yard.new_trial_dir(f"locked {moment.description}")
    process = place.start_training()
    wrong = [] if moment.wait(process, place) else ["it ended before"]
    with closing(sqlite3.connect(place.outputs / "mlflow.db", isolation_level=None, timeout=LOCKED)) as other:
        other.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        while time.monotonic() - began < LOCKED and not yard.processes.stopped:
            time.sleep(0.1)
        other.execute("ROLLBACK")
    wrong += place.compare(place.wait_for_exit(process))
    return place.finish(f"store locked for {LOCKED:.0f} s", "FINISHED, nothing lost", wrong, moment=moment.description)


def away_trials(yard: Workspace) -> list[TrialFunction]:
    """Once, in training."""
    return [partial(store_away, yard)]


def store_away(yard: Workspace) -> Trial:
    """Rename the store's folder, and rename it back."""
    place = yard.new_trial_dir("store-away", "tracking.uri=sqlite:///store/mlflow.db")
    process = place.start_training()
    wrong = [] if during_stage(THAW, 1).wait(process, place) else ["it ended before"]
    store, aside = place.folder / "store", place.folder / "aside"
    store.rename(aside)
    process.runs_for(AWAY)
    if store.exists():
        wrong.append("a new store was made in its place")
    else:
        aside.rename(store)
        wrong += place.compare(place.wait_for_exit(process))
    return place.finish(f"store away for {AWAY:.0f} s", "FINISHED, nothing lost", wrong)
