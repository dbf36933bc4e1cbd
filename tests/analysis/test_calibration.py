import math

import numpy as np
import pytest
from sklearn.metrics import log_loss

from thaw.analysis.calibration import apply_temperature, calibration_figures, fit_temperature
from thaw.analysis.intervals import wilson


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def sampled(images: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits (N, C), and labels drawn with the probabilities that these logits say."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=2.0, size=(images, classes))
    labels = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    return logits, labels


def test_bins_ece_brier_and_nll_are_those_worked_out_by_hand() -> None:
    # Confidence 0.6 five times, 3 right; 0.9 four times, 2 right; 1.0 once, right.
    probabilities = np.array([[0.6, 0.4]] * 5 + [[0.1, 0.9]] * 4 + [[1.0, 0.0]], np.float32)
    labels = np.array([0, 0, 0, 1, 1, 1, 1, 0, 0, 0])
    figures = calibration_figures(probabilities, labels, bins=5)
    assert [(row.low, row.high, row.images) for row in figures.bins] == [
        (0.0, 0.2, 0),
        (0.2, 0.4, 0),
        (0.4, 0.6, 5),  # (low, high]: 0.6 belongs here
        (0.6, 0.8, 0),
        (0.8, 1.0, 5),
    ]
    assert figures.bins[0].confidence is None
    assert figures.bins[0].accuracy == wilson(0, 0)
    assert figures.bins[2].confidence == pytest.approx(0.6)
    assert figures.bins[2].accuracy == wilson(3, 5)
    assert figures.bins[4].confidence == pytest.approx(0.92)
    assert figures.bins[4].accuracy == wilson(3, 5)
    assert figures.ece == pytest.approx((5 * 0.0 + 5 * 0.32) / 10)
    assert figures.brier == pytest.approx((3 * 0.32 + 2 * 0.72 + 2 * 0.02 + 2 * 1.62 + 0) / 10)
    nll = 3 * math.log(0.6) + 2 * math.log(0.4) + 2 * math.log(0.9) + 2 * math.log(0.1) + math.log(1 - 1e-7)
    assert figures.nll == pytest.approx(-nll / 10)


def test_the_default_has_15_bins_and_edges_belong_below() -> None:
    probabilities = np.array([[i / 15, *[(1 - i / 15) / 14] * 14] for i in range(2, 16)], np.float32)
    figures = calibration_figures(probabilities, np.zeros(14, int))
    assert [row.images for row in figures.bins] == [0] + [1] * 14
    assert figures.bins[0].low == 0.0
    assert figures.bins[-1].high == 1.0


def test_probabilities_that_are_true_have_a_small_ece_and_sharpened_ones_a_large_one() -> None:
    logits, labels = sampled(20_000, 5)
    true, sharpened = calibration_figures(softmax(logits), labels), calibration_figures(softmax(2.5 * logits), labels)
    assert true.ece < 0.01
    assert sharpened.ece > 0.1
    exact = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert true.nll == pytest.approx(log_loss(labels, exact), rel=1e-4)


def test_certain_and_wrong_is_the_worst_and_certain_and_right_the_best() -> None:
    right = calibration_figures(np.eye(3, dtype=np.float32), np.array([0, 1, 2]))
    wrong = calibration_figures(np.eye(3, dtype=np.float32), np.array([1, 2, 0]))
    assert (right.ece, right.brier, right.nll) == pytest.approx((0, 0, 0), abs=1e-6)
    assert (wrong.ece, wrong.brier, wrong.nll) == pytest.approx((1, 2, -math.log(1e-7)))


@pytest.mark.parametrize("classes", [2, 5, 100])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_a_planted_temperature_is_found(classes: int, temperature: float) -> None:
    logits, labels = sampled(8000, classes)
    assert fit_temperature(softmax(temperature * logits), labels) == pytest.approx(temperature, rel=0.05)


def test_the_fitted_temperature_undoes_the_sharpening() -> None:
    logits, labels = sampled(8000, 10)
    sharpened = softmax(2.5 * logits)
    np.testing.assert_allclose(apply_temperature(sharpened, 2.5), softmax(logits), atol=1e-6)
    fitted = fit_temperature(sharpened, labels)
    assert fitted is not None
    assert calibration_figures(apply_temperature(sharpened, fitted), labels).ece < 0.02


def test_no_temperature_is_fitted_where_none_is_the_best() -> None:
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]], np.float32)
    assert fit_temperature(probabilities, np.array([0, 1, 0])) is None  # all right: the sharper the better
    assert fit_temperature(probabilities, np.array([1, 0, 1])) is None  # all wrong: the flatter the better
    assert fit_temperature(probabilities, np.array([0, 0, 0])) is None  # one class only
    assert fit_temperature(np.eye(2, dtype=np.float32), np.array([0, 1])) is None  # all right and certain
    assert fit_temperature(probabilities[:1], np.array([1])) is None
    assert fit_temperature(probabilities[:0], np.array([], int)) is None
    assert fit_temperature(np.full((4, 2), 0.5), np.array([0, 1, 0, 1])) is None  # the same for any temperature


def test_a_sigmoids_temperature_is_that_of_its_logit() -> None:
    logit = np.array([-6.0, -0.3, 0.0, 2.0, 9.0])
    p = 1 / (1 + np.exp(-logit))
    calibrated = apply_temperature(np.stack([1 - p, p], axis=1).astype(np.float32), 3.0)
    assert calibrated.dtype == np.float32
    np.testing.assert_allclose(calibrated[:, 1], 1 / (1 + np.exp(-logit / 3)), atol=1e-4)


@pytest.mark.parametrize("classes", [2, 3, 1000])
@pytest.mark.parametrize("temperature", [0.05, 1.0, 3.0, 20.0])
def test_a_temperature_never_changes_the_predicted_class(classes: int, temperature: float) -> None:
    rng = np.random.default_rng(0)
    probabilities = softmax(
        np.concatenate([rng.normal(size=(300, classes)) * scale for scale in (1e-7, 1e-3, 30, 300)])
    )
    calibrated = apply_temperature(probabilities, temperature)
    np.testing.assert_array_equal(calibrated.argmax(axis=1), probabilities.argmax(axis=1))
    assert np.isfinite(calibrated).all()
    np.testing.assert_allclose(calibrated.sum(axis=1, dtype=np.float64), 1, atol=2e-6)


def test_zeros_under_a_thousand_classes_stay_small() -> None:
    certain = np.zeros((1, 1000), np.float32)
    certain[0, 3] = 1
    assert apply_temperature(certain, 3.0)[0, 3] > 0.999
