import numpy as np
import pytest
from sklearn.metrics import auc, average_precision_score, roc_auc_score, roc_curve

from thaw.analysis.ranking import MAX_POINTS, areas, precision_recall_curves, roc_curves, threshold_table


def scores(images: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, images)
    probabilities = rng.dirichlet(np.ones(classes), images)
    probabilities[np.arange(images), labels] += 0.3
    return (probabilities / probabilities.sum(axis=1, keepdims=True)).astype(np.float32), labels


@pytest.mark.parametrize("decimals", [7, 1])  # with one decimal nearly all probabilities are ties
def test_areas_are_scikit_learns_for_each_class(decimals: int) -> None:
    probabilities, labels = scores(400, 7)
    probabilities = probabilities.round(decimals)
    roc, precision = areas(probabilities, labels)
    for i in range(7):
        assert roc[i] == pytest.approx(roc_auc_score(labels == i, probabilities[:, i]), abs=1e-12)
        assert precision[i] == pytest.approx(average_precision_score(labels == i, probabilities[:, i]), abs=1e-12)


def test_a_class_that_nobody_or_everybody_has_no_area() -> None:
    probabilities, _ = scores(5, 3)
    roc, precision = areas(probabilities, np.ones(5, int))
    assert roc == [None, None, None]
    assert precision == [None, None, None]


def test_a_short_curve_has_all_its_points() -> None:
    # By probability of b: b (0.9), a (0.8), b (0.7), a (0.2)
    probabilities = np.array([[0.1, 0.9], [0.2, 0.8], [0.3, 0.7], [0.8, 0.2]])
    labels = np.array([1, 0, 1, 0])
    (roc,) = roc_curves(probabilities, labels, ["a", "b"], [1])
    assert (roc.name, roc.area) == ("b", 0.75)
    assert (roc.x, roc.y) == ([0, 0, 0.5, 0.5, 1], [0, 0.5, 0.5, 1, 1])
    assert roc.thresholds == [None, 0.9, 0.8, 0.7, 0.2]
    (curve,) = precision_recall_curves(probabilities, labels, ["a", "b"], [1])
    assert curve.area == pytest.approx((1 + 2 / 3) / 2)
    assert curve.x == [0, 0.5, 0.5, 1, 1]
    assert curve.y == pytest.approx([1, 1, 0.5, 2 / 3, 0.5])
    assert curve.thresholds == [None, 0.9, 0.8, 0.7, 0.2]


@pytest.mark.parametrize("decimals", [7, 2])
def test_a_long_curve_keeps_its_ends_and_its_shape_in_200_points(decimals: int) -> None:
    probabilities, labels = scores(10_000, 3)
    probabilities = probabilities.round(decimals)
    (roc,) = roc_curves(probabilities, labels, "abc", [2])
    (precision,) = precision_recall_curves(probabilities, labels, "abc", [2])
    for curve in (roc, precision):
        assert 50 < len(curve.x) <= MAX_POINTS
        assert len(curve.x) == len(curve.y) == len(curve.thresholds)
        assert list(curve.x) == sorted(curve.x)
        assert (curve.x[0], curve.x[-1]) == (0, 1)
    full_x, full_y, _ = roc_curve(labels == 2, probabilities[:, 2])
    assert auc(roc.x, roc.y) == pytest.approx(roc.area, abs=1e-3)
    # Along a ROC curve x + y grows: at the same place both curves are at the same point.
    way, full_way = np.add(roc.x, roc.y), full_x + full_y
    assert np.abs(np.interp(full_way, way, roc.y) - full_y).max() < 0.02
    assert roc.area == pytest.approx(roc_auc_score(labels == 2, probabilities[:, 2]))
    assert precision.area == pytest.approx(average_precision_score(labels == 2, probabilities[:, 2]))


def test_a_long_curve_keeps_the_ends_of_a_long_straight_part() -> None:
    """Half of the images have the same probability, so that the ROC curve has one long slope."""
    rng = np.random.default_rng(0)
    score = rng.random(4000)
    score[rng.random(4000) < 0.5] = 0.5
    labels = (rng.random(4000) < score).astype(int)
    (roc,) = roc_curves(np.stack([1 - score, score], axis=1), labels, "ab", [1])
    assert len(roc.x) <= MAX_POINTS
    full_x, _, thresholds = roc_curve(labels, score)
    slope = int(np.diff(full_x).argmax())
    assert float(full_x[slope]) in roc.x
    assert float(full_x[slope + 1]) in roc.x
    assert thresholds[slope + 1] == 0.5


def test_the_threshold_table_counts_what_lies_above_each_threshold() -> None:
    score, labels = np.array([0.1, 0.3, 0.5, 0.62, 0.9]), np.array([0, 1, 0, 1, 1])
    rows = threshold_table(score, labels)
    assert len(rows) == 20
    assert [row.threshold for row in rows] == sorted(row.threshold for row in rows)
    half = next(row for row in rows if row.threshold == 0.5)
    assert (half.predicted, half.precision, half.recall, half.specificity) == (2, 1.0, 2 / 3, 1.0)
    assert (half.f1, half.accuracy, half.best_f1) == (4 / 5, 4 / 5, False)
    last = next(row for row in rows if row.threshold == 0.95)
    assert (last.predicted, last.precision, last.recall, last.f1, last.accuracy) == (0, None, 0.0, 0.0, 2 / 5)


def test_the_best_f1_of_the_split_has_a_row_half_way_between_two_probabilities() -> None:
    rows = threshold_table(np.array([0.1, 0.3, 0.5, 0.62, 0.9]), np.array([0, 1, 0, 1, 1]))
    (best,) = [row for row in rows if row.best_f1]
    assert best.threshold == pytest.approx(0.2)  # 4 predicted, 3 of them right: F1 = 6 / 7
    assert (best.predicted, best.f1) == (4, pytest.approx(6 / 7))
    assert max(row.f1 for row in rows if row.f1 is not None) == best.f1


def test_a_split_without_the_second_class_has_no_best_f1() -> None:
    rows = threshold_table(np.array([0.1, 0.7]), np.array([0, 0]))
    assert len(rows) == 19
    assert [row.recall for row in rows] == [None] * 19
    assert [row for row in rows if row.best_f1] == []
    (everything,) = [row for row in threshold_table(np.array([0.4, 0.7]), np.array([1, 1])) if row.best_f1]
    assert (everything.threshold, everything.specificity, everything.f1) == (pytest.approx(0.2), None, 1.0)
