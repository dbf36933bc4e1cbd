"""Whether the engine that a run used and the network that it saves give the same probabilities."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MAX_DIFFERING_SHARE = 0.01  # share of images whose first class may differ
TIE_MARGIN = 0.01  # classes whose probabilities differ by less are equally likely: which comes first is no evidence
LARGE_SAMPLE = 512  # images at most
MAX_CHUNK = 64  # images compared at once
# So many images are enough where probabilities are this close: far too close for another first class that is no tie.
ENOUGH_IMAGES, CLOSE_PROBABILITIES = 32, TIE_MARGIN / 10
MIN_SECONDS, MAX_RUN_SHARE = 3.0, 0.03  # that the comparison may take, the larger of the two


@dataclass(frozen=True)
class Parity:
    """A comparison of probabilities. Fields are keys of result.json and, behind `parity/`, of metrics: not renamed.

    images: compared. differ: how many of them have another first class, near ties left out.
    """

    images: int
    differ: int
    max_probability_difference: float
    max_logit_difference: float

    @property
    def failed(self) -> bool:
        """Whether too many differ; a single one is no evidence, as two classes may be almost equally likely."""
        return self.differ > max(1, MAX_DIFFERING_SHARE * self.images)

    def summary(self) -> str:
        """Return the comparison as one printed line."""
        return (
            f"parity: {self.images - self.differ} of {self.images} images get the same class from the kept "
            f"network end to end; probabilities differ by at most {self.max_probability_difference:.2g}, "
            f"logits by {self.max_logit_difference:.2g}"
        )


def feature_cache_bytes(images: int, features: int) -> int:
    """Return the bytes of the cache that the float32 features of so many images take."""
    return images * (4 * features + 128)


def compare_probabilities(engine: npt.NDArray[np.float32], saved: npt.NDArray[np.float32]) -> Parity:
    """Compare the engine's probabilities with the saved network's, (N, C) both.

    Logits are log-probabilities less their mean, which a softmax does not see. Probabilities under 1e-4 are cut off:
    classes that a network rules out would dominate otherwise. NaN differs from every number.
    """
    rows, first_class = np.arange(len(saved)), engine.argmax(axis=1)
    lost = np.isfinite(saved).all(axis=1) & ~np.isfinite(engine).all(axis=1)
    differ = int(((saved.max(axis=1) - saved[rows, first_class] > TIE_MARGIN) | lost).sum())
    logits = float(np.abs(_logits(engine) - _logits(saved)).max())
    return Parity(len(engine), differ, float(np.abs(engine - saved).max()), logits)


def _logits(probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    logs = np.log(np.clip(probabilities.astype(np.float64), 1e-4, 1))
    return np.asarray(logs - logs.mean(axis=1, keepdims=True))


@dataclass(frozen=True)
class SampleLimits:
    """How many images are compared.

    seconds: that the comparison may take while nothing casts doubt on the engine. chunk: so many images are compared at
    least, and a multiple of it, as the saved network runs them together. known: so many images at the start of the
    order cost nothing, as an earlier run has computed them: they are enough. images: exactly so many, as in a run that
    is reproduced; None to decide by the others.
    """

    seconds: float = math.inf
    chunk: int = 8
    known: int = 0
    images: int | None = None


def seconds_for_parity(run_seconds: float) -> float:
    """Return the seconds that the comparison of a run may take, which has taken `run_seconds` so far."""
    return max(MIN_SECONDS, MAX_RUN_SHARE * run_seconds)


def sample_order(images: int, seed: int) -> npt.NDArray[np.int64]:
    """Return the order in which images are compared: rows of the large sample, the same for a seed."""
    return np.random.default_rng(seed).permutation(images)[:LARGE_SAMPLE]


def compare_sample(
    engine: npt.NDArray[np.float32],
    run_saved: Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float32]],
    order: npt.NDArray[np.int64],
    limits: SampleLimits,
    clock: Callable[[], float] = time.monotonic,
) -> Parity:
    """Compare chunk by chunk in this order, until the time is used up or more images would not change the verdict.

    While more than 1 % of the compared images differ, the time does not count: the sample grows until it is fewer, or
    until the large sample cannot pass any more.

    Args:
        engine: probabilities by the engine, (N, C).
        run_saved: maps rows of `engine` to probabilities of the saved network, end to end.
        order: as `sample_order` returns it.
        limits: how many images are compared.
        clock: returns seconds.
    """
    if limits.images is not None:
        rows = np.sort(order[: limits.images])
        return compare_probabilities(engine[rows], run_saved(rows))
    started, size = clock(), max(limits.chunk, limits.known)
    compared, saved = order[:0], engine[:0]
    while True:
        chunk_started = clock()
        rows = np.sort(order[len(compared) : len(compared) + size])  # as images lie in files and in the cache
        compared, saved = np.concatenate([compared, rows]), np.concatenate([saved, run_saved(rows)])
        parity = compare_probabilities(engine[compared], saved)
        now = clock()
        seconds_left = 0.0 if limits.known >= limits.chunk else limits.seconds - (now - started)
        affordable = min(seconds_left * len(rows) / max(now - chunk_started, 1e-9), LARGE_SAMPLE)
        size = _next_chunk(parity, len(order), int(affordable) // limits.chunk * limits.chunk)
        if size <= 0:
            return parity


def _next_chunk(parity: Parity, most: int, affordable: int) -> int:
    """Return how many images to compare next, of `most` in all; 0 when the verdict stands."""
    size = min(parity.images, MAX_CHUNK, most - parity.images)
    if parity.differ > max(1, MAX_DIFFERING_SHARE * most):
        return 0  # fails, whatever the rest gives
    if parity.differ > MAX_DIFFERING_SHARE * parity.images:
        return size
    if parity.images >= ENOUGH_IMAGES and parity.max_probability_difference <= CLOSE_PROBABILITIES:
        return 0
    return min(size, affordable)
