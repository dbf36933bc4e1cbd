"""Multinomial logistic regression on features: an output layer without a learning rate. No TensorFlow.

The problem is convex: scikit-learn's solver finds its one solution, where steps along a gradient depend on their rate
and number. It is the linear probe of transfer learning (Kornblith et al., arXiv 1805.08974), and the start for thawing
that distorts features least (LP-FT, Kumar et al., arXiv 2202.10054).
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]

# L2 penalties on the weights of scaled features, by which the mean loss grows: w'w * strength / 2. On features of
# EfficientNet-Lite0 the best one lay between 0.003 and 0.3.
STRENGTHS = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003)
FOLDS = 3
MAX_CHOSEN_ON = 5000  # images that the penalty is chosen on: of more, a stratified sample
NEIGHBOURS = 10  # of the accuracy without any training, printed beside
_DEFAULT_STRENGTH = 0.1  # where a class has one image, and none is left to validate on
_TOLERANCE, _MAX_STEPS = 1e-3, 300  # of L-BFGS; the largest derivative of the mean loss
_CLIP = 1e-7  # of probabilities in the loss, as `results.metrics`


@dataclass(frozen=True)
class Solution:
    """An output layer.

    kernel: float32 (D, C). bias: float32 (C,). strength: of the penalty. accuracy: cross-validated, of training images;
    None if one class has too few of them.
    """

    kernel: FloatArray
    bias: FloatArray
    strength: float
    accuracy: float | None


def solve(
    features: FloatArray,
    labels: IntArray,
    classes: int,
    *,
    class_weight: dict[int, float] | None = None,
    seed: int = 0,
    advance: Callable[[], None] = lambda: None,
) -> Solution:
    """Return the output layer that logistic regression gives; of two runs on the same arrays the same.

    Args:
        features: float32 (n, D), of training images.
        labels: int32 (n,), from 0 to classes - 1.
        classes: C.
        class_weight: weight of each class in the loss.
        seed: of the folds by which the penalty is chosen, and of the sample for that.
        advance: called after each fit of `fits()`.
    """
    # One scale for all: dividing each feature by its own deviation gives rare ones large weights, which cost accuracy
    # (clothing photos, validation: 0.848 instead of 0.865), and by which thawing from such a head diverged.
    mean, scale = features.mean(axis=0), float(np.sqrt(features.var(axis=0).mean())) or 1.0
    scaled = (features - mean) / np.float32(scale)
    # On one thread: beside other work several wait for each other (15 s instead of 0.9 for 3,068 images, two cores),
    # and the last bits would depend on how many there are.
    with threadpool_limits(1):
        strength, accuracy = _choose_strength(scaled, labels, class_weight, seed, advance)
        model = _fitted(scaled, labels, strength, class_weight)
    advance()
    kernel, bias = _output_layer(model, classes)
    kernel /= scale
    return Solution(kernel.astype(np.float32), (bias - mean @ kernel).astype(np.float32), strength, accuracy)


def fits() -> int:
    """Return how many times `solve` fits, at most."""
    return FOLDS * len(STRENGTHS) + 1


def sampled_rows(labels: IntArray, size: int, seed: int) -> npt.NDArray[np.int64]:
    """Return the indices of a sample, int64 (size,), with as large a share of each class as all have.

    Where that cannot be, as a class has one image, or fewer are left out than there are classes, of any images.

    Args:
        labels: int32 (n,), more than `size`.
        size: of the sample.
        seed: of the sample.
    """
    from sklearn.model_selection import train_test_split

    counts = np.bincount(labels)
    present = int((counts > 0).sum())
    even = counts[counts > 0].min() > 1 and min(size, len(labels) - size) >= present
    rows, _ = train_test_split(
        np.arange(len(labels)), train_size=size, random_state=seed, stratify=labels if even else None
    )
    return np.asarray(rows, np.int64)


def _choose_strength(
    features: FloatArray,
    labels: IntArray,
    class_weight: dict[int, float] | None,
    seed: int,
    advance: Callable[[], None],
) -> tuple[float, float | None]:
    """Return the penalty of the least cross-validated loss, and the accuracy with it."""
    from sklearn.model_selection import StratifiedKFold

    if len(labels) > MAX_CHOSEN_ON:
        rows = sampled_rows(labels, MAX_CHOSEN_ON, seed)
        features, labels = features[rows], labels[rows]
    folds = min(FOLDS, int(np.bincount(labels)[np.unique(labels)].min()))
    if folds < 2:
        return _DEFAULT_STRENGTH, None
    loss, right = np.zeros(len(STRENGTHS)), np.zeros(len(STRENGTHS))
    for train, val in StratifiedKFold(folds, shuffle=True, random_state=seed).split(features, labels):
        start = None
        for i, strength in enumerate(STRENGTHS):  # from the strongest on: each begins where the one before ended
            start = _fitted(features[train], labels[train], strength, class_weight, start)
            probabilities = start.predict_proba(features[val])
            columns = np.searchsorted(start.classes_, labels[val])
            of_label = probabilities[np.arange(len(val)), columns].astype(np.float64)
            loss[i] -= np.log(np.clip(of_label, _CLIP, 1.0)).sum()
            right[i] += (probabilities.argmax(axis=1) == columns).sum()
            advance()
    best = int(loss.argmin())
    return STRENGTHS[best], float(right[best] / len(labels))


def _fitted(
    features: FloatArray,
    labels: IntArray,
    strength: float,
    class_weight: dict[int, float] | None,
    start: Any = None,
) -> Any:
    """Return scikit-learn's model for a penalty; it goes on from `start`, which is changed."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    inverse = 1.0 / (strength * len(labels))  # scikit-learn adds the losses up
    if start is None:
        start = LogisticRegression(tol=_TOLERANCE, max_iter=_MAX_STEPS, warm_start=True, class_weight=class_weight)
    start.set_params(C=inverse)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # at 300 steps the loss has stopped falling
        return start.fit(features, labels)


def _output_layer(model: Any, classes: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return kernel (D, C) and bias (C,) of a softmax with a unit for every class.

    Of two classes scikit-learn has the weights of the second one's logit. A class without training images gets the
    smallest bias: it is never the answer.
    """
    weights, bias = model.coef_.astype(np.float64), model.intercept_.astype(np.float64)
    if len(weights) == 1:
        weights, bias = np.vstack([np.zeros_like(weights), weights]), np.concatenate([[0.0], bias])
    kernel, biases = np.zeros((weights.shape[1], classes)), np.full(classes, bias.min() - 30.0)
    kernel[:, model.classes_], biases[model.classes_] = weights.T, bias
    return kernel, biases


def figures(solution: Solution, features: FloatArray, labels: IntArray) -> tuple[float, float]:
    """Return loss and accuracy of a split."""
    logits = features.astype(np.float64) @ solution.kernel + solution.bias
    logits -= logits.max(axis=1, keepdims=True)
    of_label = logits[np.arange(len(labels)), labels] - np.log(np.exp(logits).sum(axis=1))
    loss = -np.clip(of_label, np.log(_CLIP), np.log1p(-_CLIP)).mean()
    return float(loss), float((logits.argmax(axis=1) == labels).mean())


def nearest_neighbours_accuracy(features: dict[str, FloatArray], labels: dict[str, IntArray]) -> float:
    """Return the accuracy on `val` by the nearest neighbours in `train`, by angle: what features tell untrained."""
    from sklearn.neighbors import KNeighborsClassifier

    neighbours = KNeighborsClassifier(min(NEIGHBOURS, len(labels["train"])), metric="cosine", weights="distance")
    return float(neighbours.fit(features["train"], labels["train"]).score(features["val"], labels["val"]))
