"""What more training images are worth, from frozen features: accuracy with a quarter, half and all of them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thaw.training import logistic_regression

SHARES = (0.25, 0.5, 1.0)
_MOST_IMAGES = 10_000  # of more, a stratified sample: the curve of 50,000 images would take minutes


@dataclass(frozen=True)
class CurvePoint:
    """Validation accuracy of logistic regression on the features of a share of the training images."""

    share: float
    images: int
    accuracy: float


def learning_curve(
    features: dict[str, npt.NDArray[np.float32]],
    labels: dict[str, npt.NDArray[np.int32]],
    classes: int,
    seed: int,
    advance: Callable[[], None] = lambda: None,
) -> list[CurvePoint]:
    """Return the curve, by growing shares; a share with fewer images than classes has no point.

    Args:
        features: of `train` and `val`, float32 (n, D) each.
        labels: likewise, int32 (n,).
        classes: how many there are.
        seed: of the samples.
        advance: called after each fit, see `logistic_regression.fits`.
    """
    of_rows, points = labels["train"], []
    for share in SHARES:
        wanted = round(share * min(len(of_rows), _MOST_IMAGES))
        if share < 1 and wanted < classes:
            continue
        chosen = np.arange(len(of_rows))
        if wanted < len(of_rows):
            chosen = logistic_regression.sampled_rows(of_rows, wanted, seed)
        if len(np.unique(of_rows[chosen])) < 2:
            continue
        solution = logistic_regression.solve(
            features["train"][chosen], of_rows[chosen], classes, seed=seed, advance=advance
        )
        _, accuracy = logistic_regression.figures(solution, features["val"], labels["val"])
        points.append(CurvePoint(share, len(chosen), accuracy))
    return points


def more_data_sentence(curve: Sequence[CurvePoint], val_images: int) -> str:
    """Return what the curve says of more training images."""
    if len(curve) < 2:
        return "more images: there are too few to say what more of them would bring"
    half, whole = curve[-2], curve[-1]
    gain = whole.accuracy - half.accuracy
    # Of two classifiers on the same images the errors are alike: this is more than the deviation of the difference.
    noise = math.sqrt(2 * whole.accuracy * (1 - whole.accuracy) / max(1, val_images))
    figures = ", ".join(f"{point.accuracy:.3f} with {point.images:,}" for point in curve)
    says = "would help" if gain > noise else "may help little" if gain > 0 else "are not shown to help"
    return (
        f"more images: {says}; with frozen features validation accuracy is {figures} of them, and the second half "
        f"gained {100 * gain:.1f} points (noise {100 * noise:.1f})"
    )
