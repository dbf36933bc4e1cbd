"""Convolutions for training on CPUs: TensorFlow's own forward, and filter gradients by whichever kernel is faster.

All figures: 2 cores AMD EPYC (Zen 5, AVX-512 with bfloat16), TensorFlow 2.21, batch 32.
"""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

# oneDNN's filter gradients reach half the speed of its forward kernels where maps are small; a matrix product for each
# position of the kernel is 1.2 to 2.1 times as fast there in bfloat16 (3x3 at 7x7 with 512 channels: 9.6 ms instead of
# 16.5), and 0.5 to 0.9 times on larger maps, with fewer channels or with strides, which need copies.
MATMUL_POSITIONS = 18 * 18
MATMUL_CHANNELS = 160
# TensorFlow's own kernel takes half as long as oneDNN's for 5x5 depthwise kernels (3.1 ms instead of 6.6 at 7x7 with
# 1,152 channels), and twice as long for 3x3 ones.
OWN_DEPTHWISE_KERNEL = 5


def conv2d(
    x: Any, kernel: Any, bias: Any, strides: Sequence[int], padding: str, dilation: Sequence[int] = (1, 1)
) -> Any:
    """Return the convolution of x (B, H, W, C) with kernel (h, w, C, D) plus bias (D,), as Keras's Conv2D does.

    Args:
        x: images or activations, channels last.
        kernel: the filters, of the dtype of x.
        bias: likewise; or None.
        strides: of rows and columns.
        padding: valid or same.
        dilation: of rows and columns.
    """

    def forward(x: Any, kernel: Any, *bias: Any) -> Any:
        outputs = tf.nn.conv2d(x, kernel, list(strides), padding.upper(), dilations=list(dilation))
        return tf.nn.bias_add(outputs, *bias) if bias else outputs  # one operation, with a ReLU behind it, on CPUs

    weights = (kernel,) if bias is None else (kernel, bias)
    if not all(step == 1 for step in (*strides, *dilation)) or None in x.shape[1:3]:
        return forward(x, *weights)
    height, width = (_outputs(side, size, 1, padding) for side, size in zip(x.shape[1:3], kernel.shape, strict=False))
    if not uses_matmul(tuple(kernel.shape), height * width, x.dtype.name):
        return forward(x, *weights)

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def convolve(x: Any, kernel: Any, *bias: Any) -> Any:
        def gradients(upstream: Any) -> tuple[Any, ...]:
            to_input = tf.raw_ops.Conv2DBackpropInput(
                input_sizes=tf.shape(x), filter=kernel, out_backprop=upstream, strides=[1, 1, 1, 1],
                padding=padding.upper(),
            )  # fmt: skip
            flat = tf.reshape(upstream, [-1, upstream.shape[-1]])
            # A product with ones sums bfloat16 in float32, in a tenth of the time of BiasAddGrad.
            to_bias = [tf.matmul(tf.ones_like(flat[:, :1]), flat, transpose_a=True)[0] for _ in bias]
            return to_input, _filter_gradient(x, kernel.shape, upstream), *to_bias

        return forward(x, kernel, *bias), gradients

    return convolve(x, *weights)


def _filter_gradient(x: Any, kernel_shape: Sequence[int], upstream: Any) -> Any:
    """Return the gradient of a kernel with stride 1, by a matrix product for each of its positions."""
    (rows, columns), (height, width) = kernel_shape[:2], upstream.shape[1:3]
    pads = [_pads(x.shape[1], rows, height), _pads(x.shape[2], columns, width)]
    padded = tf.pad(x, [[0, 0], *pads, [0, 0]]) if any(map(any, pads)) else x
    flat = tf.reshape(upstream, [-1, upstream.shape[-1]])
    products = [
        tf.matmul(tf.reshape(padded[:, i : i + height, j : j + width], [-1, x.shape[-1]]), flat, transpose_a=True)
        for i in range(rows)
        for j in range(columns)
    ]
    return tf.reshape(tf.stack(products), kernel_shape)


def uses_matmul(kernel_shape: Sequence[int], positions: int, dtype: str) -> bool:
    """Return whether a matrix product for each position of a kernel is the faster filter gradient.

    Args:
        kernel_shape: (h, w, input channels, output channels), of a convolution with stride 1.
        positions: height times width of the output.
        dtype: in which it is computed.
    """
    pointwise = tuple(kernel_shape[:2]) == (1, 1)
    if dtype == "float32":
        return pointwise
    return positions <= MATMUL_POSITIONS and (pointwise or min(kernel_shape[2:]) >= MATMUL_CHANNELS)


def depthwise_conv2d(
    x: Any, kernel: Any, strides: Sequence[int], padding: str, dilation: Sequence[int] = (1, 1)
) -> Any:
    """Return the depthwise convolution of x (B, H, W, C) with kernel (h, w, C, M), as Keras's DepthwiseConv2D does."""
    steps = [1, *strides, 1]

    def forward(x: Any, kernel: Any) -> Any:
        return tf.nn.depthwise_conv2d(x, kernel, steps, padding.upper(), dilations=list(dilation))

    sides = x.shape[1:3]
    if min(kernel.shape[:2]) < OWN_DEPTHWISE_KERNEL or tuple(dilation) != (1, 1) or None in sides:
        return forward(x, kernel)
    pads = [
        _pads(side, size, _outputs(side, size, step, padding), step)
        for side, size, step in zip(sides, kernel.shape[:2], strides, strict=True)
    ]

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def convolve(x: Any, kernel: Any) -> Any:
        def gradients(upstream: Any) -> tuple[Any, Any]:
            to_input = tf.nn.depthwise_conv2d_backprop_input(tf.shape(x), kernel, upstream, steps, padding.upper())
            to_kernel = tf.raw_ops.DepthwiseConv2dNativeBackpropFilter(
                input=x, filter_sizes=kernel.shape, out_backprop=upstream, strides=steps,
                padding="EXPLICIT",  # oneDNN has no kernel for explicit paddings, so TensorFlow takes its own
                explicit_paddings=[0, 0, *pads[0], *pads[1], 0, 0],
            )  # fmt: skip
            return to_input, to_kernel

        return forward(x, kernel), gradients

    return convolve(x, kernel)


def _outputs(inputs: int, kernel_size: int, stride: int, padding: str) -> int:
    """Return the length of an axis of the output."""
    return -(-inputs // stride) if padding == "same" else (inputs - kernel_size) // stride + 1


def _pads(inputs: int, kernel_size: int, outputs: int, stride: int = 1) -> tuple[int, int]:
    """Return the zeros before and after an axis that give so many outputs; none with `valid`."""
    total = max((outputs - 1) * stride + kernel_size - inputs, 0)
    return total // 2, total - total // 2
