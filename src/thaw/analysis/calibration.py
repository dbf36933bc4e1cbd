"""Whether probabilities can be believed, and the temperature that mends them (Guo et al., ICML 2017)."""

import numpy as np
import numpy.typing as npt

from thaw.analysis.figures import CalibrationFigures, ReliabilityBin
from thaw.analysis.intervals import wilson_shares

Floats = npt.NDArray[np.floating]
Labels = npt.NDArray[np.integer]

LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.05, 20.0


def calibration_figures(probabilities: Floats, labels: Labels, bins: int = 15) -> CalibrationFigures:
    """Return ECE, Brier score, NLL and the reliability diagram of `probabilities` (N, C) and `labels` (N,), N > 0.

    The bins are (low, high], of equal width, over the probability of the predicted class. The NLL clips probabilities
    to 1e-7, as the run's loss does.
    """
    of_label = np.asarray(probabilities[np.arange(len(labels)), labels], np.float64)
    squares = np.einsum("nc,nc->n", probabilities, probabilities, dtype=np.float64)
    confidence = probabilities.max(axis=1).astype(np.float64)
    reliability = _reliability_bins(confidence, probabilities.argmax(axis=1) == labels, bins)
    gaps = (
        row.images * abs(row.accuracy.value - row.confidence)
        for row in reliability
        if row.accuracy.value is not None and row.confidence is not None
    )
    return CalibrationFigures(
        ece=sum(gaps) / len(labels),
        brier=float((squares - 2 * of_label + 1).mean()),
        nll=float(-np.log(np.clip(of_label, 1e-7, 1 - 1e-7)).mean()),
        bins=reliability,
    )


def _reliability_bins(
    confidence: npt.NDArray[np.float64], right: npt.NDArray[np.bool_], bins: int
) -> list[ReliabilityBin]:
    # Rounded: a float32 of 0.2 is 0.20000000298, and would lie in the bin above 0.2.
    place = np.clip(np.ceil(np.round(confidence * bins, 5)).astype(np.int64) - 1, 0, bins - 1)
    images = np.bincount(place, minlength=bins)
    sums = np.bincount(place, weights=confidence, minlength=bins)
    shares = wilson_shares(np.bincount(place[right], minlength=bins), images)
    return [
        ReliabilityBin(
            low=i / bins,
            high=(i + 1) / bins,
            images=int(images[i]),
            confidence=float(sums[i] / images[i]) if images[i] else None,
            accuracy=shares[i],
        )
        for i in range(bins)
    ]


def fit_temperature(probabilities: Floats, labels: Labels) -> float | None:
    """Return the T from 0.05 to 20 for which softmax(log p / T) has the lowest NLL.

    probabilities: (N, C) of validation images, on which nothing was trained. labels: (N,).
    None where no T is the best: of fewer than 2 images, of one class only, or where the NLL falls up to an end of the
    range, as it does when every image is right.
    """
    from scipy.optimize import minimize_scalar  # takes a second to import

    right = probabilities.argmax(axis=1) == labels
    if len(labels) < 2 or len(np.unique(labels)) < 2 or right.all():
        return None
    logits = _logits(probabilities)
    of_label = logits[np.arange(len(labels)), labels]

    def nll(log_temperature: float) -> float:
        scale = np.exp(-log_temperature)
        return float((np.log(np.exp(logits * scale).sum(axis=1)) - of_label * scale).mean())

    ends = np.log([LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE])
    best = minimize_scalar(nll, bounds=tuple(ends), method="bounded", options={"xatol": 1e-5})
    return None if np.abs(best.x - ends).min() < 0.01 else float(np.exp(best.x))


def apply_temperature(probabilities: Floats, temperature: float) -> npt.NDArray[np.float32]:
    """Return softmax(log p / T), float32 (N, C), of `probabilities` (N, C); the predicted class stays the same.

    Right for a sigmoid's (1 - p, p) too: it is the sigmoid of the logit / T.
    """
    scaled = np.exp(_logits(probabilities) / temperature)
    calibrated = (scaled / scaled.sum(axis=1, keepdims=True)).astype(np.float32)
    predicted = probabilities.argmax(axis=1)
    # A high temperature can round two nearly equal probabilities to the same float32.
    rows = np.nonzero(calibrated.argmax(axis=1) != predicted)[0]
    calibrated[rows, predicted[rows]] = np.nextafter(calibrated[rows].max(axis=1), np.float32(1))
    return calibrated


def _logits(probabilities: Floats) -> npt.NDArray[np.float64]:
    """Return log p, (N, C), the highest of each row 0.

    Zeros are clipped: of two classes at 1e-7, as 1 - p of a sigmoid resolves no less; of more at float32's smallest
    number, as a floor of 1e-7 under a thousand classes would weigh more than the predicted one once T is 3.
    """
    floor = 1e-7 if probabilities.shape[1] == 2 else float(np.finfo(np.float32).tiny)
    logs = np.log(np.maximum(probabilities.astype(np.float64), floor))
    return logs - logs.max(axis=1, keepdims=True)
