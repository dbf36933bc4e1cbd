"""What balances unequal classes: weights of the loss, and epochs in which all classes are equally frequent."""

import numpy as np
import numpy.typing as npt

from thaw.data.catalog import IntArray


def class_weights(counts: npt.NDArray[np.int64]) -> dict[int, float]:
    """Return the weight of each class's loss, N / (C * count) as in scikit-learn, from its training images (C,)."""
    return {i: int(counts.sum()) / (len(counts) * int(count)) for i, count in enumerate(counts)}


def sample_balanced(indices: IntArray, labels: npt.NDArray[np.int32], rng: np.random.Generator) -> IntArray:
    """Draw N of the N images, int64 (N,) in any order, so that the counts of classes differ by one at most.

    labels: int32 (N,) of the images at `indices`. Counts of a class's images differ by one at most: images of rare
    classes repeat evenly, and of frequent classes another part is drawn each time.
    """
    classes = np.unique(labels)
    each, over = divmod(len(indices), len(classes))
    more = rng.permutation(classes)[:over]
    drawn = []
    for label in classes:
        of_class = rng.permutation(indices[labels == label])
        drawn.append(np.resize(of_class, each + (label in more)))  # repeats them from the start
    return rng.permutation(np.concatenate(drawn))


def prior_occurrences(drawn: IntArray) -> IntArray:
    """Return how often each image occurs before its position, int64 (N,): 0 at its first."""
    order = np.argsort(drawn, kind="stable")
    begins = np.flatnonzero(np.diff(drawn[order], prepend=drawn[order][:1] - 1))
    count = np.empty(len(drawn), np.int64)
    count[order] = np.arange(len(drawn)) - np.repeat(begins, np.diff(begins, append=len(drawn)))
    return count
