import numpy as np
import pytest
from sklearn.metrics import confusion_matrix as sklearn_matrix

from thaw.analysis.confusions import confused_pairs, confusion_matrix, per_class
from thaw.analysis.figures import ConfusedPair, Share
from thaw.analysis.intervals import wilson
from thaw.results.metrics import class_metric_names, evaluate

NAMES = ["cat", "dog", "fox"]


def test_rows_are_true_and_columns_predicted_classes() -> None:
    labels, predicted = np.array([0, 0, 1, 2, 2, 2]), np.array([0, 1, 1, 0, 0, 2])
    matrix = confusion_matrix(labels, predicted, 3)
    np.testing.assert_array_equal(matrix, [[1, 1, 0], [0, 1, 0], [2, 0, 1]])
    np.testing.assert_array_equal(matrix, sklearn_matrix(labels, predicted))


def test_pairs_come_by_images_then_by_share_then_in_the_order_of_the_classes() -> None:
    matrix = np.array([[9, 2, 1], [5, 0, 2], [1, 2, 7]])
    assert confused_pairs(matrix, NAMES) == [
        ConfusedPair("dog", "cat", 5, 5 / 7),
        ConfusedPair("dog", "fox", 2, 2 / 7),
        ConfusedPair("fox", "dog", 2, 2 / 10),
        ConfusedPair("cat", "dog", 2, 2 / 12),
        ConfusedPair("fox", "cat", 1, 1 / 10),
        ConfusedPair("cat", "fox", 1, 1 / 12),
    ]
    assert confused_pairs(matrix, NAMES, limit=1) == [ConfusedPair("dog", "cat", 5, 5 / 7)]
    assert confused_pairs(np.diag([3, 0, 2]), NAMES) == []


def test_a_known_confusion_gives_precision_recall_and_f1_with_intervals() -> None:
    cat, dog, fox = per_class(np.array([[8, 2, 0], [0, 5, 0], [4, 0, 1]]), NAMES, training_counts=[70, 20, 10])
    assert (cat.images, cat.predicted, cat.correct, cat.training_images) == (10, 12, 8, 70)
    assert (cat.recall, cat.precision) == (wilson(8, 10), wilson(8, 12))
    # TP / (TP + FP + FN) = 8 / 14, F1 = 16 / 22
    overlap = wilson(8, 14)
    assert overlap.low is not None
    assert overlap.high is not None
    assert cat.f1.value == pytest.approx(16 / 22)
    assert (cat.f1.low, cat.f1.high) == pytest.approx((0.4916, 0.8803), abs=5e-5)
    assert cat.f1.low == pytest.approx(2 * overlap.low / (1 + overlap.low))
    assert (dog.recall.value, dog.precision.value) == (1.0, 5 / 7)
    assert (fox.recall.value, fox.precision.value) == (0.2, 1.0)


def test_classes_that_are_absent_or_never_predicted_follow_the_metrics_of_a_run() -> None:
    names = ["present, never predicted", "neither", "absent, predicted", "both"]
    never, neither, predicted, both = per_class(
        np.array([[0, 0, 2, 1], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 1, 3]]), names
    )
    nothing = Share(None, None, None)
    assert (never.precision.value, never.recall.value, never.f1.value) == (0.0, 0.0, 0.0)
    assert (never.precision.low, never.precision.high) == (None, None)
    assert (neither.precision, neither.recall, neither.f1) == (nothing, nothing, nothing)
    assert (predicted.precision.value, predicted.recall, predicted.f1.value) == (0.0, nothing, 0.0)
    assert (both.training_images, both.roc_auc, both.average_precision) == (None, None, None)


def test_figures_of_classes_are_those_of_the_metrics() -> None:
    rng = np.random.default_rng(0)
    labels, probabilities = rng.integers(0, 6, 60), rng.dirichlet(np.ones(8), 60)  # classes 6 and 7 are absent
    probabilities[:, 7] = 0
    names = [f"c{i}" for i in range(8)]
    evaluation = evaluate(probabilities, labels, names)
    matrix = confusion_matrix(labels, probabilities.argmax(axis=1), 8)
    np.testing.assert_array_equal(matrix, evaluation.confusion)
    for row, name in zip(per_class(matrix, names), class_metric_names(names), strict=True):
        for key in ("precision", "recall", "f1"):
            value = getattr(row, key).value
            expected = evaluation.metrics[f"class/{name}/{key}"]
            assert expected == pytest.approx(float("nan") if value is None else value, nan_ok=True)
