"""Finds out about a network's depths: what frozen features tell there, and what training behind them takes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from thaw.advice.depths import Depth, DepthFigures, NetworkFigures, candidate_depths, may_be_thawed_behind
from thaw.common.console import progress, say
from thaw.extract.prepared_run import PreparedNetwork
from thaw.frozen.activation_rows import STORAGE_DTYPES
from thaw.frozen.quantization import run_calibration
from thaw.models import freeze
from thaw.models.imagenet_accuracy import imagenet_accuracy
from thaw.training import logistic_regression, recipes

if TYPE_CHECKING:  # TensorFlow is imported when the data has been read
    from thaw.models.network import Cut, Network

STEPS = 3  # that are timed, behind one that traces the function


def network_figures(prepared: PreparedNetwork) -> NetworkFigures:
    """Return what is found out about a network's depths; mean activations are computed once, and cached.

    Raises:
        UserError: the images cannot be read, or stage thaw would end within its warm-up.
    """
    network, data = prepared.network, prepared.data
    epochs = recipes.thaw_epochs(prepared.config, len(data.splits.train))  # before what takes minutes: it may refuse
    depths = candidate_depths(network.backbone.graph)
    features = _mean_activations(prepared, depths)
    labels, figures = data.labels("train"), []
    judged = min(len(labels), logistic_regression.MAX_CHOSEN_ON)
    with progress("probing", len(depths) * logistic_regression.fits()) as bar:
        for depth, rows in zip(depths, features, strict=True):
            solution = logistic_regression.solve(
                rows, labels, len(data.class_names), seed=data.seed, advance=bar.advance
            )
            accuracy = solution.accuracy
            error = 0.0 if accuracy is None else math.sqrt(accuracy * (1 - accuracy) / judged)
            figures.append((depth, accuracy, error))
    images = sum(map(len, data.splits.by_name().values()))
    itemsize = STORAGE_DTYPES[prepared.choice.frozen].itemsize
    return NetworkFigures(
        network.backbone.name,
        network.backbone.image_size,
        tuple(
            DepthFigures(
                depth, accuracy, error, images * itemsize * _stored_values(network, depth),
                None if (epoch := timed_epoch(prepared, depth)) is None else epoch.seconds,
            )
            for depth, accuracy, error in figures
        ),
        epochs,
        imagenet_accuracy(prepared.config.backbone),
    )  # fmt: skip


def _mean_activations(prepared: PreparedNetwork, depths: list[Depth]) -> list[npt.NDArray[np.float32]]:
    """Return the means over positions of the training images' activations at each depth, float32 (n, channels)."""
    from thaw.frozen.activations import build_frozen_part

    network, data = prepared.network, prepared.data
    frozen = build_frozen_part(
        network,
        _mean_cut(network, depths),
        prepared.config.backbone,
        prepared.choice,
        network_cache=prepared.cache,
        calibration=run_calibration(prepared.choice, data.pixels, data.splits.train),
    )
    indices = np.unique(data.splits.train)
    activations = frozen.cached_activations(prepared.cache, data.pixels, indices)
    hits, misses = activations.rows.hits, activations.rows.misses
    say(f"features at {len(depths)} depths: {hits:,} from the cache, {misses:,} computed")
    return list(activations.take(data.splits.train))


def _mean_cut(network: Network, depths: list[Depth]) -> Cut:
    """Return a cut whose tensors are the means over positions at each depth."""
    import keras

    from thaw.models.network import Cut

    tensors: list[Any] = []
    for number, depth in enumerate(depths):
        maps = network.backbone.layers[depth.boundary - 1].output
        name = f"mean_{number}"
        tensors.append(keras.layers.GlobalAveragePooling2D(name=name)(maps))
    return Cut(
        len(network.backbone.layers),
        tuple(tensor._keras_history.operation.name for tensor in tensors),
        tuple(tuple(tensor.shape[1:]) for tensor in tensors),
        tuple(tensors),
    )


def _stored_values(network: Network, depth: Depth) -> int:
    """Return how many numbers of an image the cache holds at a depth."""
    graph = network.backbone.graph
    if depth.boundary == len(graph.layers):
        return int(np.prod(network.pooled_features.shape[1:]))
    return freeze.activation_values_per_image(freeze.cut_operations(graph, depth.boundary)) or 0


@dataclass(frozen=True)
class TimedEpoch:
    """What a training epoch takes, and how much longer its first step, which traces the function."""

    seconds: float
    tracing_seconds: float


def timed_epoch(prepared: PreparedNetwork, depth: Depth) -> TimedEpoch | None:
    """Time a few training steps of what lies behind a depth, on random activations; None where it may not be thawed."""
    from thaw.models.network import cut_at, divide_network
    from thaw.training.timed_steps import timed_steps

    network, data, config, choice = prepared.network, prepared.data, prepared.config, prepared.choice
    layers = network.backbone.layers
    if not may_be_thawed_behind(depth, network.backbone.image_size):
        return None
    plan = freeze.make_plan(depth.block, network.backbone.graph, network.backbone.name, config.finetune.batchnorm)
    freeze.set_trainable(layers, plan.boundary)
    parts = divide_network(network, plan, cut_at(network, plan.boundary), choice.training_step)
    size = min(config.train.batch_size, len(data.splits.train))
    with timed_steps(parts, config.optimizer, choice, data.seed) as step:
        seconds = [step(size) for _ in range(1 + STEPS)]
    of_step = float(np.median(seconds[1:]))
    return TimedEpoch(of_step * -(-len(data.splits.train) // size), max(0.0, seconds[0] - of_step))
