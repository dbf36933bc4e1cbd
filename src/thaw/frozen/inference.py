"""A trained network's probabilities: as its run computed them, and as Keras computes them in float32."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from thaw.cache import CacheFull, DiskCache
from thaw.common.console import progress
from thaw.config.schema import BackboneConfig
from thaw.data.pixels import Pixels
from thaw.frozen.activations import BATCH_SIZE, build_frozen_part, round_as_stored
from thaw.frozen.batch_runner import expand_sigmoid
from thaw.frozen.engine import ArrayTuple, EngineChoice, InferenceFunction, keras_float32
from thaw.models.network import Network, cut_at, feature_cut, frozen_submodel


class TwoPartClassifier:
    """Maps images uint8 (B, S, S, 3) to probabilities float32 (B, C), in the two parts in which the run computed them.

    The place of the cut decides on the last bits of a probability, and in bfloat16 on its third digit: activations are
    rounded there, and Keras runs a head alone.

    Args:
        network: the trained network.
        index: `Cut.index` of the last stage.
        choice: the engine and the precisions of the run.
        quantized: in int8 OpenVINO's model of the part before the cut.
    """

    def __init__(self, network: Network, index: int, choice: EngineChoice, quantized: Any = None) -> None:
        cut = cut_at(network, index)
        rest = keras.Model(list(cut.tensors), network.model.output, name="rest")
        head_alone = index == len(network.backbone.layers)
        self._rest = InferenceFunction(rest, "keras" if head_alone else choice.engine, choice.evaluated)
        self._frozen: Callable[..., ArrayTuple] = lambda images: (images,)
        if index:
            frozen = InferenceFunction(frozen_submodel(network, cut), choice.engine, choice.frozen, quantized)
            self._frozen = round_as_stored(frozen, choice)

    def __call__(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return probabilities, float32 (N, C), of images, uint8 (N, S, S, 3)."""
        return expand_sigmoid(self._rest(*self._frozen(images))[0])


def keras_probabilities(
    network: Network,
    backbone: BackboneConfig,
    pixels: Pixels,
    indices: npt.NDArray[np.int64],
    store: DiskCache | None,
) -> npt.NDArray[np.float32]:
    """Run the whole network in Keras in float32, the reference for engines and for stored activations.

    Args:
        network: the trained network.
        backbone: the backbone's section of the config.
        pixels: the images.
        indices: catalog indices of the images, int64 (N,).
        store: cache of the backbone's features, by the hash of its weights; a backbone of other weights does not find
            them. None for a backbone that was trained: its weights are new in every run.

    Returns:
        probabilities float32 (N, C), in the order of `indices`.
    """
    choice = keras_float32()
    inputs: Callable[[npt.NDArray[np.int64]], ArrayTuple]
    if store is None:
        model, inputs = network.model, lambda rows: (pixels.sample(rows),)
    else:
        model = keras.Model(network.pooled_features, network.model.output, name="head")
        features = build_frozen_part(network, feature_cut(network), backbone, choice)
        try:
            inputs = features.cached_activations(store, pixels, indices).take
        except CacheFull:  # the disk was filled after planning; a finished run must not fail for that
            return keras_probabilities(network, backbone, pixels, indices, None)
    function = InferenceFunction(model, choice.engine, choice.trained)
    outputs = []
    with progress("kept network", len(indices)) as steps:
        for start in range(0, len(indices), BATCH_SIZE):
            rows = indices[start : start + BATCH_SIZE]
            outputs.append(function(*inputs(rows))[0])
            steps.advance(len(rows))
    return expand_sigmoid(np.concatenate(outputs))
