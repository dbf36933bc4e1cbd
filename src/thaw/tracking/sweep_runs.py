"""A sweep: one parent run, and a child for every job."""

import csv
import io
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from filelock import FileLock

from thaw.config.schema import TrackingConfig
from thaw.tracking import folder_owner, orphaned_runs, run_lock
from thaw.tracking.cross_validation import FoldRun, FoldSummary, summarize_folds
from thaw.tracking.mlflow_store import MlflowStore, open_store
from thaw.tracking.retry import StoreRefused, StoreUnreachable
from thaw.tracking.run_lookup import BEST_RUN_TAG, OVERRIDES_TAG, PARENT_TAG
from thaw.tracking.tracked_run import OBJECTIVE_TAG, TrackedRun, create_run


@dataclass(frozen=True)
class SweepRun:
    """A sweep's job, as its run tells: `overrides` from the tag `thaw.overrides`, `objective` None unless logged.

    metrics: the last value of each. folds: of its cross-validation, 0 without one.
    """

    run_id: str
    name: str
    status: str
    overrides: str
    objective: float | None
    metrics: Mapping[str, float] = field(default_factory=dict, repr=False)
    folds: int = 0


@dataclass(frozen=True)
class Sweep:
    """An open sweep; `id` is every child's `start(parent=...)`."""

    id: str
    run: TrackedRun = field(repr=False)
    lock: FileLock = field(repr=False)


def open_sweep(tracking: TrackingConfig, outputs: Path, name: str, folder: Path) -> Sweep:
    """Create a sweep's parent run, which lives until `close_sweep`: it holds the lock of `folder`, the sweep's own."""
    folder = Path(folder).absolute()
    folder_owner.check_sweep_folder(folder)
    lock = run_lock.acquire(folder, "a sweep")
    try:
        store = open_store(tracking.uri, outputs)
        orphaned_runs.close_orphaned_runs(store, tracking.experiment)
        run = create_run(store, tracking.experiment, name, folder, {orphaned_runs.SWEEP_TAG: name})
        run_lock.write_run_file(folder, run.id, store.uri)
        run.log_text(name + "\n", "overrides.txt")  # whole: name and tag are cut at what a database holds
    except BaseException:
        lock.release()
        raise
    return Sweep(run.id, run, lock)


def best_objective(run: TrackedRun, parent_id: str) -> float | None:
    """Return the best objective among the sweep's finished runs; None before the first.

    For an objective that is maximized, as all are. None too when the store does not say: the run has trained.
    """
    try:
        best = run._store.client.search_runs(
            [run.experiment_id],
            f"tags.`{PARENT_TAG}` = '{parent_id}' AND attributes.status = 'FINISHED'",
            order_by=["metrics.objective DESC"],
            max_results=1,
        )
    except (StoreRefused, StoreUnreachable):
        return None
    return best[0].data.metrics.get("objective") if best else None


def close_sweep(
    sweep: Sweep,
    *,
    status: Literal["FINISHED", "FAILED", "KILLED"] = "FINISHED",
    maximize: bool = True,
    summary: Mapping[str, object] | None = None,
) -> list[SweepRun]:
    """Close the parent run and return its children, best objective first, those without one last.

    The parent gets the best `objective` as a metric, the tags `thaw.best_run` and `thaw.best_overrides`, the table of
    children as `sweep.csv`, and `summary`: its numbers as metrics, the rest as tags. A child that is still RUNNING
    was killed without a chance to say so, and is closed as KILLED, unless it left its end in `unsent.json`. Of a sweep
    over folds it gets the setting with the best mean: `val/accuracy_mean`, `val/accuracy_std`, ..., `folds`, the tag
    `thaw.best_setting`; all as `folds.json`.
    """
    try:
        return _close(sweep.run, status, maximize, summary or {})
    finally:
        sweep.lock.release()


def _close(run: TrackedRun, status: str, maximize: bool, summary: Mapping[str, object]) -> list[SweepRun]:
    store = run._store
    store.client.set_terminated(run.id, status)
    children = sorted(_children(store, run), key=lambda child: _rank(child, maximize))
    run.log_text(_table(children), "sweep.csv")
    best = children[0] if children else None
    if best is not None and best.objective is not None and _rank(best, maximize) < math.inf:
        run.log_metrics({"objective": best.objective})
        run.set_tags({BEST_RUN_TAG: best.run_id, "thaw.best_overrides": best.overrides})
        run.set_tags({OBJECTIVE_TAG: store.client.get_run(best.run_id).data.tags.get(OBJECTIVE_TAG, "objective")})
    _log_folds(run, fold_summaries(children, maximize=maximize))
    numbers = {key: value for key, value in summary.items() if isinstance(value, int | float)}
    run.log_metrics(numbers)
    run.set_tags({f"thaw.{key}": value for key, value in summary.items() if key not in numbers})
    run.flush()
    return children


def fold_summaries(children: list[SweepRun], *, maximize: bool = True) -> list[FoldSummary]:
    """Return the figures over folds of each setting of the other keys, the best first; none when no fold was swept."""
    finished = [child for child in children if child.status == "FINISHED" and child.folds]
    return summarize_folds((FoldRun(c.run_id, c.overrides, c.metrics, c.folds) for c in finished), maximize=maximize)


def folds_json(settings: list[FoldSummary]) -> str:
    """Return settings as a JSON list: `overrides`, `run_ids`, `folds` and `metrics`, each with `mean`, `std`, `n`."""
    return json.dumps([asdict(setting) for setting in settings], indent=2) + "\n"


def _log_folds(run: TrackedRun, settings: list[FoldSummary]) -> None:
    if settings:
        run.log_metrics(settings[0].as_metrics())
        run.set_tags({"thaw.best_setting": settings[0].overrides})
        run.log_text(folds_json(settings), "folds.json")


def _children(store: MlflowStore, parent: TrackedRun) -> list[SweepRun]:
    children, token = [], None
    while True:
        page = store.client.search_runs(
            [parent.experiment_id],
            f"tags.`{PARENT_TAG}` = '{parent.id}'",
            order_by=["attributes.start_time ASC"],
            page_token=token,
        )
        for run in page:
            if run.info.status == "RUNNING":  # the sweep's jobs have all ended
                orphaned_runs.close_orphaned_run(store, run)
                run = store.client.get_run(run.info.run_id)
            children.append(
                SweepRun(
                    run_id=run.info.run_id,
                    name=run.info.run_name,
                    status=run.info.status,
                    overrides=run.data.tags.get(OVERRIDES_TAG, ""),
                    objective=run.data.metrics.get("objective"),
                    metrics=dict(run.data.metrics),
                    folds=int(folds) if (folds := run.data.params.get("split.folds", "")).isdigit() else 0,
                )
            )
        token = page.token
        if not token:
            return children


def _rank(child: SweepRun, maximize: bool) -> float:
    if child.status != "FINISHED" or child.objective is None or math.isnan(child.objective):
        return math.inf
    return -child.objective if maximize else child.objective


def _table(children: list[SweepRun]) -> str:
    lines = io.StringIO()
    table = csv.writer(lines, lineterminator="\n")
    table.writerow(["run_id", "name", "status", "overrides", "objective"])
    for c in children:
        table.writerow([c.run_id, c.name, c.status, c.overrides, "" if c.objective is None else c.objective])
    return lines.getvalue()
