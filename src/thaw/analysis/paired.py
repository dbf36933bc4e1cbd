"""Which of two classifiers is better, and whether that is luck: tests on the same images."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

BoolArray: TypeAlias = npt.NDArray[np.bool_]
FloatArray: TypeAlias = npt.NDArray[np.float64]

SIGNIFICANT = 0.05  # p below which a difference is not taken for luck
Z95 = 1.959963984540054  # of a 95 % interval: the normal distribution's 0.975 quantile
MCNEMAR, PERMUTATION = "McNemar, exact", "permutation"  # values of `PairedDifference.test`
RESAMPLES = 99_999  # of the bootstrap and the permutations: p is then a multiple of 1 / 100,000


@dataclass(frozen=True)
class PairedDifference:
    """The accuracy of b less that of a on the same images, with a 95 % interval and the p of "no difference".

    corrected_p: p with the correction for all pairs that are tested together. test: MCNEMAR or PERMUTATION. only_a,
    only_b: images that only one of them has right; None where they are means of several runs.
    """

    images: int
    difference: float
    low: float
    high: float
    p: float
    corrected_p: float
    test: str
    only_a: int | None = None
    only_b: int | None = None

    @property
    def significant(self) -> bool:
        """Whether luck in the choice of the images is no likely reason, after the correction."""
        return self.corrected_p < SIGNIFICANT


def mcnemar(right_a: BoolArray, right_b: BoolArray) -> float:
    """Return the two-sided p of McNemar's exact test, for which images each of two classifiers has right, (N,) each.

    Only the images that one of them has right count (McNemar 1947); the exact test holds for few of them too
    (Dietterich 1998, "Approximate statistical tests for comparing supervised classification learning algorithms").
    """
    from statsmodels.stats.contingency_tables import mcnemar as exact_test

    table = [[int((right_a & right_b).sum()), int((right_a & ~right_b).sum())]]
    table += [[int((~right_a & right_b).sum()), int((~right_a & ~right_b).sum())]]
    return float(exact_test(table, exact=True).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values that hold for all tests together (Holm 1979), in the same order; at most 1 each."""
    from statsmodels.stats.multitest import multipletests

    return [float(p) for p in multipletests(p_values, method="holm")[1]] if p_values else []


def score_interval(only_a: int, only_b: int, images: int) -> tuple[float, float]:
    """Return the 95 % interval of accuracy b less accuracy a, from the images that only one of them has right.

    Tango's score interval (1998, Statistics in Medicine 17, 891-908): the differences that a score test does not
    reject, as Wilson's is of one share. It keeps its 95 % with few images too, and where both agree on all of them
    (Fagerland, Lydersen and Laake 2014, Statistics in Medicine 33, 2850-2875).
    """
    from scipy.optimize import brentq

    def excess(difference: float, z: float) -> float:
        # The score statistic less z, times its deviation, which is 0 at -1 and 1: no division, no pole.
        b = -only_a - only_b + (2 * images - only_b + only_a) * difference
        c = -only_a * difference * (1 - difference)
        share_a = (math.sqrt(max(0.0, b * b - 8 * images * c)) - b) / (4 * images)
        variance = images * (2 * share_a + difference * (1 - difference))
        return only_b - only_a - images * difference - z * math.sqrt(max(0.0, variance))

    estimate, tiny = (only_b - only_a) / images, 1e-9  # the deviation may be 0 at the estimate itself
    low = -1.0 if estimate <= -1 else brentq(excess, -1 + tiny, estimate - tiny, args=(Z95,))
    high = 1.0 if estimate >= 1 else brentq(excess, estimate + tiny, 1 - tiny, args=(-Z95,))
    return float(low), float(high)


def compare_all(shares: Sequence[FloatArray], seed: int = 0) -> dict[tuple[int, int], PairedDifference]:
    """Return the comparison of every pair (a, b), a < b, with Holm's correction for all of them.

    Args:
        shares: Of each classifier, (N,) each, for the same images in the same order: 1.0 for an image that it has
            right, 0.0 for one that it has not. Of a setting of several runs: the share of the runs that have it right.
        seed: Of the resampling where there are such shares.
    """
    pairs = {(a, b): compare_shares(shares[a], shares[b], seed) for a, b in combinations(range(len(shares)), 2)}
    corrected = holm([pair.p for pair in pairs.values()])
    return {key: replace(pair, corrected_p=p) for (key, pair), p in zip(pairs.items(), corrected, strict=True)}


def compare_shares(shares_a: FloatArray, shares_b: FloatArray, seed: int = 0) -> PairedDifference:
    """Compare two classifiers, as `compare_all`: exactly where each has an image right or not, else by resampling."""
    if all(np.isin(shares, (0.0, 1.0)).all() for shares in (shares_a, shares_b)):
        return _compare_right(shares_a > 0.5, shares_b > 0.5)
    return _compare_means(np.asarray(shares_b, np.float64) - np.asarray(shares_a, np.float64), seed)


def _compare_right(right_a: BoolArray, right_b: BoolArray) -> PairedDifference:
    only_a, only_b, images = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum()), len(right_a)
    low, high = score_interval(only_a, only_b, images)
    p, difference = mcnemar(right_a, right_b), (only_b - only_a) / images
    return PairedDifference(images, difference, low, high, p, p, MCNEMAR, only_a, only_b)


def _compare_means(differences: FloatArray, seed: int) -> PairedDifference:
    """Compare settings of several runs by the difference of their shares at each image, (N,).

    p: of a permutation test that exchanges the two settings at each image, which of single runs would be McNemar's. As
    resampling finds no p below 1 / (RESAMPLES + 1), Hoeffding's bound (1963, theorem 2) is taken where it is lower: it
    survives a correction for many pairs. The interval is a bootstrap over images. Both say what other images might
    give, not what other seeds might. Few values occur, so that drawing how often each does is drawing images.
    """
    count, mean, generator = len(differences), float(differences.mean()), np.random.default_rng(seed)
    moved = differences[differences != 0]  # the others have no sign to exchange
    if len(moved) < 2:  # there is nothing to resample: as few as these differ by luck
        low, high = score_interval(0, 0, count)
        return PairedDifference(count, mean, min(low, mean), max(high, mean), 1.0, 1.0, PERMUTATION)
    sizes, images = np.unique(np.abs(moved), return_counts=True)
    exchanged = (2 * generator.binomial(images, 0.5, (RESAMPLES, len(images))) - images) @ sizes
    as_far = int((np.abs(exchanged) >= abs(moved.sum()) - 1e-9).sum())
    bound = 2 * math.exp(-(moved.sum() ** 2) / (2 * (moved**2).sum()))
    p = min((as_far + 1) / (RESAMPLES + 1), bound)
    values, images = np.unique(differences, return_counts=True)
    means = generator.multinomial(count, images / count, RESAMPLES) @ values / count
    low, high = np.quantile(means, (0.025, 0.975))
    return PairedDifference(count, mean, float(low), float(high), p, p, PERMUTATION)
