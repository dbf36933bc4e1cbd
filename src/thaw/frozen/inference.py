"""A trained network as its run computed it: frozen layers in their precision, the rest in its own."""

from typing import Any

import numpy as np
import numpy.typing as npt

from thaw.frozen.activations import round_as_stored
from thaw.frozen.batch_runner import expand_sigmoid
from thaw.frozen.engine import EngineChoice, InferenceFunction
from thaw.models.network import Network, cut_at, frozen_submodel


class TwoPartClassifier:
    """Maps images uint8 (B, S, S, 3) to probabilities float32 (B, C), in the two parts in which the run computed them.

    The place of the cut decides on the last bits of a probability, and in bfloat16 on its third digit: activations are
    rounded there, and Keras runs a head alone.

    Args:
        network: the trained network.
        index: `Cut.index` of the last stage.
        choice: the engine and the precisions of the run.
    """

    def __init__(self, network: Network, index: int, choice: EngineChoice) -> None:
        import keras

        cut = cut_at(network, index)
        rest = keras.Model(list(cut.tensors), network.model.output, name="rest")
        head_alone = index == len(network.backbone.layers)
        frozen = InferenceFunction(frozen_submodel(network, cut), choice.engine, choice.frozen) if index else None
        self._frozen = round_as_stored(frozen, choice) if frozen is not None else None
        self._rest = InferenceFunction(rest, "keras" if head_alone else choice.engine, choice.trained)

    def __call__(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        given: tuple[npt.NDArray[Any], ...] = self._frozen(images) if self._frozen is not None else (images,)
        return expand_sigmoid(self._rest(*given)[0])
