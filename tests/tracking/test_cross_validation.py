import math
import statistics

import pytest

from thaw.tracking.cross_validation import fold_summaries
from thaw.tracking.run_lookup import OVERRIDES_TAG, StoredRun


def run(overrides, accuracy, number=0, **metrics):
    metrics = {"val/accuracy": accuracy, "objective": accuracy, "epoch/loss": 9.0, **metrics}
    return StoredRun(
        id=f"{overrides}-{number}",
        name="a fold",
        status="FINISHED",
        params={"split.folds": "3"},
        tags={OVERRIDES_TAG: overrides},
        metrics=metrics,
        artifact_uri="",
        experiment_id="",
        _store=None,
    )


def test_figures_are_mean_and_sample_deviation_over_the_folds():
    values = [0.5, 0.75, 1.0]
    (summary,) = fold_summaries(run(f"split.folds=3 split.fold={i}", value, i) for i, value in enumerate(values))
    assert summary.overrides == "split.folds=3"
    assert len(summary.run_ids) == 3
    accuracy = summary.metrics["val/accuracy"]
    assert (accuracy.mean, accuracy.std, accuracy.n) == (0.75, statistics.stdev(values), 3)
    assert summary.as_metrics() == {
        "folds": 3, "val/accuracy_mean": 0.75, "val/accuracy_std": 0.25, "objective_mean": 0.75, "objective_std": 0.25,
    }  # fmt: skip
    assert summary.line() == "3 folds · val accuracy 0.7500 ± 0.2500: split.folds=3"


def test_folds_that_did_not_finish_are_missed():
    (summary,) = fold_summaries(run(f"split.fold={i}", 0.5) for i in range(2))
    assert summary.line().startswith("only 2 of 3 folds · ")


@pytest.mark.parametrize(("maximize", "order"), [(True, ["lr=2", "lr=1"]), (False, ["lr=1", "lr=2"])])
def test_each_setting_of_the_other_keys_has_its_own_figures_and_the_best_comes_first(maximize, order):
    runs = [run(f"lr={rate} split.fold={fold}", rate / 4 + fold / 8) for rate in (1, 2) for fold in (0, 1)]
    summaries = fold_summaries(runs, maximize=maximize)
    assert [setting.overrides for setting in summaries] == order
    assert {setting.overrides: setting.metrics["objective"].mean for setting in summaries} == {
        "lr=1": 0.3125,
        "lr=2": 0.5625,
    }


def test_what_is_no_cross_validation_has_no_figures_over_folds():
    assert fold_summaries([run("seed=0", 0.5), run("seed=1", 0.6)]) == []
    assert fold_summaries([run("lr=1 split.fold=0", 0.5), run("lr=2 split.fold=0", 0.6)]) == []


def test_a_figure_that_a_fold_lacks_is_left_out_and_so_are_single_classes():
    one = run("split.fold=0", 0.5, **{"test/loss": 1.0, "val/class/cat/f1": 1.0, "val/macro_f1": math.nan})
    two = run("split.fold=1", 0.7, **{"val/class/cat/f1": 0.5, "val/macro_f1": 0.5})
    (summary,) = fold_summaries([one, two])
    assert set(summary.metrics) == {"val/accuracy", "objective"}
