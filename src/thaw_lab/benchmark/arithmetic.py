"""The arithmetic of a network and of a training step, and the chip's limit to hold it against. No TensorFlow."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the graph may come from another checkout of thaw
    from thaw.models.layer_graph import LayerGraph

FLOP_PER_MAC = 2  # a multiplication and an addition


def forward_gflop(graph: LayerGraph) -> float:
    """Return the 1e9 operations of all layers for one image, forward."""
    return 1e-9 * FLOP_PER_MAC * sum(layer.macs or 0 for layer in graph.layers)


def step_gflop(graph: LayerGraph, cut: int, boundary: int, head_macs: int) -> float:
    """Return the 1e9 operations of a training step for one image, from activations at a cut.

    Multiplications with kernels are counted, each with its addition: all layers behind the cut and the head forward,
    and for each layer that trains the gradient of its kernel and that of its input. The latter is not needed where no
    weight that trains comes before. Normalization, activations, sums, the loss and the optimizer are not counted.

    Args:
        graph: of the backbone.
        cut: `layers[:cut]` are not run.
        boundary: `layers[:boundary]` are frozen.
        head_macs: of the head, which trains; 1 a weight.
    """
    macs = sum(layer.macs or 0 for layer in graph.layers[cut:]) + head_macs
    behind_trained: list[bool] = []  # by operation: whether a gradient flows out of it
    for operation in graph.operations:
        needs_gradient = any(behind_trained[i] for i in operation.inputs)
        layer = None if operation.layer is None else graph.layers[operation.layer]
        trains = layer is not None and layer.index >= boundary and layer.params > 0
        if layer is not None and layer.index >= boundary:
            macs += (layer.macs or 0) * (1 + needs_gradient)
        behind_trained.append(needs_gradient or trains)
    macs += head_macs * 2  # its first kernel's input gradient is needed only where a layer below it trains
    return 1e-9 * FLOP_PER_MAC * macs


def limit_precision(trained: str) -> str:
    """Return the precision of the limit that a part holds: one that mixes precisions is held against the fastest."""
    return trained if trained in ("float32", "int8") else "bfloat16"
