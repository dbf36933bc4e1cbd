"""Training steps of a part of a network on random activations, for their time and memory; no weight changes."""

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import keras
import numpy as np

from thaw.common import tensorflow_setup
from thaw.config.schema import OptimizerConfig
from thaw.frozen.engine import EngineChoice
from thaw.models.compute_precision import computing_in
from thaw.models.network import NetworkParts
from thaw.training import optimizers
from thaw.training.range_test import restored


@contextmanager
def timed_steps(
    parts: NetworkParts, optimizer: OptimizerConfig, choice: EngineChoice, seed: int
) -> Iterator[Callable[[int], float]]:
    """Compile what trains, and yield a function of a batch's images: it trains a step, and returns its seconds.

    The first step of a size traces the function, and takes longer than others.

    Args:
        parts: of a network; `parts.trained` is compiled.
        optimizer: whose variables take memory; its rate does not count.
        choice: what computes.
        seed: of the activations.
    """
    outputs = parts.trained.output_shape[-1]

    def step(size: int) -> float:
        rng = np.random.default_rng(seed)
        inputs = [rng.random((size, *shape), np.float32) for shape in parts.cut.shapes]
        targets = np.eye(max(2, outputs), dtype=np.float32)[rng.integers(0, max(2, outputs), size), :outputs]
        started = time.perf_counter()
        parts.trained.train_on_batch(inputs if len(inputs) > 1 else inputs[0], targets)
        return time.perf_counter() - started

    # BatchNorm's statistics move where they train.
    with (
        restored(parts.trained.variables),
        computing_in(parts.trained, choice.trained, by_operation=choice.training_step == "folded"),
    ):
        loss = keras.losses.BinaryCrossentropy() if outputs == 1 else keras.losses.CategoricalCrossentropy()
        # The network is the one that is suggested, and stays as it is.
        still = optimizers.build_optimizer(dataclasses.replace(optimizer, learning_rate=0.0))
        parts.trained.compile(optimizer=still, loss=loss, jit_compile=tensorflow_setup.jit_compile())
        yield step
