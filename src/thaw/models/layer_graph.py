"""A network's graph as plain data, so that freeze plans can be made and tested without TensorFlow."""

import math
import re
from dataclasses import dataclass
from typing import Any

from thaw.models.backbone_table import BackboneSpec


@dataclass(frozen=True)
class LayerInfo:
    """One layer of a backbone.

    shape: of its output, without the batch dimension; None where the side is free.
    params: all weights, statistics included; moving: those of them that are BatchNorm statistics.
    macs: multiplications with kernels for one image; None where the output's side is free.
    """

    index: int
    name: str
    type: str
    shape: tuple[int | None, ...]
    params: int
    batchnorm_statistics: int
    macs: int | None = None


@dataclass(frozen=True)
class Operation:
    """A node of the graph: a layer, or an operation without weights that is no layer (such as ConvNeXt's addition).

    layer: index into `Graph.layers`, or None. inputs: positions of the nodes it reads.
    """

    name: str
    layer: int | None
    inputs: tuple[int, ...]
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class Block:
    """A named run of layers; `last` is the index of its last layer."""

    name: str
    last_layer: int


@dataclass(frozen=True)
class LayerGraph:
    """Layers in the order of `backbone.layers`, all operations in topological order, and the blocks."""

    layers: tuple[LayerInfo, ...]
    operations: tuple[Operation, ...]
    blocks: tuple[Block, ...]


def read_graph(model: Any, layers: list[Any], row: BackboneSpec) -> LayerGraph:
    """Read a functional Keras model; `layers` are the backbone's, in order, without the preprocessing before them."""
    index = {id(layer): i for i, layer in enumerate(layers)}
    position = {id(operation): i for i, operation in enumerate(model.operations)}
    operations = tuple(
        Operation(
            name=operation.name,
            layer=index.get(id(operation)),
            inputs=tuple(position[id(parent)] for parent in _parents(operation)),
            shape=_shape(operation),
        )
        for operation in model.operations
    )
    records = tuple(
        LayerInfo(
            index=i,
            name=layer.name,
            type=type(layer).__name__,
            shape=_shape(layer),
            params=layer.count_params() if layer.weights else 0,
            batchnorm_statistics=sum(int(_size(v)) for v in layer.non_trainable_variables if "moving" in v.name),
            macs=_macs(layer),
        )
        for i, layer in enumerate(layers)
    )
    return LayerGraph(records, operations, find_blocks([layer.name for layer in records], row))


def _parents(operation: Any) -> list[Any]:
    tensors = operation._inbound_nodes[0].input_tensors if operation._inbound_nodes else []
    return [t._keras_history.operation for t in tensors]


def _shape(operation: Any) -> tuple[int | None, ...]:
    output = operation.output
    return tuple((output[0] if isinstance(output, (list, tuple)) else output).shape[1:])


def _macs(layer: Any) -> int | None:
    """Every number of a kernel is used once at every place of the output."""
    places = _shape(layer)[:-1]
    if None in places:
        return None
    kernels = sum(_size(v) for v in layer.weights if len(v.shape) > 1)
    return kernels * math.prod(side for side in places if side is not None)


def _size(variable: Any) -> int:
    size = 1
    for side in variable.shape:
        size *= side
    return size


def find_blocks(names: list[str], row: BackboneSpec) -> tuple[Block, ...]:
    """Find the blocks by layer names; layers after the last block's last layer count to that block.

    Keras orders layers by depth, so every layer that a block's end depends on comes before that end.
    """
    if row.block_end:
        found = [Block(m[1], i) for i, name in enumerate(names) if (m := re.match(row.block_end, name))]
    else:
        assert row.block_start is not None
        starts: dict[str, int] = {}
        for i, name in enumerate(names):
            if match := re.match(row.block_start, name):
                starts.setdefault(match[1], i)
        ends = [first - 1 for first in list(starts.values())[1:]] + [len(names) - 1]
        found = [Block(name, last) for name, last in zip(starts, ends, strict=True)]
        first = min(starts.values())
        if first > 1:  # more than the input layer comes before the first block
            found.insert(0, Block("stem", first - 1))
    if found and found[-1].last_layer < len(names) - 1:
        found[-1] = Block(found[-1].name, len(names) - 1)
    return tuple(found)
