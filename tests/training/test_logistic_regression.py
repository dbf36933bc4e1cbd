"""The output layer of head=logistic: the one solution of a convex problem, in the features' own units."""

import numpy as np
import pytest

from thaw.training import logistic_regression
from thaw.training.logistic_regression import figures, nearest_neighbours_accuracy, solve


def blobs(per_class: int = 60, classes: int = 4, spread: float = 1.0, size: int = 12):
    """Features of classes around points, of different scales far from one, one of them constant; and their labels."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(classes, dtype=np.int32), per_class)
    centres = rng.normal(size=(classes, size)) * 2
    features = centres[labels] + spread * rng.normal(size=(len(labels), size))
    features *= np.geomspace(50, 200, size)
    features[:, 0] = 7.0
    return features.astype(np.float32), labels


def test_it_is_the_minimum_of_the_penalised_loss() -> None:
    features, labels = blobs(spread=3.0)
    found = solve(features, labels, 4)
    mean, scale = features.mean(axis=0), np.sqrt(features.var(axis=0).mean())
    kernel = found.kernel.astype(np.float64) * scale
    logits = (features - mean) / scale @ kernel + found.bias + mean @ found.kernel
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    errors = (probabilities - np.eye(4)[labels]) / len(labels)
    gradient = ((features - mean) / scale).T @ errors + found.strength * kernel
    assert np.abs(gradient).max() < 5e-3
    assert np.abs(errors.sum(axis=0)).max() < 5e-3, "the bias is not penalised"


def test_of_two_runs_the_second_gives_the_same_bits() -> None:
    first, second = (solve(*blobs(spread=3.0), 4, seed=3) for _ in range(2))
    assert first.kernel.tobytes() == second.kernel.tobytes()
    assert (first.bias.tobytes(), first.strength) == (second.bias.tobytes(), second.strength)


def test_the_penalty_is_chosen_by_what_it_does_to_unseen_images() -> None:
    features, labels = blobs(per_class=12, spread=12.0, size=200)
    noisy = solve(features, labels, 4)
    clear = solve(*blobs(spread=0.3), 4)
    assert noisy.strength > clear.strength
    assert clear.accuracy == 1.0
    assert noisy.accuracy is not None
    assert noisy.accuracy < 0.9


def test_figures_are_those_of_a_softmax() -> None:
    features, labels = blobs()
    found = solve(features, labels, 4)
    loss, accuracy = figures(found, features, labels)
    logits = features @ found.kernel + found.bias
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert loss == pytest.approx(-np.log(probabilities[np.arange(len(labels)), labels]).mean(), rel=1e-3)
    assert accuracy == (logits.argmax(axis=1) == labels).mean()


@pytest.mark.parametrize("classes", [2, 3])
def test_two_classes_have_two_units(classes: int) -> None:
    features, labels = blobs(classes=classes)
    found = solve(features, labels, classes)
    assert (found.kernel.shape, found.bias.shape) == ((12, classes), (classes,))
    assert figures(found, features, labels)[1] > 0.99


def test_a_class_with_one_image_leaves_the_penalty_as_it_is_and_one_without_is_never_the_answer() -> None:
    features, labels = blobs(classes=3)
    few = np.flatnonzero((labels < 2) | (np.arange(len(labels)) == len(labels) - 1))
    found = solve(features[few], labels[few], 5)
    assert found.accuracy is None
    assert set((features @ found.kernel + found.bias).argmax(axis=1)) <= {0, 1, 2}


def test_a_heavier_class_wins_more_often() -> None:
    features, labels = blobs(classes=2, spread=8.0)
    plain, weighed = (solve(features, labels, 2, class_weight=weight) for weight in (None, {0: 1.0, 1: 5.0}))
    votes = [((features @ found.kernel + found.bias).argmax(axis=1) == 1).sum() for found in (plain, weighed)]
    assert votes[1] > votes[0]


def test_of_many_images_a_sample_chooses_the_penalty_and_all_are_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = blobs(per_class=100, spread=4.0)
    monkeypatch.setattr(logistic_regression, "MAX_CHOSEN_ON", 80)
    fitted = []
    own = logistic_regression._fitted
    monkeypatch.setattr(
        logistic_regression, "_fitted", lambda x, *rest: fitted.append(len(x)) or own(x, *rest)
    )  # fmt: skip
    solve(features, labels, 4)
    assert max(fitted[:-1]) <= 80
    assert fitted[-1] == 400


@pytest.mark.parametrize("more", [1, 3, 50])
def test_a_few_images_more_than_are_sampled_and_a_class_with_one_are_no_obstacle(
    more: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    features, labels = blobs(per_class=100, spread=4.0)
    monkeypatch.setattr(logistic_regression, "MAX_CHOSEN_ON", len(labels) - more)
    assert solve(features, labels, 4).accuracy is not None
    labels[0] = 4
    features[0, 0] = 5000.0  # the others have 7 there
    found = solve(features, labels, 5)
    assert (features @ found.kernel + found.bias)[:, 4].argmax() == 0, "all are fitted, that one too"


def test_progress_counts_every_fit() -> None:
    steps = []
    solve(*blobs(), 4, advance=lambda: steps.append(1))
    assert len(steps) == logistic_regression.fits()


def test_nearest_neighbours_need_no_training() -> None:
    features, labels = blobs()
    unit = features / np.geomspace(50, 200, 12).astype(np.float32)
    accuracy = nearest_neighbours_accuracy(
        {"train": unit[::2], "val": unit[1::2]}, {"train": labels[::2], "val": labels[1::2]}
    )
    assert accuracy > 0.9
