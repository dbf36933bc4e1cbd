"""Pooled features of some images by a trained network, on the engine, in a limited time."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from thaw.common.console import progress
from thaw.common.errors import UserError
from thaw.data.pixels import Pixels
from thaw.run_context import RunContext
from thaw.training.stage_result import TrainingOutcome

if TYPE_CHECKING:  # TensorFlow is there when a network is
    from thaw.models.network import Cut

BATCH_SIZE = 16  # images between two looks at the clock

Features = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]
# Network's inputs of images, by their catalog indices.
ReadInputs = Callable[[Indices], tuple[npt.NDArray[Any], ...]]


def final_features(context: RunContext, trained: TrainingOutcome, indices: Indices, seconds: float) -> Features:
    """Return the pooled features of the first of these test images, float32 (n, D), as many as the time allows.

    They are computed from the activations that the last stage has in the cache, otherwise from the images. A head's
    flattened features are averaged over positions.
    """
    import keras

    from thaw.frozen.engine import InferenceFunction
    from thaw.models.network import cut_at, mean_over_positions

    network, choice = trained.network, trained.engine
    cut = cut_at(network, trained.stages[-1].planned.cut.index)
    read = _cached_inputs(context, trained, cut, indices) if cut.index else None
    if read is not None and cut.index == len(network.backbone.layers):
        return mean_over_positions(network, read(indices)[0])
    if read is None:
        cut, read = cut_at(network, 0), _pixels_of(trained.data.pixels)
    # A quantised part would have to be calibrated again, which is not worth it for a picture.
    rest = keras.Model(list(cut.tensors), network.pooled_features, name="to_features")
    function = InferenceFunction(rest, choice.engine, choice.evaluated)
    return mean_over_positions(network, run_for(lambda inputs: function(*inputs)[0], read, indices, seconds))


def _pixels_of(pixels: Pixels) -> ReadInputs:
    return lambda indices: (pixels.sample(indices),)


def run_for(
    function: Callable[[tuple[npt.NDArray[Any], ...]], Features], read: ReadInputs, indices: Indices, seconds: float
) -> Features:
    """Return function(read(...)) of the first images, in order, until all are done or the seconds have passed."""
    from thaw.frozen.batch_runner import prefetch

    groups = [indices[i : i + BATCH_SIZE] for i in range(0, len(indices), BATCH_SIZE)]
    outputs, started = [], time.monotonic()
    with progress("features for the report", len(indices)) as steps:
        for inputs in prefetch(groups, read):
            outputs.append(function(inputs))
            steps.advance(len(outputs[-1]))
            if time.monotonic() - started > seconds:
                break
    return np.concatenate(outputs)


def _cached_inputs(context: RunContext, trained: TrainingOutcome, cut: "Cut", indices: Indices) -> ReadInputs | None:
    """Return a reader of the activations at the last stage's cut; None if the cache lacks one of them."""
    from thaw.frozen.activations import build_frozen_part

    pixels: Pixels = trained.data.pixels
    part = build_frozen_part(
        trained.network, cut, context.config.backbone, trained.engine, calibration=trained.calibration()
    )
    if part.cache_space(context.cache, None, pixels.decode_options).missing(pixels.digests(indices)):
        return None
    try:
        return part.cached_activations(context.cache, pixels, indices).take
    except UserError:  # evicted or damaged meanwhile
        return None
