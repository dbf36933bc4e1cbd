"""Keras in eager mode, operation by operation, in little memory."""

from collections.abc import Sequence
from typing import Any

import keras


def run_operations(model: Any, inputs: Sequence[Any]) -> list[Any]:
    """Return the outputs of a functional model in inference mode: those of `model(inputs)`, bit for bit.

    The model itself holds the outputs of all layers until it returns, which EfficientNetB7 fills 4 GB with for one
    image. Here a tensor is dropped once all that read it have run.

    Args:
        model: a functional Keras model.
        inputs: one array or tensor for each of its inputs, in their order.
    """
    return run_between(model, model.inputs, inputs, model.outputs)


def run_between(model: Any, starts: Sequence[Any], values: Sequence[Any], ends: Sequence[Any]) -> list[Any]:
    """Return the values of some tensors of a functional model from those of others, as `run_operations` does.

    Nothing is built for it: a model made of such a part would add nodes to the layers that it shares.

    Args:
        model: a functional Keras model.
        starts: symbolic tensors of its graph, on which `ends` depend and on no other input.
        values: an array or tensor for each of `starts`.
        ends: symbolic tensors of its graph.
    """
    tensors = {id(symbol): tensor for symbol, tensor in zip(starts, values, strict=True)}
    nodes = _nodes_between(model, set(tensors), ends)
    last_reader = {id(symbol): position for position, node in enumerate(nodes) for symbol in node.input_tensors}
    last_reader.update(dict.fromkeys(map(id, ends), len(nodes)))
    for position, node in enumerate(nodes):
        results = _run(node, tensors)
        tensors.update(zip(map(id, node.outputs), results, strict=True))
        for key in {id(symbol) for symbol in node.input_tensors}:
            if last_reader[key] == position:
                del tensors[key]
    return [tensors[id(symbol)] for symbol in ends]


def ordered_nodes(model: Any) -> list[Any]:
    """Return the nodes of a functional model in topological order, without those of its inputs.

    A node is a call of an operation: `node.operation`, its `input_tensors` and its `outputs`.
    """
    by_depth = model._nodes_by_depth
    return [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth] if not node.is_input]


def _nodes_between(model: Any, known: set[int], ends: Sequence[Any]) -> list[Any]:
    """Return the nodes, in order, that compute `ends` from the tensors whose ids are known."""
    needed = {id(symbol) for symbol in ends} - known
    nodes = []
    for node in reversed(ordered_nodes(model)):
        if any(id(symbol) in needed for symbol in node.outputs):
            nodes.append(node)
            needed |= {id(symbol) for symbol in node.input_tensors} - known
    return nodes[::-1]


def _run(node: Any, tensors: dict[int, Any]) -> list[Any]:
    args, kwargs = node.arguments.fill_in(tensors)
    if "training" in getattr(node.operation, "_call_context_args", {}):
        kwargs["training"] = False
    return list(keras.tree.flatten(node.operation(*args, **kwargs)))
