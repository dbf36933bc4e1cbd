"""Computation in another precision; the network itself stays float32."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

DTYPE_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}
"""Keras's dtype policy for each precision; weights stay float32 in all of them."""


@contextmanager
def computing_in(model: Any, precision: str) -> Iterator[None]:
    """Within the block, let functions traced from `model` compute in `precision` (float32, bfloat16 or float16).

    Networks are built, saved and loaded in float32, and only computations have a precision. Preprocessing stays float32
    (bfloat16's 8 bits cannot hold scaled pixel values), and so does the output: a softmax over bfloat16 logits loses
    small probabilities. The policy of the model itself is set too, as `compile` scales the loss by it in float16.
    """
    layers = [layer for layer in model._flatten_layers(include_self=False) if _changes_precision(layer)]
    policies = [layer.dtype_policy for layer in [model, *layers]]
    try:
        for layer in [model, *layers]:
            layer.dtype_policy = DTYPE_POLICIES[precision]
        yield
    finally:
        for layer, policy in zip([model, *layers], policies, strict=True):
            layer.dtype_policy = policy


def _changes_precision(layer: Any) -> bool:
    if layer.name == "predictions" or isinstance(layer, (keras.layers.Rescaling, keras.layers.Normalization)):
        return False
    return not any(True for _ in layer._flatten_layers(include_self=False))  # a container casts nothing itself
