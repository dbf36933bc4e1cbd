"""Whether two ways to the same probabilities agree: the fast one that a run used, and the network that it keeps."""

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
    """images: compared. differs: of those, how many have another first class, near ties left out.

    probability, logit: the largest differences of both.
    """

    images: int
    differs: int
    probability: float
    logit: float

    @property
    def failed(self) -> bool:
        """One image alone is no evidence: two classes may be equally likely to the last bit but one."""
        return self.differs > max(1, MAX_DIFFERING_SHARE * self.images)


def feature_cache_bytes(images: int, features: int) -> int:
    """Bytes of the cache that the features of so many images take when they are kept, float32."""
    return images * (4 * features + 128)


def compare_probabilities(fast: npt.NDArray[np.float32], kept: npt.NDArray[np.float32]) -> Parity:
    """Compare probabilities (N, C) with probabilities (N, C).

    Logits are log-probabilities less their mean, which a softmax does not see. Probabilities under 1e-4 are cut off:
    what a network is sure not to see would drown the rest. What is no number differs from every number.
    """
    rows, theirs = np.arange(len(kept)), fast.argmax(axis=1)
    lost = np.isfinite(kept).all(axis=1) & ~np.isfinite(fast).all(axis=1)
    differs = int(((kept.max(axis=1) - kept[rows, theirs] > TIE_MARGIN) | lost).sum())
    probability = float(np.abs(fast - kept).max())
    return Parity(len(fast), differs, probability, float(np.abs(_logits(fast) - _logits(kept)).max()))


def _logits(probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    logs = np.log(np.clip(probabilities.astype(np.float64), 1e-4, 1))
    return np.asarray(logs - logs.mean(axis=1, keepdims=True))


def compare_sample(
    fast: npt.NDArray[np.float32],
    run_kept: Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float32]],
    seed: int,
    macs: float = math.inf,
) -> Parity:
    """Compare on a sample of the N images whose `fast` probabilities (N, C) are known.

    run_kept: rows of `fast` -> probabilities of the kept network, end to end. macs: multiplications it takes for an
    image; 512 images are compared, of large networks fewer, but 32 and, where any of those differs, 512 after all.
    """
    order = np.random.default_rng(seed).permutation(len(fast))
    sample = int(np.clip(MAX_SAMPLE_MACS / max(macs, 1), SAMPLE, LARGE_SAMPLE)) // SAMPLE * SAMPLE
    rows = np.sort(order[:sample])
    found = compare_probabilities(fast[rows], run_kept(rows))
    if found.differs and len(fast) > sample and sample < LARGE_SAMPLE:
        rows = np.sort(order[:LARGE_SAMPLE])
        found = compare_probabilities(fast[rows], run_kept(rows))
    return found
