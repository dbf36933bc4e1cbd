"""A frozen part as it is sent to other processes, and the rows of a shard of images there. Needs no TensorFlow."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from thaw.common.parallel import prefetch_map
from thaw.data.image_batches import AugmentedView, view_reader
from thaw.data.pixel_stores import MemoryStore
from thaw.data.pixels import Pixels
from thaw.frozen.activation_rows import BATCH_SIZE, CutArrays, pack_rows, rounded, unpack_rows
from thaw.frozen.conversion import network_from_row
from thaw.frozen.engine import InferenceFunction

PREFETCHED_BATCHES = 2  # a thread

_Inputs: TypeAlias = CutArrays | npt.NDArray[np.uint8]  # of a network's first layers or of later ones


@dataclass(frozen=True)
class CutOutputs:
    """Where the tensors of a cut come from: of each, whether an input passes unchanged, and the position.

    The position is among the inputs, or among the outputs of the network between the cuts.
    """

    places: tuple[tuple[bool, int], ...]

    def select(self, inputs: CutArrays, outputs: CutArrays) -> CutArrays:
        """Return the tensors of the cut."""
        return tuple((inputs if passes else outputs)[i] for passes, i in self.places)


@dataclass(frozen=True, eq=False)
class SentNetwork:
    """Layers between two cuts. row: OpenVINO's form of them, as `conversion.network_row` writes it.

    outputs: None for layers from the images on, whose outputs are the cut.
    """

    row: npt.NDArray[np.uint8]
    outputs: CutOutputs | None


@dataclass(frozen=True, eq=False)
class SentPart:
    """What computes the rows of one cut. Between its networks tensors are rounded as if they were stored.

    id: of networks and precision: a process builds them once. dtype: in which numbers are stored. view: of the images.
    source_shapes: of the tensors of stored activations that the rows are computed from; None: from the images.
    """

    id: str
    networks: tuple[SentNetwork, ...]
    precision: str
    dtype: np.dtype[Any]
    view: AugmentedView | None
    source_shapes: tuple[tuple[int, ...], ...] | None


def compute_shard(part: SentPart, shard: Pixels | npt.NDArray[np.uint8], threads: int) -> npt.NDArray[np.uint8]:
    """Return the rows of a shard, uint8 (n, row_bytes), in a process of `ShardWorkers`.

    An image's row is the same whatever shard it is in: the engine computes by `CHUNK_SIZES`, and pads.

    Args:
        part: what to compute.
        shard: the images, or the rows of the activations that the part begins with.
        threads: of decoding, and of the engine, whose results do not depend on them.
    """
    read: Callable[[npt.NDArray[np.int64]], _Inputs]
    if isinstance(shard, Pixels):
        if isinstance(shard.pixel_store, MemoryStore):
            shard.pixel_store.files.check_visible()
        count, read = len(shard.indices), view_reader(shard, part.view)
    else:
        stored, shapes = shard, part.source_shapes
        assert shapes is not None
        count, read = len(stored), lambda places: unpack_rows(stored[places], shapes, part.dtype)
    function = _function(part, threads)
    groups = [np.arange(i, min(i + BATCH_SIZE, count)) for i in range(0, count, BATCH_SIZE)]
    inputs: Iterator[_Inputs] = prefetch_map(
        read, groups, threads=threads, prefetch=PREFETCHED_BATCHES * threads, chunk=1
    )
    return np.concatenate([pack_rows(function(x), part.dtype) for x in inputs])


_Function = Callable[[_Inputs], CutArrays]
_last: tuple[tuple[str, int], _Function] | None = None


def _function(part: SentPart, threads: int) -> _Function:
    """Return the part as a function, that of the last shard if it was of the same part."""
    global _last
    if _last is None or _last[0] != (part.id, threads):
        _last = None  # frees it first
        _last = (part.id, threads), _build(part, threads)
    return _last[1]


def _build(part: SentPart, threads: int) -> _Function:
    def load(network: SentNetwork) -> InferenceFunction:
        converted = network_from_row(network.row)
        return InferenceFunction(None, "openvino", part.precision, converted, threads=threads)

    steps = [(load(network), network.outputs) for network in part.networks]
    dtype = part.dtype

    def run(inputs: _Inputs) -> CutArrays:
        tensors: tuple[Any, ...] = inputs if isinstance(inputs, tuple) else (inputs,)
        for number, (function, outputs) in enumerate(steps):
            if number:
                tensors = rounded(tensors, dtype)
            computed = function(*tensors)
            tensors = computed if outputs is None else outputs.select(tensors, computed)
        return tensors

    return run


def shards_of(indices: npt.NDArray[np.int64], size: int) -> Iterator[npt.NDArray[np.int64]]:
    """Yield the indices in shards of this many images; the last one has the rest."""
    for start in range(0, len(indices), size):
        yield indices[start : start + size]
