"""A store's runs as rows: a sweep is one of them, with the figures of its best run."""

import math
from typing import Any

import pytest

from thaw.tracking import run_search
from thaw.tracking.run_lookup import StoredRun
from thaw.tracking.run_overview import RunRow, run_rows

PARAMS = {
    "recipe": "finetune", "backbone.name": "vgg16", "dataset.name": "image_folder", "dataset.path": "/data/clothing",
}  # fmt: skip


def run(
    id: str, minute: int, *, status: str = "FINISHED", metrics=None, params=None, deleted: bool = False, **tags: str
) -> StoredRun:
    store: Any = None
    started = minute * 60_000
    named = {f"thaw.{name}": value for name, value in tags.items() if name != "parent"}
    if "parent" in tags:
        named["mlflow.parentRunId"] = tags["parent"]
    return StoredRun(
        id, f"name of {id}", status, PARAMS if params is None else params, named, metrics or {}, "", "1", store,
        started, started + 90_000 if status != "RUNNING" else None, deleted,
    )  # fmt: skip


def figures(value: float) -> dict[str, float]:
    return {"val/accuracy": value, "objective": value, "test/accuracy": value - 0.1}


SWEEP = run("s", 1, params={}, metrics={"objective": 0.9}, sweep="seed=1,2", best_run="b")
CHILDREN = [
    run("a", 2, metrics=figures(0.7), parent="s"), run("b", 3, metrics=figures(0.9), parent="s"),
    run("c", 4, status="FAILED", parent="s"),
]  # fmt: skip


@pytest.fixture(autouse=True)
def store(monkeypatch: pytest.MonkeyPatch) -> dict[str, StoredRun]:
    """A store that has a sweep and its runs."""
    known = {run.id: run for run in (SWEEP, *CHILDREN)}
    monkeypatch.setattr(run_search, "get_run", lambda _, id: known.get(id))
    monkeypatch.setattr(run_search, "children_of", lambda *_: CHILDREN)
    return known


def rows(*runs: StoredRun, collapsed: bool = True, newest: int | None = None) -> list[RunRow]:
    nothing: Any = None
    return run_rows(nothing, sorted(runs, key=lambda run: -(run.started or 0)), collapsed=collapsed, newest=newest)


def test_a_run_is_a_row_with_its_figures_and_settings() -> None:
    (row,) = rows(run("r", 5, metrics=figures(0.9), folder="/out/r"))
    assert row == RunRow(
        "r", "name of r", "FINISHED", 300_000, 1.5, 0.9, 0.9 - 0.1, "vgg16", "clothing", "finetune", "/out/r", "run"
    )


def test_what_is_not_known_is_empty_and_so_is_what_is_no_number() -> None:
    """Of runs that still train or that failed, and of those of early versions or other programs."""
    (row,) = rows(run("r", 5, status="RUNNING", metrics={"val/accuracy": math.nan}, params={}))
    assert row == RunRow("r", "name of r", "RUNNING", 300_000, *[None] * 7, "run")  # type: ignore[arg-type]
    (old,) = rows(run("r", 5, metrics={"objective": 0.5}, params={"dataset.name": "digits", "dataset.path": "None"}))
    assert (old.val_accuracy, old.dataset) == (0.5, "digits")


def test_an_evaluation_and_a_reproduction_say_so() -> None:
    evaluation, again = rows(
        run("e", 6, metrics={"eval/accuracy": 0.8}, kind="evaluation"), run("r", 5, reproduces="a")
    )
    assert (evaluation.kind, evaluation.test_accuracy, evaluation.val_accuracy) == ("evaluation", 0.8, None)
    assert again.kind == "reproduction"


def test_a_sweep_is_one_row_with_its_best_run() -> None:
    row, other = rows(SWEEP, *CHILDREN, run("x", 0))
    assert other.id == "x"
    assert (row.id, row.kind, row.runs, row.best_run) == ("s", "sweep", 3, "b")
    assert (row.val_accuracy, row.test_accuracy, row.backbone) == (0.9, 0.9 - 0.1, "vgg16")
    assert row.started == 60_000, "it is the sweep's own"


def test_a_sweep_can_be_shown_with_its_runs() -> None:
    expanded = rows(SWEEP, *CHILDREN, collapsed=False)
    assert [row.id for row in expanded] == ["c", "b", "a", "s"]
    assert expanded[-1].runs == 3


def test_of_a_sweep_only_the_runs_that_were_found_count() -> None:
    (row,) = rows(CHILDREN[0])
    assert (row.id, row.runs, row.best_run, row.val_accuracy) == ("s", 1, "a", 0.7)
    (alone,) = rows(SWEEP)
    assert (alone.runs, alone.best_run) == (3, "b"), "a filter may find the sweep by its own tags"


def test_a_run_whose_sweep_is_gone_is_a_row(store: dict[str, StoredRun]) -> None:
    orphan, of_no_sweep = run("o", 8, parent="nobody"), run("n", 7, parent="p")
    store["p"] = run("p", 1)
    assert [row.id for row in rows(orphan, of_no_sweep)] == ["o", "n"]
    store["s"] = run("s", 1, deleted=True, sweep="seed=1,2")
    assert [row.id for row in rows(*CHILDREN)] == ["c", "b", "a"]


def test_a_sweep_without_a_finished_run_has_no_best_one(monkeypatch: pytest.MonkeyPatch) -> None:
    (row,) = rows(run("s", 1, status="RUNNING", sweep="seed=1,2"), run("c", 4, status="RUNNING", parent="s"))
    assert (row.runs, row.best_run, row.val_accuracy, row.backbone) == (1, None, None, "vgg16")


def test_only_as_many_runs_are_read_as_are_shown() -> None:
    def endless():
        yield from CHILDREN[::-1]
        yield SWEEP
        for minute in range(10):
            yield run(f"r{minute}", -minute)
        raise AssertionError("there are enough")

    nothing: Any = None
    found = run_rows(nothing, endless(), collapsed=True, newest=2)
    assert [row.id for row in found] == ["s", "r0", "r1"], "and one more, to say that there are more"


def test_a_sweep_over_folds_has_their_mean_and_not_the_best_fold(store: dict[str, StoredRun]) -> None:
    means = {"objective": 0.8, "val/accuracy_mean": 0.8, "val/accuracy_std": 0.1, "test/accuracy_mean": 0.7}
    folds = run("s", 1, params={}, metrics=means, sweep="split.fold=0,1", best_run="b")
    store["s"] = folds
    (row,) = rows(folds)
    assert (row.val_accuracy, row.test_accuracy, row.best_run) == (0.8, 0.7, "b")
