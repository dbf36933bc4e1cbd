"""Two classifiers on the same images, against textbooks and libraries."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats import contingency_tables

from thaw.analysis import paired


def shares(both: int, only_a: int, only_b: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    """What two classifiers have right, 1.0 or 0.0 an image, for the four counts of their table."""
    counts = (both, only_a, only_b, neither)
    return np.repeat([1.0, 1.0, 0.0, 0.0], counts), np.repeat([1.0, 0.0, 1.0, 0.0], counts)


# Agresti, Categorical Data Analysis (2002), chapter 10: 1,600 voters asked twice. Fagerland, Lydersen and Laake (2014),
# airways of 21 children before and after a transplantation.
VOTERS, CHILDREN = (794, 150, 86, 570), (1, 1, 7, 12)


@pytest.mark.parametrize(("table", "p"), [(VOTERS, 3.716e-5), (CHILDREN, 0.0703)])
def test_mcnemar_is_the_library_s_and_the_textbook_s(table, p) -> None:
    a, b = (side > 0.5 for side in shares(*table))
    both, only_a, only_b, neither = table
    expected = contingency_tables.mcnemar([[both, only_a], [only_b, neither]], exact=True).pvalue
    assert paired.mcnemar(a, b) == expected == pytest.approx(p, rel=1e-3)
    assert paired.mcnemar(b, a) == expected


def test_two_that_agree_on_all_images_do_not_differ() -> None:
    a, b = shares(15, 0, 0, 5)
    found = paired.compare_shares(a, b)
    assert (found.difference, found.p, found.significant) == (0.0, 1.0, False)
    half = paired.Z95**2 / (20 + paired.Z95**2)  # the score test's bound on a share that was never seen
    assert (found.low, found.high) == (pytest.approx(-half), pytest.approx(half))


@pytest.mark.parametrize(
    ("table", "difference", "low", "high"),
    [
        (CHILDREN, 0.286, 0.026, 0.517),  # as published there, with the sign turned
        (VOTERS, -0.040, -0.059, -0.021),  # as Wald's, which is the same with so many
        ((0, 0, 20, 0), 1.0, 0.678, 1.0),
        ((0, 20, 0, 0), -1.0, -1.0, -0.678),
    ],
)  # fmt: skip
def test_the_interval_is_the_textbook_s(table, difference, low, high) -> None:
    found = paired.compare_shares(*shares(*table))
    assert (found.difference, found.low, found.high) == pytest.approx((difference, low, high), abs=5e-4)
    assert (found.images, found.only_a, found.only_b) == (sum(table), table[1], table[2])


def test_the_interval_holds_the_difference_and_turns_with_it() -> None:
    for images in (1, 2, 5, 9):
        for only_a in range(images + 1):
            for only_b in range(images + 1 - only_a):
                low, high = paired.score_interval(only_a, only_b, images)
                assert -1 <= low <= (only_b - only_a) / images <= high <= 1
                assert paired.score_interval(only_b, only_a, images) == pytest.approx((-high, -low), abs=1e-7)


def test_the_interval_is_what_the_score_test_does_not_reject() -> None:
    """McNemar's test without exactness is the score test of a difference of 0."""
    for only_a, only_b in [(10, 21), (10, 22), (10, 23), (10, 24), (40, 58), (40, 60)]:
        z = (only_b - only_a) / (only_a + only_b) ** 0.5
        low, _ = paired.score_interval(only_a, only_b, 500)
        assert (low > 0) == (z > paired.Z95)


def test_holm_s_correction_is_that_of_a_worked_example() -> None:
    """Sorted, the first counts for all four tests, the next for three, and none is less than the one before."""
    assert paired.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert paired.holm([0.9, 0.8]) == [1.0, 1.0]
    assert paired.holm([]) == []


def test_every_pair_is_compared_and_corrected_for_all() -> None:
    truth = np.ones(60)
    a, b, c = truth.copy(), truth.copy(), truth.copy()
    a[:20], b[:12], c[:11] = 0, 0, 0
    found = paired.compare_all([a, b, c])
    assert list(found) == [(0, 1), (0, 2), (1, 2)]
    assert found[0, 1].p == pytest.approx(2 * 0.5**8)
    assert [pair.corrected_p for pair in found.values()] == pytest.approx([2 * 2 * 0.5**8, 3 * 2 * 0.5**9, 1.0])
    assert [pair.significant for pair in found.values()] == [True, True, False]
    assert paired.compare_all([a]) == {}


def test_several_runs_of_a_setting_are_compared_by_their_shares() -> None:
    """With the same runs twice, it is McNemar's question: the exact p is that of the signs."""
    rng = np.random.default_rng(1)
    a, b = shares(100, 4, 11, 20)
    twice = [np.mean([side, side], axis=0) for side in (a, b)]
    assert paired.compare_shares(*twice).test == paired.MCNEMAR
    half = rng.random(len(a)) < 0.5
    softer = np.where((a != b) & half, 0.5, a)  # one of two runs has these right
    found = paired.compare_shares(softer, b)
    assert found.test == paired.PERMUTATION
    assert (found.only_a, found.only_b) == (None, None)
    assert found.difference == pytest.approx(float((b - softer).mean()))
    moved = (b - softer)[b != softer]
    exact = stats.permutation_test((moved,), np.sum, permutation_type="samples", n_resamples=np.inf).pvalue
    assert found.p == pytest.approx(exact, abs=0.003)
    by_library = stats.bootstrap((b - softer,), np.mean, method="percentile", rng=np.random.default_rng(0))
    low, high = by_library.confidence_interval
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.006)
    assert found == paired.compare_shares(softer, b), "the same numbers each time"


def test_a_certain_difference_of_settings_survives_the_correction_for_many_pairs() -> None:
    """Resampling alone ends at 1 of 100,000."""
    worse, better = np.zeros(100), np.full(100, 0.5)
    assert paired.compare_shares(worse, better).p == pytest.approx(2 * np.exp(-50))


@pytest.mark.parametrize("differences", [[0.5], [0.5, 0.0, 0.0]])
def test_one_image_that_moves_is_luck(differences: list[float]) -> None:
    found = paired.compare_shares(np.zeros(len(differences)), np.array(differences))
    assert (found.p, found.test) == (1.0, paired.PERMUTATION)
    assert found.difference == pytest.approx(np.mean(differences))
    assert found.low < found.difference < found.high


def test_shares_that_agree_do_not_differ() -> None:
    found = paired.compare_shares(np.array([0.5, 1.0]), np.array([0.5, 1.0]))
    assert (found.difference, found.p, found.test) == (0.0, 1.0, paired.PERMUTATION)
