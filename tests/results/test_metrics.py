import math

import numpy as np
import pytest
from sklearn.metrics import f1_score, log_loss, top_k_accuracy_score

from thaw.common.errors import UserError
from thaw.results.metrics import class_metric_names, evaluate


def test_figures_are_those_worked_out_by_hand():
    probabilities = [[0.8, 0.2, 0.0], [0.6, 0.3, 0.1], [0.1, 0.9, 0.0], [0.0, 0.5, 0.5], [0.1, 0.2, 0.7]]
    evaluation = evaluate(np.array(probabilities), np.array([0, 1, 1, 2, 2]), ["cat", "dog", "fox"])
    # guesses: 0 0 1 1 2 (a tie goes to the first); right: images 1, 3, 5
    np.testing.assert_array_equal(evaluation.confusion, [[1, 0, 0], [1, 1, 0], [0, 1, 1]])
    expected = {
        "loss": -(math.log(0.8) + math.log(0.3) + math.log(0.9) + math.log(0.5) + math.log(0.7)) / 5,
        "accuracy": 3 / 5,
        "macro_f1": (2 / 3 + 1 / 2 + 2 / 3) / 3,
        "class/cat/precision": 1 / 2,
        "class/cat/recall": 1.0,
        "class/cat/f1": 2 / 3,
        "class/dog/precision": 1 / 2,
        "class/dog/recall": 1 / 2,
        "class/dog/f1": 1 / 2,
        "class/fox/precision": 1.0,
        "class/fox/recall": 1 / 2,
        "class/fox/f1": 2 / 3,
    }
    assert evaluation.metrics == pytest.approx(expected, rel=1e-6)
    assert (evaluation.probabilities.dtype, evaluation.labels.dtype) == (np.float32, np.int32)


def test_figures_agree_with_scikit_learn():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 12, 500)
    probabilities = rng.dirichlet(np.ones(12), 500)
    metrics = evaluate(probabilities, labels, [str(i) for i in range(12)]).metrics
    assert metrics["top5_accuracy"] == top_k_accuracy_score(labels, probabilities, k=5)
    assert metrics["macro_f1"] == pytest.approx(f1_score(labels, probabilities.argmax(axis=1), average="macro"))
    assert metrics["loss"] == pytest.approx(log_loss(labels, probabilities), rel=1e-4)


def test_a_class_without_images_has_no_recall_and_no_share_in_the_mean():
    metrics = evaluate(np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0]]), np.array([0, 0]), ["cat", "dog", "fox"]).metrics
    assert math.isnan(metrics["class/fox/precision"])
    assert math.isnan(metrics["class/dog/recall"])
    assert metrics["class/dog/precision"] == 0.0
    assert metrics["macro_f1"] == pytest.approx((2 / 3 + 0.0) / 2)


def test_a_class_that_is_never_guessed_has_precision_zero():
    metrics = evaluate(np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([0, 1]), ["cat", "dog"]).metrics
    assert metrics["class/dog/precision"] == 0.0
    assert metrics["loss"] == pytest.approx(-math.log(1e-7) / 2, rel=1e-4)


def test_one_sigmoid_output_is_the_second_class():
    one = evaluate(np.array([[0.2], [0.9]]), np.array([0, 0]), ["cat", "dog"])
    np.testing.assert_allclose(one.probabilities, [[0.8, 0.2], [0.1, 0.9]], rtol=1e-6)
    assert one.metrics["accuracy"] == 0.5


def test_a_diverged_network_is_not_judged():
    with pytest.raises(UserError, match=r"1 of 2 images.*learning_rate"):
        evaluate(np.array([[0.5, 0.5], [np.nan, 0.5]]), np.array([0, 1]), ["cat", "dog"])


@pytest.mark.parametrize("shape", [(2, 3), (3, 2), (0, 2)])
def test_wrong_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="expected probabilities"):
        evaluate(np.ones(shape), np.zeros(2 if shape[0] else 0, np.int32), ["cat", "dog"])


def test_names_of_metrics_are_accepted_by_mlflow_and_all_different():
    names = class_metric_names(["a/b", "a_b", "a:b", "..", "", "hot dog", "Käse", "a_b_0", " x ", "n" * 300])
    assert names == ["a_b_0_0", "a_b", "a_b_2", "_", "__4", "hot dog", "Käse", "a_b_0", "x", "n" * 100]
