"""Metrics from probabilities and labels: loss, accuracy, F1, and those of each class."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from thaw.common.errors import UserError


@dataclass(frozen=True)
class Evaluation:
    """The metrics of one split.

    probabilities: float32 (N, C). labels: int32 (N,). confusion: int64 (C, C), rows true, columns predicted classes.

    metrics is flat: `loss`, `accuracy`, `top5_accuracy` (more than 5 classes), `macro_f1`, and for each class
    `class/NAME/precision`, `class/NAME/recall`, `class/NAME/f1`, with NAME as `metric_names` makes it.
    """

    probabilities: np.ndarray
    labels: np.ndarray
    metrics: dict[str, float]
    confusion: np.ndarray


def evaluate(probabilities: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> Evaluation:
    """Evaluate `probabilities` (N, C), or (N, 1) of the second of two classes, against `labels` (N,).

    The loss is the mean cross-entropy, with probabilities clipped to 1e-7 as in Keras. A metric without meaning is NaN:
    recall of a class without images, precision of a class neither present nor predicted. A present class that is never
    predicted has precision 0. macro_f1 is the mean over the classes that are present or predicted, as in scikit-learn.
    Raises UserError when the network's output is not finite: training diverged.
    """
    probabilities, labels = np.asarray(probabilities, np.float32), np.asarray(labels, np.int32)
    classes = len(class_names)
    if classes == 2 and probabilities.shape == (len(labels), 1):
        probabilities = np.concatenate([1 - probabilities, probabilities], axis=1)
    if len(labels) == 0 or probabilities.shape != (len(labels), classes):
        raise ValueError(f"expected probabilities ({len(labels)}, {classes}), not empty; got {probabilities.shape}")
    bad = int((~np.isfinite(probabilities)).any(axis=1).sum())
    if bad:
        raise UserError(
            f"The network's output is not a number for {bad} of {len(labels)} images: training diverged. "
            f"Lower optimizer.learning_rate."
        )
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (labels, probabilities.argmax(axis=1)), 1)
    of_label = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    precision, recall, f1 = _per_class(confusion)
    metrics = {
        "loss": float(-np.log(np.clip(of_label, 1e-7, 1 - 1e-7)).mean()),
        "accuracy": float(np.trace(confusion) / len(labels)),
        "macro_f1": float(np.nanmean(f1)),
    }
    if classes > 5:
        best = np.argsort(-probabilities, axis=1, kind="stable")[:, :5]
        metrics["top5_accuracy"] = float((best == labels[:, None]).any(axis=1).mean())
    for i, name in enumerate(class_metric_names(class_names)):
        metrics[f"class/{name}/precision"] = float(precision[i])
        metrics[f"class/{name}/recall"] = float(recall[i])
        metrics[f"class/{name}/f1"] = float(f1[i])
    return Evaluation(probabilities, labels, metrics, confusion)


def class_metric_names(class_names: Sequence[str]) -> list[str]:
    """Return class names as parts of metric names, all different: letters, digits, `_`, `-`, `.`, space.

    A name that is changed, and would be the same as another, gets its index: `a/b`, `a_b` become `a_b_0`, `a_b`.
    """
    cleaned = [re.sub(r"[^\w. -]", "_", name).strip(" .")[:100] or "_" for name in class_names]
    unchanged = {clean for clean, name in zip(cleaned, class_names, strict=True) if clean == name}
    names: list[str] = []
    for i, (clean, name) in enumerate(zip(cleaned, class_names, strict=True)):
        while clean != name and (clean in unchanged or clean in names):
            clean = f"{clean}_{i}"
        names.append(clean)
    return names


def _per_class(confusion: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return precision, recall and F1, (C,) each, of a confusion matrix (C, C)."""
    correct, present, predicted = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where((predicted == 0) & (present > 0), 0.0, correct / predicted)
        return precision, correct / present, 2 * correct / (present + predicted)
