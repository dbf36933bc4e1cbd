"""All figures of one split, from probabilities and labels."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from thaw.analysis.calibration import apply_temperature, calibration_figures
from thaw.analysis.confusions import confused_pairs, confusion_matrix, per_class
from thaw.analysis.figures import SplitFigures
from thaw.analysis.intervals import wilson
from thaw.analysis.ranking import areas, precision_recall_curves, roc_curves, threshold_table

# Curves of more classes than this cannot be told apart in one chart: the lowest ones are shown.
MAX_CURVES, FEW_CURVES = 20, 10


def analyse_split(
    name: str,
    probabilities: npt.NDArray[np.floating],
    labels: npt.NDArray[np.integer],
    class_names: Sequence[str],
    *,
    training_counts: Sequence[int] | None = None,
    temperature: float | None = None,
) -> SplitFigures:
    """Return every figure of `probabilities` (N, C), finite, N > 0, against `labels` (N,).

    training_counts: images of each class in training, where known. temperature: fitted on validation, where it was.
    Accuracy, F1 and top-5 accuracy are those of a run's metrics. Raises ValueError for arrays of other shapes.
    """
    probabilities, labels = np.asarray(probabilities), np.asarray(labels)
    classes = len(class_names)
    if len(labels) == 0 or probabilities.shape != (len(labels), classes):
        raise ValueError(f"expected probabilities ({len(labels)}, {classes}), not empty; got {probabilities.shape}")
    confusion = confusion_matrix(labels, probabilities.argmax(axis=1), classes)
    roc_areas, precisions = areas(probabilities, labels)
    of_classes = per_class(confusion, class_names, training_counts, roc_areas, precisions)
    majority = _majority(confusion.sum(axis=1), training_counts)
    return SplitFigures(
        name=name,
        class_names=list(class_names),
        images=len(labels),
        accuracy=wilson(int(np.trace(confusion)), len(labels)),
        macro_f1=float(np.mean([figures.f1.value for figures in of_classes if figures.f1.value is not None])),
        top5_accuracy=_top5_accuracy(probabilities, labels) if classes > 5 else None,
        majority_class=class_names[majority],
        majority_share=float(np.mean(labels == majority)),
        confusion=confusion.tolist(),
        pairs=confused_pairs(confusion, class_names),
        classes=of_classes,
        roc=roc_curves(probabilities, labels, class_names, _shown(roc_areas)),
        precision_recall=precision_recall_curves(probabilities, labels, class_names, _shown(precisions)),
        macro_roc_auc=_mean(roc_areas),
        macro_average_precision=_mean(precisions),
        thresholds=threshold_table(probabilities[:, 1], labels) if classes == 2 else [],
        calibration=calibration_figures(probabilities, labels),
        temperature=temperature,
        calibrated=None
        if temperature is None
        else calibration_figures(apply_temperature(probabilities, temperature), labels),
    )


def _majority(present: npt.NDArray[np.int64], training_counts: Sequence[int] | None) -> int:
    """Return the split's largest class, and of equally large ones the largest in training.

    No other constant guess is right more often: that of training's largest class may be far worse, or have no image.
    """
    counts = np.zeros_like(present) if training_counts is None else np.asarray(training_counts)
    return int(np.argmax(np.where(present == present.max(), counts, -1)))


def _top5_accuracy(probabilities: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]) -> float:
    """Return the share of images whose class is among the five most probable; of ties the first classes are."""
    of_label = probabilities[np.arange(len(labels)), labels][:, None]
    earlier = np.arange(probabilities.shape[1]) < labels[:, None]
    ahead = (probabilities > of_label).sum(axis=1) + ((probabilities == of_label) & earlier).sum(axis=1)
    return float((ahead < 5).mean())


def _shown(areas_of_classes: Sequence[float | None]) -> list[int]:
    """Return the classes whose curve is shown: all that have one, or the lowest; of two classes the second."""
    known = [(area, i) for i, area in enumerate(areas_of_classes) if area is not None]
    if len(areas_of_classes) == 2:
        return [i for _, i in known if i == 1]
    if len(known) > MAX_CURVES:
        return [i for _, i in sorted(known)[:FEW_CURVES]]
    return [i for _, i in known]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
