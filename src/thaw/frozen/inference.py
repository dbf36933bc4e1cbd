"""A trained network as its run computed it: frozen layers in their precision, the rest in its own."""

from typing import Any

import numpy as np
import numpy.typing as npt

from thaw.frozen.activations import round_as_stored
from thaw.frozen.batch_runner import expand_sigmoid
from thaw.frozen.engine import EngineChoice, InferenceFunction
from thaw.models.network import Network, cut_tensors, frozen_submodel


class TwoPartClassifier:
    """Images uint8 (B, S, S, 3) -> probabilities float32 (B, C), in the two parts in which the run computed them.

    at: the last stage's cut, `Cut.at`. Where a network is parted decides on its last bits, and in bfloat16 on the third
    digit of a probability: features are rounded there, and a head alone is run by Keras.
    """

    def __init__(self, network: Network, at: int, choice: EngineChoice) -> None:
        import keras

        rest = keras.Model(cut_tensors(network, at), network.model.output, name="rest")
        head_alone = at == len(network.backbone.layers)
        frozen = InferenceFunction(frozen_submodel(network, at), choice.engine, choice.frozen) if at else None
        self._frozen = round_as_stored(frozen, choice) if frozen is not None else None
        self._rest = InferenceFunction(rest, "keras" if head_alone else choice.engine, choice.trained)

    def __call__(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        given: tuple[npt.NDArray[Any], ...] = self._frozen(images) if self._frozen is not None else (images,)
        return expand_sigmoid(self._rest(*given)[0])
