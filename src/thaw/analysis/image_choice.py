"""Which images a gallery shows, as indices into a split; equal images come in the order of the split.

probabilities: (N, C). labels: (N,). limit: at most so many; None for all.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Labels = npt.NDArray[np.integer]


def confident_mistakes(probabilities: Floats, labels: Labels, limit: int | None = None) -> list[int]:
    """Return the images whose predicted class is wrong, the most probable wrong class first."""
    wrong = np.nonzero(probabilities.argmax(axis=1) != labels)[0]
    return _first(wrong, limit, -probabilities[wrong].max(axis=1))


def uncertain_hits(probabilities: Floats, labels: Labels, limit: int | None = None) -> list[int]:
    """Return the images whose predicted class is right, the least probable first."""
    right = np.nonzero(probabilities.argmax(axis=1) == labels)[0]
    return _first(right, limit, probabilities[right].max(axis=1))


def typical_of_classes(probabilities: Floats, labels: Labels, features: Floats | None = None) -> list[int]:
    """Return one image of each class that has any, in the order of the classes.

    It is the one nearest to the mean of its class in `features` (N, D); without features, the one whose true class is
    the most probable.
    """
    if features is None:
        distance = -probabilities[np.arange(len(labels)), labels]
    else:
        means = np.zeros((int(labels.max(initial=0)) + 1, features.shape[1]))
        for label in np.unique(labels):
            means[label] = features[labels == label].mean(axis=0, dtype=np.float64)
        distance = np.square(features - means[labels]).sum(axis=1)
    by_class = np.lexsort((distance, labels))
    _, first = np.unique(labels[by_class], return_index=True)
    return [int(i) for i in by_class[first]]


def suspect_labels(probabilities: Floats, labels: Labels, limit: int | None = None) -> list[int]:
    """Return the images whose label is likely wrong, the least probable label first.

    Confident learning (Northcutt et al., JAIR 2021): an image counts as of the most probable class among those whose
    probability is at least the mean that images labelled so have of it. It is suspect if that is neither its label nor
    its label the predicted class. A class without images is never the likely one. The classifier must not have been
    trained on these images.
    """
    own = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    images = np.bincount(labels, minlength=probabilities.shape[1])
    sums = np.bincount(labels, weights=own, minlength=probabilities.shape[1])
    thresholds = np.where(images > 0, sums / np.maximum(images, 1), np.inf)
    # Rounding must not put an image below the mean of its equals.
    confident = np.where(probabilities >= thresholds - 1e-6, probabilities, -1.0)
    likely = confident.argmax(axis=1)
    known = confident.max(axis=1) >= 0
    suspects = np.nonzero(known & (likely != labels) & (probabilities.argmax(axis=1) != labels))[0]
    return _first(suspects, limit, own[suspects], -confident[suspects].max(axis=1))


def _first(indices: npt.NDArray[np.intp], limit: int | None, *keys: Floats) -> list[int]:
    """Return the first `limit` of `indices`, by `keys`, the first of which matters most; equal ones stay in order."""
    return [int(i) for i in indices[np.lexsort(keys[::-1])][:limit]]
