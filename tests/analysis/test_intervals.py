import math

import numpy as np
import pytest

from thaw.analysis.figures import Share
from thaw.analysis.intervals import mean_interval, wilson, wilson_shares


@pytest.mark.parametrize(
    ("count", "n", "low", "high"),
    [
        (8, 10, 0.4902, 0.9433),
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (81, 263, 0.2553, 0.3662),  # Newcombe, Statistics in Medicine 17 (1998), table I, method 3
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_intervals_are_those_of_published_tables(count: int, n: int, low: float, high: float) -> None:
    share = wilson(count, n)
    assert share.value == count / n
    assert (share.low, share.high) == pytest.approx((low, high), abs=5e-5)


def test_nothing_counted_has_no_share() -> None:
    assert wilson(0, 0) == Share(None, None, None)
    assert wilson_shares(np.array([0, 1]), np.array([0, 2])) == [Share(None, None, None), wilson(1, 2)]


@pytest.mark.parametrize(("count", "n"), [(3, 2), (-1, 2)])
def test_an_impossible_count_is_an_error(count: int, n: int) -> None:
    with pytest.raises(ValueError, match="counts"):
        wilson(count, n)


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution_for_many_values() -> None:
    values = np.random.default_rng(1).normal(3.0, 2.0, 400)
    error = 1.96 * values.std(ddof=1) / math.sqrt(400)
    assert mean_interval(values.tolist()) == pytest.approx((values.mean() - error, values.mean() + error), abs=0.02)


def test_the_interval_of_a_mean_is_the_same_each_time() -> None:
    values = np.random.default_rng(1).random(40).tolist()
    assert mean_interval(values, seed=3) == mean_interval(values, seed=3)
    assert mean_interval(values, seed=3) != mean_interval(values, seed=4)


def test_few_and_equal_values_have_an_interval_without_warnings() -> None:
    assert mean_interval([0.5, 0.5, 0.5]) == (0.5, 0.5)
    assert np.isnan(mean_interval([0.5])).all()
    assert np.isnan(mean_interval([])).all()
