"""95 % intervals of shares and of means."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from thaw.analysis.figures import Share


def wilson(count: int, n: int) -> Share:
    """Return count / n with Wilson's 95 % interval (Wilson, 1927), all None for n = 0.

    Raises ValueError unless 0 <= count <= n.
    """
    return wilson_shares(np.array([count]), np.array([n]))[0]


def wilson_shares(counts: npt.NDArray[np.int64], totals: npt.NDArray[np.int64]) -> list[Share]:
    """Return `wilson` of each count (K,) and total (K,)."""
    from statsmodels.stats.proportion import proportion_confint  # takes seconds to import

    if (counts < 0).any() or (counts > totals).any():
        raise ValueError(f"expected counts from 0 to their totals, got {counts} of {totals}")
    low, high = proportion_confint(counts, np.maximum(totals, 1), alpha=0.05, method="wilson")
    return [
        Share(int(count) / int(n), float(from_), float(to)) if n else Share(None, None, None)
        for count, n, from_, to in zip(counts, totals, low, high, strict=True)
    ]


def mean_interval(values: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of a mean (Efron's percentiles of 9,999 resamples).

    Both ends are NaN for fewer than 2 values.
    Of three to five values, as of seeds or folds, it is too narrow: they hardly show how far others may lie.
    """
    from scipy.stats import bootstrap  # takes seconds to import

    sample = np.asarray(values, np.float64)
    if len(sample) < 2:
        return float("nan"), float("nan")
    interval = bootstrap(
        (sample,), np.mean, confidence_level=0.95, method="percentile", rng=np.random.default_rng(seed)
    ).confidence_interval
    return float(interval.low), float(interval.high)
