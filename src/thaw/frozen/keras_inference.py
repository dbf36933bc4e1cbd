"""A network end to end as Keras runs it: what the figures of an engine, and of kept activations, are held against."""

from collections.abc import Callable

import keras
import numpy as np
import numpy.typing as npt

from thaw.cache import CacheFull, DiskCache
from thaw.common.console import progress
from thaw.config.schema import BackboneConfig
from thaw.data.pixels import Pixels
from thaw.frozen import engine
from thaw.frozen.activations import BATCH_SIZE, build_frozen_part
from thaw.frozen.batch_runner import expand_sigmoid
from thaw.frozen.engine import ArrayTuple, InferenceFunction
from thaw.models.network import Network, feature_cut


def keras_probabilities(
    network: Network,
    backbone: BackboneConfig,
    pixels: Pixels,
    indices: npt.NDArray[np.int64],
    store: DiskCache | None,
) -> npt.NDArray[np.float32]:
    """Probabilities of these images, float32 (N, C), in the order of `indices`.

    store: where the backbone's features are kept, as Keras gives them: under the hash of its weights, so only a
    backbone that is the same bit for bit finds them. None: nothing is kept; for one that was trained, whose hash is
    new in every run.
    """
    choice = engine.keras_float32()
    given: Callable[[npt.NDArray[np.int64]], ArrayTuple]
    if store is None:
        model, given = network.model, lambda rows: (pixels.sample(rows),)
    else:
        model = keras.Model(network.pooled_features, network.model.output, name="head")
        features = build_frozen_part(network, feature_cut(network), backbone, choice)
        try:
            given = features.cached_activations(store, pixels, indices).take
        except CacheFull:  # since it was planned; a run that is done must not end for want of room
            return keras_probabilities(network, backbone, pixels, indices, None)
    function = InferenceFunction(model, choice.engine, choice.trained)
    found = []
    with progress("kept network", len(indices)) as steps:
        for start in range(0, len(indices), BATCH_SIZE):
            rows = indices[start : start + BATCH_SIZE]
            found.append(function(*given(rows))[0])
            steps.advance(len(rows))
    return expand_sigmoid(np.concatenate(found))
