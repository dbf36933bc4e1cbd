"""Networks as OpenVINO has them, kept in the cache: loading one takes a tenth of what converting it takes.

They are loaded without TensorFlow.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from thaw.cache import CacheFull, DiskCache
from thaw.common.errors import UserError
from thaw.frozen.openvino_runtime import import_openvino, openvino_core

KEY_FORMAT = 1  # raise it when the same key stands for another network, or for other bytes
# A larger share of the cache is not spent on one network: activations save more.
MAX_SHARE = 1 / 8
GRAPH_BYTES = 1_000_000  # what a network's graph takes at most; its weights take the rest
_DIGEST = "0" * 64  # a space holds one network, as one row


def converted_network(store: DiskCache | None, key: Mapping[str, object], convert: Callable[[], Any]) -> Any:
    """Return the network of a key from the cache; convert it and keep it there if it is missing or damaged.

    A cache that is off, full or cannot be written costs the conversion and nothing else.

    Args:
        store: the cache; None: the network is converted.
        key: all that the converted network depends on, as of a cache space.
        convert: returns OpenVINO's model, such as `convert_to_openvino` or a quantisation of what that returns.
    """
    if store is None or store.disabled:
        return convert()
    converted: list[Any] = []

    def compute(_: list[int]) -> Iterator[npt.NDArray[np.uint8]]:
        if not converted:
            converted.append(convert())
        row = network_row(converted[0])
        if len(row) > MAX_SHARE * store.budget().nbytes:
            raise CacheFull("the converted network takes too large a share of the cache")
        yield row

    try:
        waiting = "another run is converting the same network; waiting for it"
        row = store.space(key).get_or_compute([_DIGEST], compute, wait_message=waiting).row(0)
        return converted[0] if converted else network_from_row(row)
    except (UserError, OSError):  # there is no room for it, or no way to write it
        return converted[0] if converted else convert()


def reserved_bytes(params: int, budget: float) -> float:
    """Return what a plan leaves of the cache's budget for converted layers with so many weights."""
    nbytes = 4.0 * params + GRAPH_BYTES
    return nbytes if nbytes <= MAX_SHARE * budget else 0.0


def network_row(converted: Any) -> npt.NDArray[np.uint8]:
    """Return the network as bytes: the length of its graph (8 bytes), the graph and the weights, float32."""
    with tempfile.TemporaryDirectory(prefix="thaw-") as folder:
        graph, weights = Path(folder, "network.xml"), Path(folder, "network.bin")
        import_openvino().serialize(converted, graph, weights)
        content = graph.read_bytes()
        length = np.array([len(content)], "<i8").view(np.uint8)
        return np.concatenate([length, np.frombuffer(content, np.uint8), np.fromfile(weights, np.uint8)])


def network_from_row(row: npt.NDArray[np.uint8]) -> Any:
    """Return the network of `network_row`."""
    ov, length = import_openvino(), int(row[:8].view("<i8")[0])
    weights = ov.Tensor(np.ascontiguousarray(row[8 + length :]), shared_memory=False)
    return openvino_core().read_model(row[8 : 8 + length].tobytes(), weights)
