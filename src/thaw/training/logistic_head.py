"""head=logistic: sets the output layer behind a frozen network to what logistic regression gives."""

import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from thaw.common.console import progress, say
from thaw.data.dataset import Dataset
from thaw.frozen.batch_runner import BatchSequence
from thaw.models.network import Cut, Network
from thaw.training import logistic_regression
from thaw.training.logistic_regression import FloatArray, Solution
from thaw.training.recipes import TrainingStage
from thaw.training.stage_result import FitResult


def fit_head(
    network: Network,
    cut: Cut,
    stage: TrainingStage,
    data: Dataset,
    batches: Callable[[str], BatchSequence],
    class_weight: dict[int, float] | None,
    on_epoch: Callable[[dict[str, Any]], bool | None],
) -> FitResult:
    """Solve for the network's output layer, and set it; the history has one epoch.

    Args:
        network: with its backbone frozen, and a head of one Dense layer behind global pooling.
        cut: where the batches begin.
        stage: of which this is all.
        data: for the labels.
        batches: the unshuffled batches of a split.
        class_weight: weight of each class in the loss.
        on_epoch: called with the entry of the history.
    """
    started = time.perf_counter()
    features = {split: _features(network, cut, batches(split)) for split in ("train", "val")}
    labels = {split: data.labels(split) for split in features}
    with progress(stage.name, logistic_regression.fits()) as bar:
        solution = logistic_regression.solve(
            features["train"], labels["train"], len(data.class_names), class_weight=class_weight, seed=data.seed,
            advance=bar.advance,
        )  # fmt: skip
    _assign(network.model.get_layer("predictions"), solution)
    seconds = time.perf_counter() - started
    figures = {split: logistic_regression.figures(solution, features[split], labels[split]) for split in features}
    say(_summary(solution, logistic_regression.nearest_neighbours_accuracy(features, labels)))
    entry = {
        "stage": stage.name,
        "epoch": stage.first_epoch + 1,
        "loss": figures["train"][0],
        "accuracy": figures["train"][1],
        "val_loss": figures["val"][0],
        "val_accuracy": figures["val"][1],
        "learning_rate": 0.0,
        "images_per_second": len(labels["train"]) / seconds,
    }
    on_epoch(entry)
    return FitResult([entry], seconds)


def _features(network: Network, cut: Cut, batches: BatchSequence) -> FloatArray:
    """Return the pooled features of a split, float32 (n, D), in its order."""
    rest = None
    if cut.index < len(network.backbone.layers):  # the cache has no room for features, or keeps them further forward
        rest = keras.Model(list(cut.tensors), network.pooled_features, name="to_features")
    found = []
    for i in range(len(batches)):
        arrays, _ = batches.batch(0, i)
        inputs = [np.asarray(x, np.float32) for x in (arrays if isinstance(arrays, tuple) else (arrays,))]
        found.append(inputs[0] if rest is None else np.asarray(rest(inputs, training=False), np.float32))
    return np.concatenate(found)


def _assign(layer: Any, solution: Solution) -> None:
    kernel, bias = solution.kernel, solution.bias
    if layer.units == 1:  # a sigmoid: the logit of the second class against the first
        kernel, bias = kernel[:, 1:] - kernel[:, :1], bias[1:] - bias[:1]
    layer.kernel.assign(kernel)
    layer.bias.assign(bias)


def _summary(solution: Solution, nearest: float) -> str:
    """Return the printed line on what was chosen, with the accuracy of the nearest neighbours beside."""
    chosen = "a class has one training image, so it was not chosen"
    if solution.accuracy is not None:
        chosen = f"chosen by cross-validation, whose accuracy is {solution.accuracy:.4f}"
    return (
        f"  logistic regression: penalty {solution.strength:g}, {chosen} · {logistic_regression.NEIGHBOURS} nearest "
        f"neighbours without training: val accuracy {nearest:.4f}"
    )
