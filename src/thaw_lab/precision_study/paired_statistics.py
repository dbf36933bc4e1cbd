"""Paired comparisons of classifiers on the same images, and correlations of rankings."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

RESAMPLES = 4000


@dataclass(frozen=True)
class PairedDifference:
    """A difference of two accuracies with its 95 % interval by a bootstrap over images."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{100 * self.mean:+.2f} [{100 * self.low:+.2f}, {100 * self.high:+.2f}]"


def paired_difference(differences: list[npt.NDArray[np.float64]], seed: int = 0) -> PairedDifference:
    """Return the mean over data sets of the mean difference.

    differences: for each data set one number an image: correct in the one less correct in the other, averaged over the
    seeds in which the image was tested, as the seeds share their test images and are not independent. Images are drawn
    anew within each data set.
    """
    generator = np.random.default_rng(seed)
    means = np.zeros(RESAMPLES)
    for values in differences:
        for i in range(RESAMPLES):
            means[i] += values[generator.integers(0, len(values), len(values))].mean() / len(differences)
    low, high = np.quantile(means, (0.025, 0.975))
    return PairedDifference(float(np.mean([values.mean() for values in differences])), float(low), float(high))


def mcnemar(first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_]) -> tuple[int, int, float]:
    """Return how many images only the first and only the second has right, and the exact two-sided p."""
    one, other = int((first & ~second).sum()), int((second & ~first).sum())
    return one, other, float(stats.binomtest(one, one + other).pvalue) if one + other else 1.0


def rank_correlations(first: npt.ArrayLike, second: npt.ArrayLike) -> tuple[float, float]:
    """Return Spearman's rho and Kendall's tau-b of two lists of scores."""
    return float(stats.spearmanr(first, second).statistic), float(stats.kendalltau(first, second).statistic)
