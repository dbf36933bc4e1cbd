"""Which runs are compared: by id, folder, sweep or filter; only those that have finished."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thaw import tracking
from thaw.common.errors import UserError, joined
from thaw.tracking import StoredRun

UNFINISHED = ("RUNNING", "FAILED", "KILLED", "SCHEDULED")


@dataclass(frozen=True)
class ChosenRuns:
    """At least two finished runs, each once, and sentences on those that were left out."""

    runs: list[StoredRun]
    remarks: list[str]


def choose_runs(runs: Any, run_filter: str | None, experiment: str, uri: str, outputs: Path) -> ChosenRuns:
    """Return the runs that `runs` names (ids, their beginnings, folders of runs or sweeps), and those of a filter.

    A sweep alone stands for its finished runs, a sweep beside others for its best. A run that is named itself must have
    finished.

    Raises:
        UserError: A run is unknown or has not finished, or there are fewer than two.
    """
    if runs is None and run_filter is None:
        raise UserError(
            'runs= is missing: runs=[A,B] with ids or folders of runs, runs=SWEEP, or filter="metrics.objective > 0.8"'
        )
    found: list[StoredRun] = []
    remarks: list[str] = []
    named: list[StoredRun] = []
    entries = _entries(runs)
    for entry in entries:
        run = _find(entry, uri, outputs)
        if run.is_sweep and len(entries) > 1:
            run = tracking.best_run(run)
        if run.is_evaluation:
            evaluated = run.tags.get(tracking.EVALUATED_RUN_TAG, "unknown")
            raise UserError(
                f"runs={entry} is an evaluation ({run.name}) and no training. The run it evaluated: {evaluated}"
            )
        if run.is_sweep:
            found += run.child_runs("FINISHED")
            remarks += _left_out({status: len(run.child_runs(status)) for status in UNFINISHED}, f"sweep {run.id[:8]}")
        else:
            named.append(run)
            found.append(run)
    _refuse_unfinished(named)
    if run_filter is not None:
        matches = tracking.search_runs(uri, outputs, experiment, run_filter)
        found += [run for run in matches if run.status == "FINISHED"]
        remarks += _left_out(Counter(run.status for run in matches if run.status != "FINISHED"), "the filter")
    distinct = list({run.id: run for run in found}.values())
    if len(distinct) < 2:
        names = f": {distinct[0].id} ({distinct[0].name})" if distinct else ""
        raise UserError(
            f"only runs that have finished can be compared, and here {'is one' if distinct else 'are none'}{names}. "
            "Give runs=[A,B], a sweep, or a wider filter"
        )
    return ChosenRuns(distinct, remarks)


def _entries(runs: Any) -> list[str]:
    if isinstance(runs, list):
        return [str(entry) for entry in runs]
    text = "" if runs is None else str(runs)
    return [text] if Path(text).expanduser().exists() and text else [part for part in text.split(",") if part]


def _find(run: str, uri: str, outputs: Path) -> StoredRun:
    folder = Path(run).expanduser()
    if not folder.is_dir():
        return tracking.find_run(uri, outputs, run)
    owner = tracking.find_run_of_folder(folder, uri, outputs)
    if owner is None:
        raise UserError(f"runs={run} is a folder without a run.json that says which run it is: give the run's id")
    return owner[0]


def _refuse_unfinished(runs: list[StoredRun]) -> None:
    unfinished = [
        f"{run.id[:8]} ({run.name}) is {run.status}: {run.tags.get(tracking.REASON_TAG, 'it did not end')}"
        for run in runs
        if run.status != "FINISHED"
    ]
    if unfinished:
        raise UserError(f"only runs that have finished can be compared. {joined(unfinished)}")


def _left_out(unfinished: dict[str, int], source: str) -> list[str]:
    counts = {status: n for status, n in unfinished.items() if n}
    if not counts:
        return []
    total = sum(counts.values())
    states = joined(f"{n} {status}" for status, n in counts.items())
    runs = "1 run that has not finished is" if total == 1 else f"{total} runs that have not finished are"
    return [f"Of {source}, {runs} left out ({states})."]
