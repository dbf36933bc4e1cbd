"""The store locked by somebody else, or away for a while: no metric is lost."""

import sqlite3
import time
from contextlib import closing
from functools import partial

from thaw_lab.faults.trial import Trial, Work
from thaw_lab.faults.triggers import THAW, Moment, in_evaluation, in_stage
from thaw_lab.faults.workspace import Yard

LOCKED, AWAY = 30.0, 10.0  # seconds


def locked(yard: Yard) -> list[Work]:
    """In the middle of training, and at the end."""
    return [partial(lock, yard, moment) for moment in (in_stage(THAW, 1), in_evaluation(0.2))]


def lock(yard: Yard, moment: Moment) -> Trial:
    """Hold the whole SQLite file."""
    place = yard.place(f"locked {moment.what}")
    process = place.train()
    wrong = [] if moment.wait(process, place) else ["it ended before"]
    with closing(sqlite3.connect(place.outputs / "mlflow.db", isolation_level=None, timeout=LOCKED)) as other:
        other.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        while time.monotonic() - began < LOCKED and not yard.processes.over:
            time.sleep(0.1)
        other.execute("ROLLBACK")
    wrong += place.compare(place.end(process))
    return place.judged(f"store locked for {LOCKED:.0f} s", "FINISHED, nothing lost", wrong, moment=moment.what)


def absent(yard: Yard) -> list[Work]:
    """Once, in training."""
    return [partial(away, yard)]


def away(yard: Yard) -> Trial:
    """Rename the store's folder, and rename it back."""
    place = yard.place("store-away", "tracking.uri=sqlite:///store/mlflow.db")
    process = place.train()
    wrong = [] if in_stage(THAW, 1).wait(process, place) else ["it ended before"]
    store, aside = place.folder / "store", place.folder / "aside"
    store.rename(aside)
    process.wait(AWAY)
    if store.exists():
        wrong.append("a new store was made in its place")
    else:
        aside.rename(store)
        wrong += place.compare(place.end(process))
    return place.judged(f"store away for {AWAY:.0f} s", "FINISHED, nothing lost", wrong)
