"""Figures of settings on planted predictions: counts, means over seeds, and tests of pairs."""

import numpy as np
import pytest

from thaw.analysis import paired
from thaw.analysis.intervals import mean_interval, wilson
from thaw.compare.run_comparison import compare_runs
from thaw.compare.setting_figures import BOOTSTRAP, RANGE, spread_of

from .made_runs import images, made_run, rights


def planted(only_a: int, only_b: int, both: int, neither: int):
    """Two runs with these counts of images that only one, both or neither has right."""
    a = [True] * only_a + [False] * only_b + [True] * both + [False] * neither
    b = [False] * only_a + [True] * only_b + [True] * both + [False] * neither
    return [made_run(a, run_id="a" * 32, recipe="bottleneck", seconds=10.0), made_run(b, run_id="b" * 32, seconds=90.0)]


def test_a_pair_has_the_planted_counts_and_the_library_s_p() -> None:
    comparison = compare_runs(planted(3, 14, 60, 23))
    (pair,) = comparison.pairs
    found = pair.difference
    assert (pair.a, pair.b, found.only_a, found.only_b, found.images) == (0, 1, 3, 14, 100)
    assert found.difference == pytest.approx(0.11)
    assert found.p == found.corrected_p == pytest.approx(0.01273, abs=1e-5)  # binomial, 3 of 17, two-sided
    assert [row.accuracy for row in comparison.rows] == [wilson(63, 100), wilson(74, 100)]
    assert comparison.ranked == [1, 0]
    assert comparison.disagreements.total == 17


def test_the_first_of_a_pair_is_the_cheaper_one_wherever_it_is_named() -> None:
    comparison = compare_runs(planted(3, 14, 60, 23)[::-1])
    (pair,) = comparison.pairs
    assert (comparison.rows[pair.a].label, comparison.rows[pair.b].label) == ("bottleneck", "finetune")
    assert pair.difference.difference == pytest.approx(0.11)


def test_macro_f1_and_loss_are_those_of_the_compared_images() -> None:
    """Two classes, of which "dog" is said of every image that is wrong."""
    test = images(3, "cat") + images(2, "dog")
    run = made_run(rights("11011"), run_id="a", test=test, confidence=[0.8] * 5)
    other = made_run(rights("11111"), run_id="b", recipe="scratch", test=test)
    row = compare_runs([run, other]).rows[0]
    assert row.macro_f1 == pytest.approx(np.mean([2 * 2 / 5, 2 * 2 / 5]))
    assert row.loss == pytest.approx(-np.mean(np.log([0.8, 0.8, 0.1, 0.8, 0.8])))


def test_seeds_are_aggregated_to_mean_deviation_and_interval() -> None:
    texts = ["1110000000", "1111100000", "1111110000", "1111111100"]
    seeds = [made_run(rights(text), run_id=f"a{i}", seed=i, seconds=10.0 * (i + 1)) for i, text in enumerate(texts)]
    other = made_run(rights("1111111111"), run_id="b", recipe="scratch")
    comparison = compare_runs([*seeds, other])
    row = comparison.rows[0]
    accuracies = [0.3, 0.5, 0.6, 0.8]
    assert (row.label, row.repeats, row.seconds, row.own_images) == ("finetune", "4 seeds", 25.0, False)
    assert row.spread is not None
    assert row.spread.mean == row.accuracy.value == pytest.approx(0.55)
    assert row.spread.deviation == pytest.approx(np.std(accuracies, ddof=1))
    assert (row.spread.low, row.spread.high) == pytest.approx(mean_interval(accuracies))
    assert row.spread.interval == BOOTSTRAP
    (pair,) = comparison.pairs
    assert pair.difference.test == paired.PERMUTATION
    assert pair.difference.difference == pytest.approx(0.45)


@pytest.mark.parametrize(("values", "deviation"), [([0.5], None), ([0.5, 0.7], 0.02**0.5), ([0.4, 0.5, 0.6], 0.1)])
def test_of_a_few_runs_the_lowest_and_the_highest_are_given(values, deviation) -> None:
    spread = spread_of(values)
    assert (spread.low, spread.high, spread.interval) == (min(values), max(values), RANGE)
    assert spread.deviation == pytest.approx(deviation)


def test_many_pairs_are_corrected() -> None:
    runs = [made_run(rights("1" * n + "0" * (40 - n)), run_id=str(n), rate=n, seconds=n) for n in (10, 20, 30)]
    comparison = compare_runs(runs)
    ps = [pair.difference.p for pair in comparison.pairs]
    assert ps == pytest.approx([2 * 0.5**10, 2 * 0.5**20, 2 * 0.5**10])
    assert [pair.difference.corrected_p for pair in comparison.pairs] == pytest.approx(paired.holm(ps))


def test_a_run_without_predictions_has_its_figures_and_no_test() -> None:
    logged = {"test/accuracy": 0.5, "test/macro_f1": 0.4, "test/loss": 1.5, "val/accuracy": 0.6}
    figures_only = made_run(None, run_id="c", recipe="scratch", test=images(100), metrics=logged)
    comparison = compare_runs([*planted(3, 14, 60, 23), figures_only])
    row = comparison.rows[2]
    assert (row.own_images, row.macro_f1, row.loss, row.val_accuracy) == (True, 0.4, 1.5, 0.6)
    assert row.accuracy == wilson(50, 100)
    assert [(pair.a, pair.b) for pair in comparison.pairs] == [(0, 1)]
    assert any("Without predictions, and so not tested against others: scratch." in text for text in comparison.remarks)


def test_remarks_say_what_the_seconds_and_the_training_leave_out() -> None:
    a, b = planted(1, 1, 1, 1)
    cached = made_run(rights("1111"), run_id="c", recipe="scratch", training_images=7)
    object.__setattr__(cached.cost, "all_cached", True)
    remarks = compare_runs([a, b, cached]).remarks
    assert "Activations came from the cache, so that their computing is not among the seconds: scratch." in remarks
    assert "The training images differ in number: bottleneck 100, finetune 100, scratch 7." in remarks
