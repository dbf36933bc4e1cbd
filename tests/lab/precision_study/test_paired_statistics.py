"""Paired comparisons of classifiers."""

import numpy as np
import pytest

from thaw_lab.precision_study.paired_statistics import mcnemar, paired_difference, rank_correlations


def test_an_interval_covers_no_difference_where_there_is_none() -> None:
    """As many images are won as lost."""
    difference = paired_difference([np.array([1.0, -1.0] * 20 + [0.0] * 160)])
    assert difference.mean == 0
    assert difference.low < 0 < difference.high
    assert difference.high == pytest.approx(1.96 * np.sqrt(40 / 200 / 200), rel=0.1)


def test_data_sets_count_alike_whatever_their_size() -> None:
    assert paired_difference([np.zeros(1000), np.full(10, 0.5)]).mean == 0.25


def test_mcnemar_counts_the_images_on_which_two_classifiers_differ() -> None:
    first = np.array([True] * 8 + [False] * 2 + [True] * 90)
    second = np.array([False] * 8 + [True] * 2 + [True] * 90)
    one, other, p = mcnemar(first, second)
    assert (one, other) == (8, 2)
    assert p == pytest.approx(2 * (1 + 10 + 45) / 2**10)
    assert mcnemar(first, first) == (0, 0, 1.0)


def test_a_ranking_agrees_with_itself_and_contradicts_its_reverse() -> None:
    scores = [0.1, 0.2, 0.4, 0.3]
    assert rank_correlations(scores, [10 * score for score in scores]) == pytest.approx((1, 1))
    assert rank_correlations(scores, [-score for score in scores]) == pytest.approx((-1, -1))
