import csv
import math

import pytest

from thaw.tracking.runs import OVERRIDES, create_run, find_run, start
from thaw.tracking.store import open_store
from thaw.tracking.sweeps import close_sweep, open_sweep


def sweep(tracking, outputs, objectives):
    parent = open_sweep(tracking, outputs, "freeze depth")
    for freeze, value in objectives.items():
        with start(tracking, outputs, name=freeze, tags={OVERRIDES: f"finetune.freeze={freeze}"}, parent=parent) as run:
            if value is not None:
                run.objective("val/accuracy", value)
    return parent


@pytest.mark.parametrize(
    ("maximize", "order"), [(True, ["mixed8", "all", "mixed5"]), (False, ["mixed5", "all", "mixed8"])]
)
def test_a_sweep_knows_its_children_and_the_best_of_them(tracking, outputs, maximize, order):
    parent = sweep(tracking, outputs, {"nan": math.nan, "mixed5": 0.5, "broken": None, "mixed8": 0.9, "all": 0.7})
    with start(tracking, outputs, name="a stranger") as run:
        run.objective("val/accuracy", 1.0)

    children = close_sweep(tracking, outputs, parent, maximize=maximize, summary={"jobs": 5, "sampler": "grid"})

    assert [child.name for child in children][:3] == order
    assert {child.name for child in children[3:]} == {"broken", "nan"}
    found = find_run(tracking.uri, outputs, parent)
    assert found.status == "FINISHED"
    assert found.metrics == {"objective": children[0].objective, "jobs": 5.0}
    assert found.tags["thaw.best_run"] == children[0].run_id
    assert found.tags["thaw.best_overrides"] == f"finetune.freeze={order[0]}"
    assert found.tags["thaw.objective"] == "val/accuracy"
    assert found.tags["thaw.sampler"] == "grid"
    rows = list(csv.DictReader(found.artifact("sweep.csv").read_text().splitlines()))
    assert [row["run_id"] for row in rows] == [child.run_id for child in children]
    assert rows[0]["overrides"] == f"finetune.freeze={order[0]}"
    assert find_run(tracking.uri, outputs, children[0].run_id).tags["mlflow.parentRunId"] == parent


@pytest.mark.parametrize("status", ["FAILED", "KILLED"])
def test_a_sweep_that_did_not_end_well_says_so(tracking, outputs, status):
    parent = sweep(tracking, outputs, {})
    assert close_sweep(tracking, outputs, parent, status=status) == []
    assert find_run(tracking.uri, outputs, parent).status == status


def test_a_child_that_died_without_a_word_is_not_left_running(tracking, outputs):
    parent = open_sweep(tracking, outputs, "sweep")
    child = create_run(open_store(tracking.uri, outputs), "thaw", "job 0", {"mlflow.parentRunId": parent})
    (told,) = close_sweep(tracking, outputs, parent)
    assert told.status == "KILLED"
    found = find_run(tracking.uri, outputs, child.id)
    assert found.status == "KILLED"
    assert "without a word" in found.tags["thaw.reason"]
