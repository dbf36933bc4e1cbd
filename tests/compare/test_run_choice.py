"""Which runs are compared: named ones, those of a sweep or a filter, and the refusals."""

from pathlib import Path

import pytest

from thaw import tracking
from thaw.common.errors import UserError
from thaw.compare.run_choice import choose_runs
from thaw.tracking import StoredRun

from .made_runs import stored

A, B = stored("a" * 32, "first"), stored("b" * 32, "second")
FAILED = stored("f" * 32, "third", "FAILED", thaw_reason="the loss became nan")
SWEEP = stored("5" * 32, "sweep", thaw_sweep="sweep")


@pytest.fixture(autouse=True)
def _store(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = {run.id[0]: run for run in (A, B, FAILED, SWEEP)}
    children = {"FINISHED": [A, B], "KILLED": [FAILED, FAILED], "RUNNING": [FAILED]}
    monkeypatch.setattr(tracking, "find_run", lambda uri, outputs, run: runs[run[0]])
    monkeypatch.setattr(tracking, "search_runs", lambda *_: [A, FAILED, B])
    monkeypatch.setattr(StoredRun, "child_runs", lambda self, status: children.get(status, []))


def chosen(runs=None, run_filter=None):
    return choose_runs(runs, run_filter, "thaw", "sqlite:///x.db", Path("outputs"))


def test_runs_are_those_that_are_named_each_once() -> None:
    assert [run.id[0] for run in chosen(["b1", "a", "b"]).runs] == ["b", "a"]
    assert [run.id[0] for run in chosen("b,a").runs] == ["b", "a"], "without brackets too"


def test_a_sweep_stands_for_its_finished_runs() -> None:
    found = chosen("5")
    assert found.runs == [A, B]
    assert found.remarks == ["Of sweep 55555555, 3 runs that have not finished are left out (1 RUNNING, 2 KILLED)."]


def test_a_sweep_beside_another_run_stands_for_its_best(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "best_run", lambda run: B if run is SWEEP else run)
    assert chosen(["a", "5"]).runs == [A, B]


def test_a_filter_adds_its_finished_runs() -> None:
    found = chosen(["b"], "metrics.objective > 0.8")
    assert found.runs == [B, A]
    assert found.remarks == ["Of the filter, 1 run that has not finished is left out (1 FAILED)."]


def test_a_run_that_is_named_must_have_finished() -> None:
    with pytest.raises(
        UserError, match=r"finished can be compared\. ffffffff \(third\) is FAILED: the loss became nan$"
    ):
        chosen(["a", "f"])


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        (["a", "a"], r"here is one: a{32} \(first\)\. Give"),
        ([], "here are none"),
        (None, "runs= is mis"),
    ],
)
def test_fewer_than_two_are_refused(runs, message) -> None:
    with pytest.raises(UserError, match=message):
        chosen(runs)


def test_an_evaluation_is_refused_with_the_run_that_it_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluation = stored("e" * 32, "evaluated", thaw_kind="evaluation", thaw_evaluated_run="abc")
    evaluation.tags["thaw.evaluated_run"] = "abc"
    monkeypatch.setattr(tracking, "find_run", lambda *_: evaluation)
    with pytest.raises(UserError, match=r"is an evaluation \(evaluated\) and no training\. The run it evaluated: abc"):
        chosen(["e", "a"])


def test_a_folder_of_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is a folder without a run\.json"):
        chosen([str(tmp_path), "a"])
