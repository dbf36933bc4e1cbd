"""A network's graph as plain data, so that freeze plans are computed and tested without TensorFlow."""

import math
import re
from dataclasses import dataclass
from typing import Any

from thaw.models.backbone_table import BackboneSpec


@dataclass(frozen=True)
class LayerInfo:
    """One layer of a backbone."""

    index: int
    name: str
    type: str
    shape: tuple[int | None, ...]  # of the output, without the batch; None where a side is free
    params: int  # all weights, statistics included
    batchnorm_statistics: int
    macs: int | None = None  # multiplications with kernels for one image; None where a side of the output is free


@dataclass(frozen=True)
class Operation:
    """A node of the graph: a layer, or an operation without weights that is no layer (such as ConvNeXt's addition)."""

    name: str
    layer: int | None  # index into `LayerGraph.layers`
    inputs: tuple[int, ...]  # indices into `LayerGraph.operations`
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class Block:
    """A named sequence of layers that ends with layer `last_layer`."""

    name: str
    last_layer: int


@dataclass(frozen=True)
class LayerGraph:
    """Layers in the order of `backbone.layers`, all operations in topological order, and blocks."""

    layers: tuple[LayerInfo, ...]
    operations: tuple[Operation, ...]
    blocks: tuple[Block, ...]


def read_graph(model: Any, layers: list[Any], spec: BackboneSpec) -> LayerGraph:
    """Return the graph of a functional Keras model whose `layers` are the backbone's, without the preprocessing."""
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
            batchnorm_statistics=sum(math.prod(v.shape) for v in layer.non_trainable_variables if "moving" in v.name),
            macs=_macs(layer),
        )
        for i, layer in enumerate(layers)
    )
    return LayerGraph(records, operations, find_blocks([layer.name for layer in records], spec))


def _parents(operation: Any) -> list[Any]:
    tensors = operation._inbound_nodes[0].input_tensors if operation._inbound_nodes else []
    return [t._keras_history.operation for t in tensors]


def _shape(operation: Any) -> tuple[int | None, ...]:
    output = operation.output
    return tuple((output[0] if isinstance(output, (list, tuple)) else output).shape[1:])


def _macs(layer: Any) -> int | None:
    """Return the multiplications of a layer: each number of a kernel is used once at every position of the output."""
    sides = _shape(layer)[:-1]
    if None in sides:
        return None
    kernels = sum(math.prod(v.shape) for v in layer.weights if len(v.shape) > 1)
    return kernels * math.prod(side for side in sides if side is not None)


def find_blocks(names: list[str], spec: BackboneSpec) -> tuple[Block, ...]:
    """Return the blocks by layer names; layers after the last block belong to it.

    Keras orders layers by depth, so a block's last layer comes after all layers that it depends on.
    """
    if spec.block_end:
        blocks = [Block(m[1], i) for i, name in enumerate(names) if (m := re.match(spec.block_end, name))]
    else:
        assert spec.block_start is not None
        starts: dict[str, int] = {}
        for i, name in enumerate(names):
            if match := re.match(spec.block_start, name):
                starts.setdefault(match[1], i)
        ends = [first - 1 for first in list(starts.values())[1:]] + [len(names) - 1]
        blocks = [Block(name, last) for name, last in zip(starts, ends, strict=True)]
        first = min(starts.values())
        if first > 1:  # more than the input layer comes before the first block
            blocks.insert(0, Block("stem", first - 1))
    if blocks and blocks[-1].last_layer < len(names) - 1:
        blocks[-1] = Block(blocks[-1].name, len(names) - 1)
    return tuple(blocks)
