"""The runs of a store as rows of a table: a sweep is one row, with its best run, unless it is expanded."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from thaw.config.run_names import dataset_name
from thaw.config.schema import DatasetConfig
from thaw.tracking import run_search
from thaw.tracking.cross_validation import objective_rank
from thaw.tracking.evaluation_runs import KIND_TAG
from thaw.tracking.mlflow_store import MlflowStore
from thaw.tracking.run_lock import FOLDER_TAG
from thaw.tracking.run_lookup import BEST_RUN_TAG, PARENT_TAG, StoredRun

_REPRODUCES_TAG = "thaw.reproduces"


@dataclass(frozen=True)
class RunRow:
    """A run, or a sweep with the figures of its best run; the fields are the columns of CSV and JSON.

    Nothing is known where a value is None. started: milliseconds since the epoch. test_accuracy: of an evaluation that
    on its data set. kind: run, sweep, reproduction, evaluation. runs, best_run: of a sweep, how many it has and the id
    of the best. A sweep over folds has their mean accuracies.
    """

    id: str
    name: str
    status: str
    started: int | None
    minutes: float | None
    val_accuracy: float | None
    test_accuracy: float | None
    backbone: str | None
    dataset: str | None
    recipe: str | None
    folder: str | None
    kind: str
    runs: int | None = None
    best_run: str | None = None


def run_rows(store: MlflowStore, runs: Iterable[StoredRun], *, collapsed: bool, newest: int | None) -> list[RunRow]:
    """Return the rows of runs that come newest first, newest first.

    Args:
        store: Where the runs are.
        runs: Those that were searched for; of a sweep whose parent run alone is among them, all runs count.
        collapsed: A sweep is one row; else its runs are rows too.
        newest: No more runs are read once so many rows, and one more, are known; None: all are.
    """
    rows: list[StoredRun] = []
    children: dict[str, list[StoredRun]] = {}
    for run in runs:
        parent = run.tags.get(PARENT_TAG)
        if parent is None:
            rows.append(run)
        else:
            children.setdefault(parent, []).append(run)
            if not collapsed:
                rows.append(run)
        if newest is not None and len(rows) > newest:
            break
    if collapsed:
        rows += _missing_parents(store, rows, children)
    shown = [_sweep_row(store, run, children.get(run.id, [])) if run.is_sweep else _row(run, run) for run in rows]
    return sorted(shown, key=lambda row: -(row.started or 0))


def _missing_parents(
    store: MlflowStore, rows: list[StoredRun], children: dict[str, list[StoredRun]]
) -> list[StoredRun]:
    """Return the sweeps of which only runs were found, and the runs whose parent is gone or no sweep."""
    missing, known = list[StoredRun](), {run.id: run for run in rows}
    for parent_id, found in children.items():
        parent = known.get(parent_id) or run_search.get_run(store, parent_id)
        if parent is None or parent.deleted or not parent.is_sweep:
            missing += found
        elif parent_id not in known:
            missing.append(parent)
    return missing


def _sweep_row(store: MlflowStore, sweep: StoredRun, found: list[StoredRun]) -> RunRow:
    children = found or run_search.children_of(store, sweep)
    finished = [child for child in children if child.status == "FINISHED"]
    best_id = sweep.tags.get(BEST_RUN_TAG)
    finished.sort(key=lambda c: (c.id != best_id, not c.repeats_draft, objective_rank(c.objective, maximize=True)))
    best = next((child for child in finished if _number(child, "objective") is not None), None)
    shown = best or (children[0] if children else sweep)
    return _row(sweep, shown, runs=len(children), best_run=best.id if best else None)


def _row(run: StoredRun, shown: StoredRun, *, runs: int | None = None, best_run: str | None = None) -> RunRow:
    """Return the row of a run, with figures and settings of `shown`, which is the best run of a sweep."""
    params = shown.params
    minutes = (run.ended - run.started) / 60_000 if run.ended and run.started else None
    data = params.get("dataset.name")
    path = params.get("dataset.path")
    val = [_number(run, "val/accuracy_mean"), _number(shown, "val/accuracy"), _number(shown, "objective")]
    test = [_number(run, "test/accuracy_mean"), _number(shown, "test/accuracy"), _number(shown, "eval/accuracy")]
    return RunRow(
        id=run.id,
        name=run.name,
        status=run.status,
        started=run.started,
        minutes=minutes,
        val_accuracy=next((value for value in val if value is not None), None),
        test_accuracy=next((value for value in test if value is not None), None),
        backbone=params.get("backbone.name"),
        dataset=dataset_name(DatasetConfig(data, path if path != "None" else None)) if data else None,
        recipe=params.get("recipe") or shown.tags.get("thaw.recipe"),
        folder=run.tags.get(FOLDER_TAG),
        kind=_kind(run),
        runs=runs,
        best_run=best_run,
    )


def _number(run: StoredRun, name: str) -> float | None:
    value = run.metrics.get(name)
    return value if value is not None and math.isfinite(value) else None


def _kind(run: StoredRun) -> str:
    if run.is_sweep:
        return "sweep"
    return run.tags.get(KIND_TAG) or ("reproduction" if _REPRODUCES_TAG in run.tags else "run")
