"""A trained network's outputs: as its run computed them, and as Keras computes them in float32."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from thaw.cache import DiskCache
from thaw.common.errors import UserError
from thaw.config.schema import BackboneConfig
from thaw.data.pixels import Pixels
from thaw.frozen.activation_rows import BATCH_SIZE
from thaw.frozen.activations import build_frozen_part, round_as_stored
from thaw.frozen.batch_runner import expand_sigmoid
from thaw.frozen.engine import CHUNK_SIZES, ArrayTuple, EngineChoice, InferenceFunction, keras_float32
from thaw.models.network import Network, cut_at, feature_cut, frozen_submodel


class TwoPartNetwork:
    """Maps images uint8 (B, S, S, 3) to an output float32 (B, ...), in the two parts in which the run computed it.

    The place of the cut decides on the last bits of a probability, and in bfloat16 on its third digit: activations are
    rounded there, and Keras runs a head alone.

    Args:
        network: the trained network.
        index: `Cut.index` of the last stage.
        choice: the engine and the precisions of the run.
        output: a symbolic tensor behind the cut, or one of the cut itself; by default the network's output.
        quantized: in int8 OpenVINO's model of the part before the cut.
    """

    def __init__(
        self, network: Network, index: int, choice: EngineChoice, output: Any = None, quantized: Any = None
    ) -> None:
        cut, output = cut_at(network, index), network.model.output if output is None else output
        self._needed = _ancestors_among(cut.tensors, output)
        entries = [cut.tensors[i] for i in self._needed]
        self._rest: Callable[..., ArrayTuple] = lambda *tensors: tensors
        if not any(tensor is output for tensor in entries):
            rest = keras.Model(entries, output, name="rest")
            head_alone = index == len(network.backbone.layers)
            self._rest = InferenceFunction(rest, "keras" if head_alone else choice.engine, choice.evaluated)
        self._frozen: Callable[..., ArrayTuple] = lambda images: (images,)
        if index:
            frozen = InferenceFunction(frozen_submodel(network, cut), choice.engine, choice.frozen, quantized)
            self._frozen = round_as_stored(frozen, choice)

    def __call__(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return the output, float32 (N, ...), of images, uint8 (N, S, S, 3)."""
        tensors = self._frozen(images)
        return self._rest(*(tensors[i] for i in self._needed))[0]


def _ancestors_among(tensors: Sequence[Any], output: Any) -> list[int]:
    """Return the positions of the symbolic tensors that an output is computed from; its own if it is one of them."""
    places = {id(tensor): i for i, tensor in enumerate(tensors)}
    found: set[int] = set()
    waiting, seen = [output], {id(output)}
    while waiting:
        tensor = waiting.pop()
        if id(tensor) in places:
            found.add(places[id(tensor)])
            continue
        operation, node, _ = tensor._keras_history
        parents = [x for x in operation._inbound_nodes[node].input_tensors if id(x) not in seen]
        waiting += parents
        seen.update(map(id, parents))
    return sorted(found)


class TwoPartClassifier(TwoPartNetwork):
    """A `TwoPartNetwork` to probabilities float32 (B, C): both classes' of a sigmoid."""

    def __call__(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return probabilities, float32 (N, C), of images, uint8 (N, S, S, 3)."""
        return expand_sigmoid(super().__call__(images))


class KerasReference:
    """Runs a whole network in Keras in float32: the reference for engines and for stored activations.

    Args:
        network: the trained network.
        backbone: the backbone's section of the config.
        pixels: the images.
        store: cache of the backbone's features, by the hash of its weights; a backbone of other weights does not find
            them. None for a backbone that was trained: its weights are new in every run.
        chunk: images that are run together where none are cached; the last bits of an output may depend on it.
    """

    def __init__(
        self,
        network: Network,
        backbone: BackboneConfig,
        pixels: Pixels,
        store: DiskCache | None,
        chunk: int = CHUNK_SIZES["keras"],
    ) -> None:
        self._network, self._pixels, self._store = network, pixels, store
        choice = keras_float32()
        self._whole = InferenceFunction(network.model, choice.engine, choice.trained, chunk)
        if store is not None:
            head = keras.Model(network.pooled_features, network.model.output, name="head")
            self._head = InferenceFunction(head, choice.engine, choice.trained)
            self._features = build_frozen_part(network, feature_cut(network), backbone, choice)

    def count_cached(self, indices: npt.NDArray[np.int64]) -> int:
        """Return how many images from the first on have their features in the cache."""
        if self._store is None:
            return 0
        space = self._features.cache_space(self._store, None, self._pixels.decode_options)
        missing = space.missing(self._pixels.digests(indices))
        return missing[0] if missing else len(indices)

    def probabilities(
        self, indices: npt.NDArray[np.int64], advance: Callable[[int], None] = lambda images: None
    ) -> npt.NDArray[np.float32]:
        """Return probabilities float32 (N, C), in the order of the catalog indices, int64 (N,).

        advance: called after every few images, with their number.
        """
        inputs: Callable[[npt.NDArray[np.int64]], ArrayTuple]
        function, inputs = self._whole, lambda rows: (self._pixels.sample(rows),)
        if self._store is not None:
            # A finished run must not fail for a cache that was filled or damaged after planning.
            with suppress(UserError):
                inputs = self._features.cached_activations(self._store, self._pixels, indices).take
                function = self._head
        outputs = []
        for start in range(0, len(indices), BATCH_SIZE):
            rows = indices[start : start + BATCH_SIZE]
            outputs.append(function(*inputs(rows))[0])
            advance(len(rows))
        return expand_sigmoid(np.concatenate(outputs))
