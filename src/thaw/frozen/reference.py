"""A network end to end as Keras runs it: what the figures of an engine, and of kept activations, are held against."""

from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from thaw.cache import Store
from thaw.config.schema import BackboneConfig
from thaw.data.pixels import Pixels
from thaw.frozen import engine
from thaw.frozen.activations import frozen_at
from thaw.frozen.engine import Function
from thaw.frozen.forward import two_columns
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
    given: Any
    if store is None:
        model, given = network.model, (pixels.sample(indices),)
    else:
        model = keras.Model(network.pooled, network.model.output, name="head")
        features = frozen_at(network, len(network.backbone.layers), backbone, choice)
        given = features.activations(store, pixels, indices).take(indices)
    return two_columns(Function(model, choice.engine, choice.trained)(*given)[0])
