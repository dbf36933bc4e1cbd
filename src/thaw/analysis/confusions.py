"""What a confusion matrix says: figures of each class, and which classes are taken for which."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from thaw.analysis.figures import ClassFigures, ConfusedPair, Share
from thaw.analysis.intervals import wilson_shares

Counts = npt.NDArray[np.int64]


def confusion_matrix(labels: npt.NDArray[np.integer], predicted: npt.NDArray[np.integer], classes: int) -> Counts:
    """Return int64 (C, C), rows true, columns predicted classes, of `labels` (N,) and `predicted` (N,)."""
    pairs = labels.astype(np.int64) * classes + predicted
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def confused_pairs(confusion: Counts, class_names: Sequence[str], limit: int = 50) -> list[ConfusedPair]:
    """Return the wrong pairs of a matrix (C, C), most images first.

    Of as many images, the larger share of the true class comes first, then the order of the classes.
    """
    true, predicted = np.nonzero(confusion - np.diag(np.diag(confusion)))
    counts = confusion[true, predicted]
    shares = counts / confusion.sum(axis=1)[true]
    order = np.lexsort((predicted, true, -shares, -counts))[:limit]
    return [
        ConfusedPair(class_names[true[i]], class_names[predicted[i]], int(counts[i]), float(shares[i])) for i in order
    ]


def per_class(
    confusion: Counts,
    class_names: Sequence[str],
    training_counts: Sequence[int] | None = None,
    roc_auc: Sequence[float | None] | None = None,
    average_precision: Sequence[float | None] | None = None,
) -> list[ClassFigures]:
    """Return the figures of each class of a matrix (C, C), with Wilson's intervals.

    As in a run's metrics: the recall of a class without images is None, and so is the precision of a class neither
    present nor predicted; a present class that is never predicted has precision 0, without an interval.
    """
    correct, present, predicted = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    precisions, recalls = wilson_shares(correct, predicted), wilson_shares(correct, present)
    f1s = [_f1_of_overlap(share) for share in wilson_shares(correct, present + predicted - correct)]
    return [
        ClassFigures(
            name=name,
            images=int(present[i]),
            predicted=int(predicted[i]),
            correct=int(correct[i]),
            training_images=None if training_counts is None else int(training_counts[i]),
            precision=Share(0.0, None, None) if present[i] and not predicted[i] else precisions[i],
            recall=recalls[i],
            f1=f1s[i],
            roc_auc=None if roc_auc is None else roc_auc[i],
            average_precision=None if average_precision is None else average_precision[i],
        )
        for i, name in enumerate(class_names)
    ]


def _f1_of_overlap(overlap: Share) -> Share:
    """Map J = TP / (TP + FP + FN), a share of images, and its interval to F1 = 2J / (1 + J), which grows with J."""
    if overlap.value is None or overlap.low is None or overlap.high is None:
        return overlap
    value, low, high = (2 * share / (1 + share) for share in (overlap.value, overlap.low, overlap.high))
    return Share(value, low, high)
