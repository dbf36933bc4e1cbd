"""Lets a network's layers compute in another precision for a while; the network itself stays float32."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

DTYPE_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}
"""Keras's dtype policy for each precision; weights stay float32 in all of them."""


@contextmanager
def computing_in(model: Any, precision: str) -> Iterator[None]:
    """While the block runs, what is traced of `model` computes in `precision` (float32, bfloat16 or float16).

    Networks are built, saved and opened in float32: precision belongs to a computation. Preprocessing stays float32
    (bfloat16 has 8 bits for 256 pixel values and then some), and so does the output: a softmax over bfloat16 logits
    loses the small probabilities. The model's own policy is set too: `compile` scales the loss by it in float16.
    """
    layers = [layer for layer in model._flatten_layers(include_self=False) if _follows(layer)]
    own = [layer.dtype_policy for layer in [model, *layers]]
    try:
        for layer in [model, *layers]:
            layer.dtype_policy = DTYPE_POLICIES[precision]
        yield
    finally:
        for layer, policy in zip([model, *layers], own, strict=True):
            layer.dtype_policy = policy


def _follows(layer: Any) -> bool:
    if layer.name == "predictions" or isinstance(layer, (keras.layers.Rescaling, keras.layers.Normalization)):
        return False
    return not any(True for _ in layer._flatten_layers(include_self=False))  # a container casts nothing itself
