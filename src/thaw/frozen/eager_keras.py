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
    tensors = {id(symbol): tensor for symbol, tensor in zip(model.inputs, inputs, strict=True)}
    by_depth = model._nodes_by_depth
    nodes = [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth] if not node.is_input]
    last_reader = {id(symbol): position for position, node in enumerate(nodes) for symbol in node.input_tensors}
    outputs = [id(symbol) for symbol in model.outputs]
    last_reader.update(dict.fromkeys(outputs, len(nodes)))
    for position, node in enumerate(nodes):
        results = _run(node, tensors)
        tensors.update(zip(map(id, node.outputs), results, strict=True))
        for key in {id(symbol) for symbol in node.input_tensors}:
            if last_reader[key] == position:
                del tensors[key]
    return [tensors[key] for key in outputs]


def _run(node: Any, tensors: dict[int, Any]) -> list[Any]:
    args, kwargs = node.arguments.fill_in(tensors)
    if "training" in getattr(node.operation, "_call_context_args", {}):
        kwargs["training"] = False
    return list(keras.tree.flatten(node.operation(*args, **kwargs)))
