"""A sweep in the store: one parent run, and a child run for every job."""

import csv
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock

from thaw.common.errors import UserError
from thaw.config.schema import TrackingConfig
from thaw.tracking import folder_owner, orphaned_runs, reusable_runs, run_lock
from thaw.tracking.cross_validation import FoldSummary, fold_summaries, folds_json, objective_rank
from thaw.tracking.mlflow_store import MlflowStore, open_store
from thaw.tracking.retry import StoreRefused, StoreUnreachable
from thaw.tracking.run_lookup import BEST_RUN_TAG, DRAFT_TAG, PARENT_TAG, StoredRun, stored_run_of_mlflow
from thaw.tracking.run_search import iterate_runs
from thaw.tracking.tracked_run import OBJECTIVE_TAG, TrackedRun, create_run

_PAGE = 10  # runs that the search for the best one reads at a time
STUDY_TAG = "thaw.study"  # of a sweep: the name of the study that is its ledger


@dataclass(frozen=True)
class Sweep:
    """An open sweep. id: what each child run gives `start_run` as `parent`."""

    id: str
    run: TrackedRun = field(repr=False)
    lock: FileLock = field(repr=False)


def open_sweep(
    tracking: TrackingConfig, outputs: Path, name: str, folder: Path, overrides: str = "", study: str = ""
) -> Sweep:
    """Create a sweep's parent run, which is RUNNING and holds the lock of the sweep's folder until `close_sweep`.

    overrides: as typed; default: the name. study: the name of the study that is its ledger.
    """
    folder = Path(folder).absolute()
    folder_owner.check_sweep_folder(folder)
    lock = run_lock.lock_run_folder(folder, "a sweep")
    try:
        store = open_store(tracking.uri, outputs)
        orphaned_runs.close_orphaned_runs(store, tracking.experiment)
        typed = overrides or name
        tags = {orphaned_runs.SWEEP_TAG: typed, **({STUDY_TAG: study} if study else {})}
        run = create_run(store, tracking.experiment, name, folder, tags)
        run_lock.write_run_file(folder, run.id, store.uri)
        run.log_text(typed + "\n", "overrides.txt")  # in full: the tag is cut to fit MLflow
    except BaseException:
        lock.release()
        raise
    return Sweep(run.id, run, lock)


def reopen_sweep(tracking: TrackingConfig, outputs: Path, run_id: str, folder: Path) -> Sweep:
    """Set a sweep's parent run to RUNNING again and lock the sweep's folder, to go on with it.

    Raises:
        UserError: a process works on the sweep, or the run was deleted.
    """
    lock = run_lock.lock_run_folder(folder, f"sweep {run_id}")
    try:
        store = open_store(tracking.uri, outputs)
        stored = store.client.get_run(run_id)
        if stored.info.lifecycle_stage != "active":
            raise UserError(
                f"sweep {run_id} was deleted from {store.uri}. Begin anew under a new name: sweep.study=NAME"
            )
        orphaned_runs.close_orphaned_runs(store, tracking.experiment)
        store.client.update_run(run_id, status="RUNNING")
        run = TrackedRun(store, stored.info.experiment_id, run_id, folder, name=stored.info.run_name)
        run_lock.write_run_file(folder, run_id, store.uri)
    except StoreRefused as refused:
        lock.release()
        if refused.code != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise UserError(
            f"sweep {run_id} is not in {tracking.uri} any more. Begin anew under a new name: sweep.study=NAME"
        ) from None
    except BaseException:
        lock.release()
        raise
    return Sweep(run_id, run, lock)


def best_objective(run: TrackedRun, parent_id: str) -> float | None:
    """Return the highest objective among the sweep's finished runs; None before the first, and without an answer.

    Drafts do not count: they keep no network, which a run in full precision would have to be compared with.
    An error of the store must not end `run`, which has trained by then.
    """
    token = None
    try:
        while True:  # the first page has it, unless it is all drafts: a job of many must not load all of them
            page = run._store.client.search_runs(
                [run.experiment_id],
                f"tags.`{PARENT_TAG}` = '{parent_id}' AND attributes.status = 'FINISHED'",
                max_results=_PAGE,
                order_by=["metrics.objective DESC"],
                page_token=token,
            )
            full = next((found for found in page if found.data.tags.get(DRAFT_TAG) != "True"), None)
            if full is not None:
                objective: float | None = full.data.metrics.get("objective")
                return objective
            if not (token := page.token):
                return None
    except (StoreRefused, StoreUnreachable):
        return None


def close_sweep(
    sweep: Sweep,
    *,
    status: Literal["FINISHED", "FAILED", "KILLED"] = "FINISHED",
    maximize: bool = True,
    summary: Mapping[str, object] | None = None,
    objective: str = "objective",
    values: Mapping[str, float] | None = None,
    ties: Mapping[str, tuple[float, ...]] | None = None,
    jobs_ended: bool = True,
) -> list[StoredRun]:
    """Close the parent run and return its child runs, best objective first, those without one last.

    objective: name of what is compared. values: of it, by run; default: each run's own metric `objective`. ties: what
    decides between runs of one value, by run, the smallest first. jobs_ended: that no job runs anywhere; otherwise runs
    of other machines, and those that are alive on this one, stay RUNNING.

    Runs that trained the best draft again in full precision come before all others: they are the sweep's result.

    The parent gets the best `objective` as a metric, the tags `thaw.best_run` and `thaw.best_overrides`, and
    `sweep.csv`, the table of children. After a cross-validation it also gets the metrics of the best setting
    (`val/accuracy_mean`, `val/accuracy_std`, ..., `folds`), the tag `thaw.best_setting`, and all settings as
    `folds.json`. Numbers of `summary` are logged as metrics, the rest as tags. A child that is still RUNNING was
    killed, and is closed as an orphaned run.
    """
    try:
        return _close(sweep.run, status, _Ranking(objective, maximize, values, ties or {}), summary or {}, jobs_ended)
    finally:
        sweep.lock.release()


def finished_children(sweep: Sweep) -> list[StoredRun]:
    """Return the finished runs of a sweep that the store has, those that it took over among them."""
    run = sweep.run
    return [child for child in _children(run._store, run, jobs_ended=False) if child.status == "FINISHED"]


def ranked_children(sweep: Sweep, *, maximize: bool = True) -> list[StoredRun]:
    """Return the child runs of a sweep whose jobs have ended, in the order of `close_sweep`."""
    return _ranked(sweep.run, _Ranking(maximize=maximize), jobs_ended=True)


def ranked_fold_summaries(children: list[StoredRun], *, maximize: bool = True) -> list[FoldSummary]:
    """Return `fold_summaries`, with the setting first that was trained again in full precision, if one was."""
    again = [child for child in children if child.repeats_draft]
    others = [child for child in children if not child.repeats_draft]
    return [*fold_summaries(again, maximize=maximize), *fold_summaries(others, maximize=maximize)]


@dataclass(frozen=True)
class _Ranking:
    """What the runs of a sweep are compared by, as `close_sweep` takes it."""

    objective: str = "objective"
    maximize: bool = True
    values: Mapping[str, float] | None = None
    ties: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def value(self, child: StoredRun) -> float | None:
        """Return a run's value; None of one that has not finished, or has none."""
        if child.status != "FINISHED":
            return None
        return child.objective if self.values is None else self.values.get(child.id)

    def rank(self, child: StoredRun) -> float:
        """Return a sort key, see `objective_rank`."""
        return objective_rank(self.value(child), self.maximize)


def _ranked(run: TrackedRun, ranking: _Ranking, *, jobs_ended: bool) -> list[StoredRun]:
    children = _children(run._store, run, jobs_ended)
    is_complete = reusable_runs.is_complete  # of equals the one that kept its network
    return sorted(
        children,
        key=lambda child: (
            not child.repeats_draft, ranking.rank(child), ranking.ties.get(child.id, ()), not is_complete(child),
        ),
    )  # fmt: skip


def _close(
    run: TrackedRun, status: str, ranking: _Ranking, summary: Mapping[str, object], jobs_ended: bool
) -> list[StoredRun]:
    run._store.client.set_terminated(run.id, status)
    children = _ranked(run, ranking, jobs_ended=jobs_ended)
    run.log_text(_table(children), "sweep.csv")
    best = children[0] if children else None
    if best is not None and (value := ranking.value(best)) is not None and ranking.rank(best) < math.inf:
        run.log_metrics({"objective": value})
        run.set_tags({BEST_RUN_TAG: best.id, "thaw.best_overrides": best.overrides})
        own = best.tags.get(OBJECTIVE_TAG, "objective")
        run.set_tags({OBJECTIVE_TAG: own if ranking.values is None else ranking.objective})
    if summaries := ranked_fold_summaries(children, maximize=ranking.maximize):
        run.log_metrics(summaries[0].as_metrics())
        run.set_tags({"thaw.best_setting": summaries[0].overrides})
        run.log_text(folds_json(summaries), "folds.json")
    if note := _note(children, summaries):
        run.set_note(note)
    numbers = {key: value for key, value in summary.items() if isinstance(value, int | float)}
    run.log_metrics(numbers)
    run.set_tags({f"thaw.{key}": value for key, value in summary.items() if key not in numbers})
    run.flush()
    return children


def _note(children: list[StoredRun], folds: list[FoldSummary]) -> str:
    """Return the note above a sweep in MLflow's page, as Markdown: its best run and its best setting over folds.

    children: best first.
    """
    best = children[0] if children else None
    if best is None or best.objective is None or best.status != "FINISHED":
        return ""
    finished = sum(child.status == "FINISHED" for child in children)
    figure = best.tags.get(OBJECTIVE_TAG, "objective").replace("val/", "validation ")
    lines = [f"Best of {finished} finished run{'s' * (finished != 1)}: {figure} {best.objective:.4f}"]
    lines[0] += f" by `{best.id[:8]}`, {best.name}"
    if folds:
        lines.append(f"Best setting: {folds[0].line()}")
    return "\n\n".join(lines)


def _children(store: MlflowStore, parent: TrackedRun, jobs_ended: bool) -> list[StoredRun]:
    """Return the runs of a sweep, oldest first, and then those that it took over from others."""
    own = list(_search(store, parent, f"tags.`{PARENT_TAG}` = '{parent.id}'"))
    children = []
    for run in own:
        if run.info.status == "RUNNING" and (jobs_ended or orphaned_runs.is_dead_here(run)):
            orphaned_runs.close_orphaned_run(store, run)
            run = store.client.get_run(run.info.run_id)
        children.append(stored_run_of_mlflow(store, run))
    known = {child.id for child in children}
    reused = iterate_runs(store, f"tags.`{reusable_runs.reused_tag(parent.id)}` = 'True'")
    return [*children, *(run for run in reused if run.id not in known)]


def _search(store: MlflowStore, parent: TrackedRun, run_filter: str) -> Iterator[Any]:
    token = None
    while True:
        page = store.client.search_runs(
            [parent.experiment_id], run_filter, order_by=["attributes.start_time ASC"], page_token=token
        )
        yield from page
        token = page.token
        if not token:
            return


def _table(children: list[StoredRun]) -> str:
    lines = io.StringIO()
    table = csv.writer(lines, lineterminator="\n")
    table.writerow(["run_id", "name", "status", "overrides", "objective"])
    for c in children:
        table.writerow([c.id, c.name, c.status, c.overrides, "" if c.objective is None else c.objective])
    return lines.getvalue()
