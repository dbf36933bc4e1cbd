"""How well a class's probability ranks images: ROC and precision-recall, one class against the rest; thresholds."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from thaw.analysis.figures import Curve, ThresholdRow

Floats = npt.NDArray[np.floating]
Labels = npt.NDArray[np.integer]

MAX_POINTS = 200


def areas(probabilities: Floats, labels: Labels) -> tuple[list[float | None], list[float | None]]:
    """Return the area under the ROC curve and the average precision of each class, against the rest.

    probabilities: (N, C). labels: (N,). Both are None for a class that no image, or every image, has. Equal to
    scikit-learn's roc_auc_score and average_precision_score, from one sort a class: 1,000 classes take no minute.
    """
    by_class = np.ascontiguousarray(probabilities.T)
    pairs = [_class_areas(scores, scores[labels == i]) for i, scores in enumerate(by_class)]
    return [roc for roc, _ in pairs], [precision for _, precision in pairs]


def _class_areas(scores: Floats, positives: Floats) -> tuple[float | None, float | None]:
    n, p = len(scores), len(positives)
    if p in (0, n):
        return None, None
    everything, positives = np.sort(scores), np.sort(positives)
    below, up_to = np.searchsorted(everything, positives), np.searchsorted(everything, positives, side="right")
    positives_below = np.searchsorted(positives, positives)
    positives_up_to = np.searchsorted(positives, positives, side="right")
    # Of all pairs of an image of the class and one of the rest: those ranked right, of ties half.
    ranked_right = (below - positives_below) + (up_to - positives_up_to)
    precision = (p - positives_below) / (n - below)  # where this image's probability is the threshold
    return float(ranked_right.sum() / (2 * p * (n - p))), float(precision.mean())


def roc_curves(probabilities: Floats, labels: Labels, class_names: Sequence[str], shown: Sequence[int]) -> list[Curve]:
    """Return the ROC curves of the classes `shown`, indices, of `probabilities` (N, C) and `labels` (N,).

    Every class shown must be in `labels`, and so must another one.
    """
    from sklearn.metrics import roc_curve  # takes seconds to import

    curves = []
    for i in shown:
        false_positives, recall, thresholds = roc_curve(labels == i, probabilities[:, i])
        area, _ = _class_areas(probabilities[:, i], probabilities[labels == i, i])
        curves.append(_thinned(class_names[i], false_positives, recall, thresholds, area))
    return curves


def precision_recall_curves(
    probabilities: Floats, labels: Labels, class_names: Sequence[str], shown: Sequence[int]
) -> list[Curve]:
    """Return the precision-recall curves of the classes `shown`, from recall 0 to 1; as `roc_curves` does."""
    from sklearn.metrics import precision_recall_curve

    curves = []
    for i in shown:
        precision, recall, thresholds = precision_recall_curve(labels == i, probabilities[:, i])
        _, area = _class_areas(probabilities[:, i], probabilities[labels == i, i])
        thresholds = np.append(thresholds, np.inf)  # of recall 0, with precision 1 by definition
        curves.append(_thinned(class_names[i], recall[::-1], precision[::-1], thresholds[::-1], area))
    return curves


def _thinned(name: str, x: Floats, y: Floats, thresholds: Floats, area: float | None) -> Curve:
    """Make a curve of at most MAX_POINTS points, evenly along its length, with the ends of long straight parts."""
    index = np.arange(len(x))
    if len(x) > MAX_POINTS:
        way = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
        marks = np.linspace(0, way[-1], MAX_POINTS // 2)
        after = np.searchsorted(way, marks).clip(0, len(x) - 1)
        before = (np.searchsorted(way, marks, side="right") - 1).clip(0)
        index = np.unique(np.concatenate([[0], before[1:], after[:-1], [len(x) - 1]]))
    return Curve(
        name=name,
        x=[float(value) for value in x[index]],
        y=[float(value) for value in y[index]],
        thresholds=[float(value) if np.isfinite(value) else None for value in thresholds[index]],
        area=float("nan") if area is None else area,
    )


def threshold_table(scores: Floats, labels: Labels) -> list[ThresholdRow]:
    """Return what thresholds on the probability of the second of two classes do: 0.05 to 0.95, and the best F1's.

    scores: (N,). labels: (N,), 1 for the second class. An image counts as of the second class when its probability is
    above the threshold: at 0.5 these are the predictions. The best F1's threshold is found on these very images, half
    way between two probabilities; its row has `best_f1`.
    """
    exact, positive = scores.astype(np.float64), labels == 1
    rows = [_threshold_row(exact, positive, step / 20) for step in range(1, 20)]
    if positive.any():
        rows.append(_threshold_row(exact, positive, _best_f1_threshold(exact, positive), best_f1=True))
    return sorted(rows, key=lambda row: row.threshold)


def _best_f1_threshold(scores: npt.NDArray[np.float64], positive: npt.NDArray[np.bool_]) -> float:
    distinct, places = np.unique(scores, return_inverse=True)
    predicted = np.bincount(places)[::-1].cumsum()[::-1]  # images of at least this probability
    hits = np.bincount(places[positive], minlength=len(distinct))[::-1].cumsum()[::-1]
    best = int(np.argmax(2 * hits / (predicted + positive.sum())))
    return float((distinct[best] + (distinct[best - 1] if best else 0.0)) / 2)


def _threshold_row(
    scores: npt.NDArray[np.float64], positive: npt.NDArray[np.bool_], threshold: float, best_f1: bool = False
) -> ThresholdRow:
    chosen = scores > threshold
    hits, predicted, present, n = int((chosen & positive).sum()), int(chosen.sum()), int(positive.sum()), len(scores)
    rejected = n - present - (predicted - hits)  # images of the first class, rightly
    return ThresholdRow(
        threshold=threshold,
        predicted=predicted,
        precision=_ratio(hits, predicted),
        recall=_ratio(hits, present),
        specificity=_ratio(rejected, n - present),
        f1=_ratio(2 * hits, predicted + present),
        accuracy=(hits + rejected) / n,
        best_f1=best_f1,
    )


def _ratio(count: int, total: int) -> float | None:
    return count / total if total else None
