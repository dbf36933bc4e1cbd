import json
from dataclasses import asdict

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from thaw.analysis.calibration import apply_temperature, calibration_figures
from thaw.analysis.intervals import wilson
from thaw.analysis.ranking import MAX_POINTS
from thaw.analysis.split_analysis import analyse_split
from thaw.results.metrics import evaluate


def guesses(images: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, images)
    logits = rng.standard_normal((images, classes), np.float32)
    logits[np.arange(images), labels] += 2
    powers = np.exp(logits)
    return powers / powers.sum(axis=1, keepdims=True), labels.astype(np.int32)


def names(classes: int) -> list[str]:
    return [f"class {i}" for i in range(classes)]


@pytest.mark.parametrize("classes", [2, 3, 8])
def test_figures_are_those_of_the_run_s_metrics(classes: int) -> None:
    probabilities, labels = guesses(300, classes)
    figures = analyse_split("test", probabilities, labels, names(classes))
    evaluation = evaluate(probabilities, labels, names(classes))
    assert figures.accuracy.value == evaluation.metrics["accuracy"]
    assert figures.macro_f1 == pytest.approx(evaluation.metrics["macro_f1"])
    assert figures.top5_accuracy == evaluation.metrics.get("top5_accuracy")
    assert figures.calibration.nll == pytest.approx(evaluation.metrics["loss"])
    np.testing.assert_array_equal(figures.confusion, evaluation.confusion)
    assert (figures.name, figures.images, figures.class_names) == ("test", 300, names(classes))


def test_top_5_accuracy_takes_the_first_classes_of_ties_as_the_metrics_do() -> None:
    probabilities, labels = guesses(500, 9)
    probabilities = probabilities.round(1)
    expected = evaluate(probabilities, labels, names(9)).metrics["top5_accuracy"]
    assert analyse_split("test", probabilities, labels, names(9)).top5_accuracy == expected
    assert 0 < expected < 1


def test_the_majority_class_is_the_largest_of_the_split_whatever_training_had() -> None:
    probabilities, labels = guesses(10, 3), np.array([0, 0, 0, 0, 0, 1, 1, 1, 2, 2])
    known = analyse_split("test", probabilities[0], labels, names(3), training_counts=[5, 90, 5])
    assert (known.majority_class, known.majority_share) == ("class 0", 0.5)
    assert [row.training_images for row in known.classes] == [5, 90, 5]
    unknown = analyse_split("test", probabilities[0], labels, names(3))
    assert (unknown.majority_class, unknown.majority_share) == ("class 0", 0.5)


def test_a_class_without_images_has_no_recall_and_no_curve() -> None:
    probabilities, labels = guesses(200, 4)
    labels[labels == 2] = 3
    figures = analyse_split("test", probabilities, labels, names(4))
    absent = figures.classes[2]
    assert (absent.images, absent.recall.value, absent.roc_auc, absent.average_precision) == (0, None, None, None)
    assert [curve.name for curve in figures.roc] == ["class 0", "class 1", "class 3"]
    assert [curve.name for curve in figures.precision_recall] == ["class 0", "class 1", "class 3"]
    known = [roc_auc_score(labels == i, probabilities[:, i]) for i in (0, 1, 3)]
    assert figures.macro_roc_auc == pytest.approx(np.mean(known))


def test_two_classes_have_one_curve_and_the_threshold_table() -> None:
    probabilities, labels = guesses(100, 2)
    figures = analyse_split("test", probabilities, labels, ["cat", "dog"])
    assert [curve.name for curve in (*figures.roc, *figures.precision_recall)] == ["dog", "dog"]
    half = next(row for row in figures.thresholds if row.threshold == 0.5)
    assert (half.accuracy, half.predicted) == (figures.accuracy.value, figures.classes[1].predicted)
    assert (half.precision, half.recall) == (figures.classes[1].precision.value, figures.classes[1].recall.value)
    assert analyse_split("test", *guesses(9, 3), names(3)).thresholds == []


def test_of_many_classes_the_ten_lowest_curves_are_shown() -> None:
    probabilities, labels = guesses(600, 25)
    figures = analyse_split("test", probabilities, labels, names(25))
    lowest = sorted(row.roc_auc for row in figures.classes if row.roc_auc is not None)[:10]
    assert [curve.area for curve in figures.roc] == lowest
    assert len(figures.precision_recall) == 10
    assert len(analyse_split("test", *guesses(600, 20), names(20)).roc) == 20


@pytest.mark.parametrize("label", [0, 1])
def test_one_image_has_figures(label: int) -> None:
    figures = analyse_split("test", np.array([[0.3, 0.7]], np.float32), np.array([label]), ["cat", "dog"])
    assert figures.accuracy == wilson(label, 1)
    assert (figures.roc, figures.precision_recall, figures.macro_roc_auc) == ([], [], None)
    json.dumps(asdict(figures), allow_nan=False)


@pytest.mark.parametrize("classes", [2, 4])
def test_all_right_and_all_wrong_have_figures(classes: int) -> None:
    labels = np.arange(40) % classes
    probabilities = np.eye(classes, dtype=np.float32)[labels]
    right = analyse_split("test", probabilities, labels, names(classes), temperature=1.5)
    assert (right.accuracy.value, right.macro_f1, right.macro_roc_auc, right.pairs) == (1.0, 1.0, 1.0, [])
    wrong = analyse_split("test", probabilities, (labels + 1) % classes, names(classes), temperature=1.5)
    assert (wrong.accuracy.value, wrong.macro_f1) == (0.0, 0.0)
    assert sum(pair.count for pair in wrong.pairs) == 40
    json.dumps([asdict(right), asdict(wrong)], allow_nan=False)


def test_a_temperature_gives_the_calibrated_figures_too() -> None:
    probabilities, labels = guesses(200, 3)
    figures = analyse_split("test", probabilities, labels, names(3), temperature=2.0)
    assert figures.temperature == 2.0
    assert figures.calibrated == calibration_figures(apply_temperature(probabilities, 2.0), labels)
    assert analyse_split("test", probabilities, labels, names(3)).calibrated is None


def test_a_thousand_classes_and_ten_thousand_images_have_figures() -> None:
    probabilities, labels = guesses(10_000, 1000)
    labels[labels == 7] = 8
    figures = analyse_split("test", probabilities, labels, names(1000), temperature=1.1)
    assert (len(figures.classes), len(figures.pairs), len(figures.roc)) == (1000, 50, 10)
    assert figures.classes[7].roc_auc is None
    for i in (0, 8, 999):
        assert figures.classes[i].roc_auc == pytest.approx(roc_auc_score(labels == i, probabilities[:, i]))
    assert max(len(curve.x) for curve in (*figures.roc, *figures.precision_recall)) <= MAX_POINTS
    assert figures.accuracy == wilson(int((probabilities.argmax(axis=1) == labels).sum()), 10_000)


@pytest.mark.parametrize("shape", [(0, 2), (3, 2), (2, 3), (2, 1)])
def test_arrays_that_do_not_match_are_an_error(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="expected probabilities"):
        analyse_split("test", np.zeros(shape), np.zeros(0 if shape[0] == 0 else 2, int), ["cat", "dog"])


def test_of_equally_large_classes_the_one_that_is_largest_in_training_is_always_guessed() -> None:
    labels = np.array([0, 1, 1, 2, 2])
    figures = analyse_split("test", np.eye(3)[labels], labels, ["a", "b", "c"], training_counts=[9, 5, 7])
    assert (figures.majority_class, figures.majority_share) == ("c", 2 / 5)
