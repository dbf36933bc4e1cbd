"""An epoch in which every class is as frequent as the others."""

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


def sample_balanced(indices: Ints, labels: npt.NDArray[np.int32], rng: np.random.Generator) -> Ints:
    """Draw as many images as there are, int64 (N,) in any order, so that classes are equally frequent within one image.

    labels: int32 (N,) of the images at `indices`. Of a class every image comes as often as any other or once more: the
    rare repeat evenly, of the frequent a part comes, another one each time.
    """
    classes = np.unique(labels)
    each, over = divmod(len(indices), len(classes))
    more = rng.permutation(classes)[:over]
    drawn = []
    for label in classes:
        own = rng.permutation(indices[labels == label])
        drawn.append(np.resize(own, each + (label in more)))  # repeats `own` from its start
    return rng.permutation(np.concatenate(drawn))


def prior_occurrences(drawn: Ints) -> Ints:
    """Return how often each image came before its place, int64 (N,): 0 where it comes first."""
    order = np.argsort(drawn, kind="stable")
    begins = np.flatnonzero(np.diff(drawn[order], prepend=drawn[order][:1] - 1))
    count = np.empty(len(drawn), np.int64)
    count[order] = np.arange(len(drawn)) - np.repeat(begins, np.diff(begins, append=len(drawn)))
    return count
