"""BatchNorm with fixed statistics folded into the convolution before it: another way to compute the same network."""

from typing import Any

import keras
import tensorflow as tf

from thaw.models.convolutions import conv2d, depthwise_conv2d
from thaw.models.layer_graph import LayerGraph

CONVOLUTIONS = ("Conv2D", "DepthwiseConv2D", "SeparableConv2D")  # of Keras


class TrainedConvolution(keras.layers.Layer):
    """Computes a convolution, and the BatchNorm behind it, with the gradients of `models.convolutions`.

    The layers stay as they are, with their names and weights; this one only calls them. A BatchNorm with fixed
    statistics is an affine map, which is carried out on the weights instead of the activations:
    `conv(x, w * s) + beta + (bias - mean) * s` with `s = gamma / sqrt(variance + epsilon)`. Gradients flow through `s`,
    so w, gamma and beta get those of the two layers. Scales are computed in float32, and so is the depthwise half of a
    separable convolution; all else in the compute dtype of the convolution's own layer.

    Args:
        conv: a layer that `is_convolution` accepts.
        batchnorm: the layer that alone takes its output, in inference mode; None when there is nothing to fold.
    """

    def __init__(self, conv: Any, batchnorm: Any = None) -> None:
        super().__init__(name=f"{conv.name}_trained", autocast=False)
        self.conv, self.batchnorm = conv, batchnorm

    def compute_output_spec(self, inputs: Any) -> Any:
        """Return the symbolic output of the convolution."""
        return self.conv.compute_output_spec(inputs)

    def call(self, inputs: Any) -> Any:
        """Return the output of BatchNorm, or of the convolution with its activation where none is folded."""
        conv, options = self.conv, (self.conv.strides, self.conv.padding, self.conv.dilation_rate)
        dtype = conv.compute_dtype
        scale, bias = self._scale_and_bias()
        bias = None if bias is None else tf.cast(bias, dtype)
        if isinstance(conv, keras.layers.SeparableConv2D):
            x = depthwise_conv2d(tf.cast(inputs, tf.float32), conv.depthwise_kernel.value, *options)
            kernel = tf.cast(_scaled(conv.pointwise_kernel, scale), dtype)
            outputs = conv2d(tf.cast(x, dtype), kernel, bias, (1, 1), "valid")
        elif isinstance(conv, keras.layers.DepthwiseConv2D):
            kernel = conv.kernel.value
            if scale is not None:
                kernel = kernel * tf.reshape(scale, kernel.shape[2:])
            outputs = depthwise_conv2d(tf.cast(inputs, dtype), tf.cast(kernel, dtype), *options)
            outputs = outputs if bias is None else tf.nn.bias_add(outputs, bias)
        else:
            outputs = conv2d(tf.cast(inputs, dtype), tf.cast(_scaled(conv.kernel, scale), dtype), bias, *options)
        return outputs if conv.activation is None else conv.activation(outputs)

    def _scale_and_bias(self) -> tuple[Any, Any]:
        """Return what is multiplied into the kernel and added to the output, float32 (channels,) each, or None."""
        bias = self.conv.bias.value if self.conv.use_bias else None
        if self.batchnorm is None:
            return None, bias
        norm = self.batchnorm
        scale = tf.math.rsqrt(norm.moving_variance.value + norm.epsilon)
        if norm.scale:
            scale *= norm.gamma.value
        shift = -norm.moving_mean.value if bias is None else bias - norm.moving_mean.value
        return scale, shift * scale + norm.beta.value if norm.center else shift * scale


def _scaled(kernel: Any, scale: Any) -> Any:
    return kernel.value if scale is None else kernel.value * scale


def with_trained_convolutions(model: Any, graph: LayerGraph, *, fold: bool) -> Any:
    """Return a functional model that computes the same with the same layers, through `TrainedConvolution`.

    Args:
        model: a part of a backbone, from any of its tensors to any others.
        graph: the backbone's.
        fold: BatchNorm layers run in inference mode, so those that `foldable_batchnorms` names are folded.
    """
    within = {operation.name for operation in model.operations}
    pairs = foldable_batchnorms(graph) if fold else {}
    pairs = {conv: norm for conv, norm in pairs.items() if {conv, norm} <= within}
    layers = {layer.name: layer for layer in model.layers}
    # An output of the model between the two layers would get the folded value.
    outputs = {tensor._keras_history.operation.name for tensor in model.outputs}
    pairs = {
        conv: norm for conv, norm in pairs.items() if conv not in outputs and _can_fold(layers[conv], layers[norm])
    }
    folded = set(pairs.values())

    def call(layer: Any, *arguments: Any, **options: Any) -> Any:
        if layer.name in folded:
            return arguments[0]
        if is_convolution(layer):
            return TrainedConvolution(layer, layers.get(pairs.get(layer.name, "")))(*arguments)
        return layer(*arguments, **options)

    return keras.models.clone_model(model, clone_function=lambda layer: layer, call_function=call)


def _can_fold(conv: Any, norm: Any) -> bool:
    """Return whether a BatchNorm scales the channels that a convolution gives as they are."""
    return is_convolution(conv) and conv.activation is keras.activations.linear and norm.axis in (-1, 3)


def foldable_batchnorms(graph: LayerGraph) -> dict[str, str]:
    """Return the BatchNorm that can be folded into each convolution, by the names of the two.

    It normalizes the output of a convolution that nothing else takes. Left alone are those in front of an activation
    and a convolution (ResNetV2, DenseNet), and those behind a concatenation, an addition or a pooling (NASNet). No
    backbone uses a layer at two places; `read_graph` sees the first one only.
    """
    types = [None if o.layer is None else graph.layers[o.layer].type for o in graph.operations]
    consumers: dict[int, list[int]] = {}
    for i, operation in enumerate(graph.operations):
        for parent in operation.inputs:
            consumers.setdefault(parent, []).append(i)
    return {
        graph.operations[parent].name: graph.operations[i].name
        for i, operation in enumerate(graph.operations)
        if types[i] == "BatchNormalization"
        for parent in operation.inputs
        if types[parent] in CONVOLUTIONS and consumers[parent] == [i]
    }


def is_convolution(layer: Any) -> bool:
    """Return whether `TrainedConvolution` computes a layer: of two dimensions, channels last, without groups."""
    if type(layer).__name__ not in CONVOLUTIONS or not isinstance(layer, keras.layers.Layer):
        return False
    return bool(layer.data_format == "channels_last" and getattr(layer, "groups", 1) == 1)
