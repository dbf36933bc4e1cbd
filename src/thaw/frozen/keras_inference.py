"""A network end to end as Keras runs it: what the figures of an engine, and of kept activations, are held against."""

from collections.abc import Callable

import keras
import numpy as np
import numpy.typing as npt

from thaw.cache import Full, Store
from thaw.common.console import progress
from thaw.config.schema import BackboneConfig
from thaw.data.pixels import Pixels
from thaw.frozen import engine
from thaw.frozen.activations import BATCH, frozen_at
from thaw.frozen.batch_runner import two_columns
from thaw.frozen.engine import Arrays, Function
from thaw.models.network import Network


def end_to_end(
    network: Network,
    backbone: BackboneConfig,
    pixels: Pixels,
    indices: npt.NDArray[np.int64],
    store: Store | None,
) -> npt.NDArray[np.float32]:
    """Probabilities of these images, float32 (N, C), in the order of `indices`.

    store: where the backbone's features are kept, as Keras gives them: under the hash of its weights, so only a
    backbone that is the same bit for bit finds them. None: nothing is kept; for one that was trained, whose hash is
    new in every run.
    """
    choice = engine.reference()
    given: Callable[[npt.NDArray[np.int64]], Arrays]
    if store is None:
        model, given = network.model, lambda rows: (pixels.sample(rows),)
    else:
        model = keras.Model(network.pooled, network.model.output, name="head")
        features = frozen_at(network, len(network.backbone.layers), backbone, choice)
        try:
            given = features.activations(store, pixels, indices).take
        except Full:  # since it was planned; a run that is done must not end for want of room
            return end_to_end(network, backbone, pixels, indices, None)
    function = Function(model, choice.engine, choice.trained)
    found = []
    with progress("kept network", len(indices)) as steps:
        for start in range(0, len(indices), BATCH):
            rows = indices[start : start + BATCH]
            found.append(function(*given(rows))[0])
            steps.advance(len(rows))
    return two_columns(np.concatenate(found))
