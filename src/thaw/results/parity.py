"""Whether the engine that a run used and the network that it saves give the same probabilities."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MAX_DIFFERING_SHARE = 0.01  # share of images whose first class may differ
TIE_MARGIN = 0.01  # classes whose probabilities differ by less are equally likely: which comes first is no evidence
SAMPLE, LARGE_SAMPLE = 32, 512
MAX_SAMPLE_MACS = 2e11  # multiplications that a sample may take: about 2 s on 2 cores


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


def compare_sample(
    engine: npt.NDArray[np.float32],
    run_saved: Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float32]],
    seed: int,
    macs: float = math.inf,
) -> Parity:
    """Compare on a sample of the N images whose probabilities by the engine, (N, C), are known.

    run_saved: maps rows of `engine` to probabilities of the saved network, end to end. macs: multiplications that it
    takes for an image. The sample has 512 images; with a large network fewer, at least 32, and 512 if one differs.
    """
    order = np.random.default_rng(seed).permutation(len(engine))
    sample = int(np.clip(MAX_SAMPLE_MACS / max(macs, 1), SAMPLE, LARGE_SAMPLE)) // SAMPLE * SAMPLE
    rows = np.sort(order[:sample])
    parity = compare_probabilities(engine[rows], run_saved(rows))
    if parity.differ and len(engine) > sample and sample < LARGE_SAMPLE:
        rows = np.sort(order[:LARGE_SAMPLE])
        parity = compare_probabilities(engine[rows], run_saved(rows))
    return parity
