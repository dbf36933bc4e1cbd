"""Computation in another precision; the network itself stays float32."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

from thaw.models.network import HEAD_LAYERS

DTYPE_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}
"""Keras's dtype policy for each precision; weights stay float32 in all of them."""


@contextmanager
def computing_in(model: Any, precision: str, *, by_operation: bool = False) -> Iterator[None]:
    """Within the block, let functions traced from `model` compute in `precision` (float32, bfloat16 or float16).

    Networks are built, saved and loaded in float32, and only computations have a precision. Preprocessing stays float32
    (bfloat16's 8 bits cannot hold scaled pixel values), and so does the output: a softmax over bfloat16 logits loses
    small probabilities. The policy of the model itself is set too, as `compile` scales the loss by it in float16.

    by_operation: depthwise convolutions and the whole head stay float32 too. oneDNN's bfloat16 gradients of depthwise
    convolutions take 3 to 6 times as long as its float32 ones, and a head is too small to gain. In a network with
    depthwise convolutions so does all that is no convolution: their activations are float32, and activation functions
    and additions in between are faster than in bfloat16 (MobileNetV2 from layer 100: 447 images/s, 414 otherwise).
    """
    layers = [layer for layer in model._flatten_layers(include_self=False) if _changes_precision(layer)]
    separable = keras.layers.SeparableConv2D
    depthwise = any(is_depthwise(layer) or isinstance(layer, separable) for layer in layers)
    float32_layers = {id(layer) for layer in layers if _stays_float32(layer, depthwise)} if by_operation else set()
    policies = [layer.dtype_policy for layer in [model, *layers]]
    try:
        for layer in [model, *layers]:
            layer.dtype_policy = DTYPE_POLICIES["float32" if id(layer) in float32_layers else precision]
        yield
    finally:
        for layer, policy in zip([model, *layers], policies, strict=True):
            layer.dtype_policy = policy


def _stays_float32(layer: Any, depthwise: bool) -> bool:
    """Return whether a layer stays float32 by operation, in a network with depthwise convolutions or without."""
    dense = isinstance(layer, (keras.layers.Conv2D, keras.layers.SeparableConv2D, keras.layers.Dense))
    return layer.name in HEAD_LAYERS or is_depthwise(layer) or (depthwise and not dense)


def is_depthwise(layer: Any) -> bool:
    """Return whether a layer is a depthwise convolution; ConvNeXt's are convolutions with a group for each channel."""
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return True
    return isinstance(layer, keras.layers.Conv2D) and layer.groups > 1


def _changes_precision(layer: Any) -> bool:
    if layer.name == "predictions" or isinstance(layer, (keras.layers.Rescaling, keras.layers.Normalization)):
        return False
    return not any(True for _ in layer._flatten_layers(include_self=False))  # a container casts nothing itself
