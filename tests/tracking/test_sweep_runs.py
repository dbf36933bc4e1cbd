import csv
import json
import math

import pytest
from mlflow.entities import Metric

from thaw.tracking.cross_validation import fold_summaries
from thaw.tracking.draft_runs import best_drafts, full_precision_overrides
from thaw.tracking.mlflow_store import open_store
from thaw.tracking.run_lookup import OVERRIDES_TAG, PARENT_TAG, best_run, find_run
from thaw.tracking.sweep_runs import (
    best_objective,
    close_sweep,
    open_sweep,
    ranked_children,
    ranked_fold_summaries,
)
from thaw.tracking.tracked_run import create_run, start_run
from thaw.tracking.unsent_file import UnsentWrites


def sweep(tracking, outputs, objectives):
    parent = open_sweep(tracking, outputs, "freeze depth", outputs / "sweep")
    for freeze, value in objectives.items():
        with start_run(
            tracking,
            outputs,
            name=freeze,
            folder=outputs / freeze,
            tags={OVERRIDES_TAG: f"finetune.freeze={freeze}"},
            parent=parent.id,
        ) as run:
            if value is not None:
                run.log_objective("val/accuracy", value)
    return parent


@pytest.mark.parametrize(
    ("maximize", "order"), [(True, ["mixed8", "all", "mixed5"]), (False, ["mixed5", "all", "mixed8"])]
)
def test_a_sweep_knows_its_children_and_the_best_of_them(tracking, outputs, maximize, order):
    parent = sweep(tracking, outputs, {"nan": math.nan, "mixed5": 0.5, "broken": None, "mixed8": 0.9, "all": 0.7})
    with start_run(tracking, outputs, name="a stranger", folder=outputs / "runs" / "a stranger") as run:
        run.log_objective("val/accuracy", 1.0)

    children = close_sweep(parent, maximize=maximize, summary={"jobs": 5, "sampler": "grid"})

    assert [child.name for child in children][:3] == order
    assert {child.name for child in children[3:]} == {"broken", "nan"}
    stored = find_run(tracking.uri, outputs, parent.id)
    assert stored.status == "FINISHED"
    assert stored.metrics == {"objective": children[0].objective, "jobs": 5.0}
    assert stored.tags["thaw.best_run"] == children[0].id
    assert stored.tags["thaw.best_overrides"] == f"finetune.freeze={order[0]}"
    assert stored.tags["thaw.objective"] == "val/accuracy"
    assert stored.tags["thaw.sampler"] == "grid"
    best = children[0]
    assert stored.tags["mlflow.note.content"] == (
        f"Best of 5 finished runs: validation accuracy {best.objective:.4f} by `{best.id[:8]}`, {best.name}"
    )
    rows = list(csv.DictReader(stored.artifact_path("sweep.csv").read_text().splitlines()))
    assert [row["run_id"] for row in rows] == [child.id for child in children]
    assert rows[0]["overrides"] == f"finetune.freeze={order[0]}"
    assert find_run(tracking.uri, outputs, children[0].id).tags["mlflow.parentRunId"] == parent.id


def test_of_equal_runs_what_else_was_asked_for_decides(tracking, outputs):
    parent = sweep(tracking, outputs, {"first": 0.9, "faster": 0.9, "worse": 0.5})
    ids = {child.name: child.id for child in ranked_children(parent)}
    children = close_sweep(parent, ties={ids["first"]: (2.0,), ids["faster"]: (1.0,), ids["worse"]: (0.1,)})
    assert [child.name for child in children] == ["faster", "first", "worse"]
    assert find_run(tracking.uri, outputs, parent.id).tags["thaw.best_run"] == ids["faster"]


def test_a_run_that_failed_is_not_the_best_whatever_it_reached(tracking, outputs):
    parent = sweep(tracking, outputs, {"sound": 0.7})
    broken = start_run(tracking, outputs, name="broken", folder=outputs / "runs" / "broken", parent=parent.id)
    with pytest.raises(RuntimeError), broken as run:  # noqa: PT012
        run.log_objective("val/accuracy", 0.9)
        raise RuntimeError
    with start_run(tracking, outputs, name="next", folder=outputs / "runs" / "next", parent=parent.id) as run:
        assert best_objective(run, parent.id) == 0.7
    children = close_sweep(parent)
    assert (children[0].name, children[0].objective) == ("sound", 0.7)
    assert find_run(tracking.uri, outputs, parent.id).metrics == {"objective": 0.7}


def test_a_sweep_over_folds_logs_mean_and_deviation_of_the_best_setting(tracking, outputs):
    parent = open_sweep(tracking, outputs, "folds", outputs / "sweep")
    for rate, values in {"1": [0.5, 0.7], "2": [0.75, 0.85]}.items():
        for fold, value in enumerate(values):
            tags = {OVERRIDES_TAG: f"rate={rate} split.folds=2 split.fold={fold}"}
            with start_run(
                tracking, outputs, name="fold", folder=outputs / "runs" / f"{rate}-{fold}", tags=tags, parent=parent.id
            ) as run:
                run.log_objective("val/accuracy", value)
                run.log_params({"split.folds": 2})
                run.log_metrics({"val/accuracy": value}, step=3)
    children = close_sweep(parent)

    stored = find_run(tracking.uri, outputs, parent.id)
    assert stored.metrics["folds"] == 2
    assert stored.metrics["val/accuracy_mean"] == pytest.approx(0.8)
    assert stored.metrics["val/accuracy_std"] == pytest.approx(0.1 / 2**0.5)
    assert stored.tags["thaw.best_setting"] == "rate=2 split.folds=2"
    assert (
        "Best setting: 2 folds · val accuracy 0.8000 ± 0.0707: rate=2 split.folds=2"
        in (stored.tags["mlflow.note.content"])
    )
    best, other = json.loads(stored.artifact_path("folds.json").read_text())
    assert best["metrics"]["val/accuracy"]["mean"] == pytest.approx(0.8)
    assert other["overrides"] == "rate=1 split.folds=2"
    assert other["metrics"]["val/accuracy"]["n"] == 2
    assert [setting.overrides for setting in fold_summaries(children)] == [best["overrides"], other["overrides"]]


@pytest.mark.parametrize("status", ["FAILED", "KILLED"])
def test_a_sweep_that_did_not_end_well_says_so(tracking, outputs, status):
    parent = sweep(tracking, outputs, {})
    assert close_sweep(parent, status=status) == []
    assert find_run(tracking.uri, outputs, parent.id).status == status


def test_a_child_that_died_without_a_word_is_not_left_running(tracking, outputs):
    parent = open_sweep(tracking, outputs, "sweep", outputs / "sweep")
    child = create_run(
        open_store(tracking.uri, outputs), "thaw", "job 0", outputs / "0", {"mlflow.parentRunId": parent.id}
    )
    (closed,) = close_sweep(parent)
    assert closed.status == "KILLED"
    stored = find_run(tracking.uri, outputs, child.id)
    assert stored.status == "KILLED"
    assert "without a word" in stored.tags["thaw.reason"]


def test_a_child_whose_end_the_store_did_not_hear_of_keeps_its_figures(tracking, outputs):
    parent = open_sweep(tracking, outputs, "sweep", outputs / "sweep")
    child = create_run(open_store(tracking.uri, outputs), "thaw", "job 0", outputs / "0", {PARENT_TAG: parent.id})
    (outputs / "0").mkdir()
    unsent = UnsentWrites(child.id, tracking.uri, [Metric("objective", 0.5, 1, 0)], {"mood": "good"}, "FINISHED", 2)
    unsent.write(outputs / "0")
    (closed,) = close_sweep(parent)
    assert (closed.status, closed.objective) == ("FINISHED", 0.5)
    assert find_run(tracking.uri, outputs, child.id).tags["mood"] == "good"


def draft(tracking, outputs, parent, name, value, overrides, **tags):
    with start_run(
        tracking, outputs, name=name, folder=outputs / name, tags={OVERRIDES_TAG: " ".join(overrides), **tags},
        parent=parent.id,
    ) as run:  # fmt: skip
        run.log_text("\n".join(overrides) + "\n", "overrides.txt")
        run.log_params({"split.folds": "2" if any("split.fold=" in word for word in overrides) else "None"})
        run.log_objective("val/accuracy", value)
    return run.id


def test_a_sweeps_best_draft_is_trained_again_and_that_run_is_its_result(tracking, outputs):
    parent = open_sweep(tracking, outputs, "drafts", outputs / "sweep")
    tag = {"thaw.draft": "True"}
    draft(tracking, outputs, parent, "low", 0.7, ["precision=draft", "finetune.freeze=all"], **tag)
    best = draft(
        tracking, outputs, parent, "high", 0.9, ["hydra.searchpath=[a]", "precision=draft", "finetune.freeze=5"], **tag
    )
    (found,) = best_drafts(ranked_children(parent))
    assert found.id == best
    assert full_precision_overrides(found) == ["precision=auto", "finetune.freeze=5"]
    again = draft(tracking, outputs, parent, "again", 0.85, ["precision=auto"], **{"thaw.repeats_draft": best})
    children = close_sweep(parent)
    assert [child.objective for child in children] == [0.85, 0.9, 0.7]
    stored = find_run(tracking.uri, outputs, parent.id)
    assert stored.tags["thaw.best_run"] == again
    assert stored.metrics["objective"] == 0.85


def test_all_folds_of_the_best_draft_setting_are_trained_again(tracking, outputs):
    parent = open_sweep(tracking, outputs, "drafts", outputs / "sweep")
    tag = {"thaw.draft": "True"}
    ids = {}
    for rate, fold, value in (("1", 0, 0.95), ("1", 1, 0.55), ("2", 0, 0.8), ("2", 1, 0.9)):
        words = ["precision=draft", f"optimizer.learning_rate={rate}", f"split.fold={fold}"]
        ids[rate, fold] = draft(tracking, outputs, parent, f"{rate}-{fold}", value, words, **tag)
    found = best_drafts(ranked_children(parent))
    assert {run.id for run in found} == {ids["2", 0], ids["2", 1]}
    for run in found:
        words = full_precision_overrides(run)
        draft(tracking, outputs, parent, f"again {words[-1]}", 0.7, words, **{"thaw.repeats_draft": run.id})
    children = close_sweep(parent)
    summaries = ranked_fold_summaries(children)
    assert summaries[0].overrides == "precision=auto optimizer.learning_rate=2"
    stored = find_run(tracking.uri, outputs, parent.id)
    assert stored.tags["thaw.best_setting"] == summaries[0].overrides
    assert "thaw.repeats_draft" in find_run(tracking.uri, outputs, stored.tags["thaw.best_run"]).tags


def test_a_sweep_whose_best_run_is_no_draft_trains_nothing_again(tracking, outputs):
    parent = open_sweep(tracking, outputs, "mixed", outputs / "sweep")
    draft(tracking, outputs, parent, "draft", 0.7, ["precision=draft"], **{"thaw.draft": "True"})
    draft(tracking, outputs, parent, "full", 0.9, ["precision=auto"])
    assert best_drafts(ranked_children(parent)) == []
    close_sweep(parent)


def test_a_network_is_that_of_a_run_in_full_precision_though_a_draft_was_better(tracking, outputs):
    parent = open_sweep(tracking, outputs, "mixed", outputs / "sweep")
    best = draft(tracking, outputs, parent, "draft", 0.9, ["precision=draft"], **{"thaw.draft": "True"})
    full = draft(tracking, outputs, parent, "full", 0.7, ["precision=auto"])
    draft(tracking, outputs, parent, "worse", 0.6, ["precision=auto"])
    with start_run(tracking, outputs, name="next", folder=outputs / "next", parent=parent.id) as run:
        assert best_objective(run, parent.id) == 0.7
    stored = find_run(tracking.uri, outputs, parent.id)
    assert best_run(stored).id == full
    again = draft(tracking, outputs, parent, "again", 0.5, ["precision=auto"], **{"thaw.repeats_draft": best})
    assert best_run(stored).id == again
    close_sweep(parent)
    assert best_run(find_run(tracking.uri, outputs, parent.id)).id == again


def test_a_sweep_of_drafts_alone_stands_for_the_best_of_them(tracking, outputs):
    parent = open_sweep(tracking, outputs, "drafts", outputs / "sweep")
    tag = {"thaw.draft": "True"}
    draft(tracking, outputs, parent, "low", 0.7, ["precision=draft"], **tag)
    best = draft(tracking, outputs, parent, "high", 0.9, ["precision=draft"], **tag)
    close_sweep(parent, status="FAILED")
    assert best_run(find_run(tracking.uri, outputs, parent.id)).id == best
