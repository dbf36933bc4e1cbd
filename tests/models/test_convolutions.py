"""Convolutions of training give TensorFlow's own values and gradients, whichever kernel computes them."""

import numpy as np
import pytest
import tensorflow as tf

from thaw.common import tensorflow_setup
from thaw.models.convolutions import conv2d, depthwise_conv2d, uses_matmul


@pytest.fixture(autouse=True, scope="module")
def started() -> None:
    tensorflow_setup.start_tensorflow(0, deterministic=True)


def random(*shape: int, dtype: str = "float32"):
    return tf.cast(np.random.default_rng(len(shape)).normal(size=shape), dtype)


def outputs_and_gradients(function, *arguments):
    """The output, and the gradients of a sum that weighs each output differently; traced, as in training."""

    @tf.function(autograph=False)
    def both(*arguments):
        with tf.GradientTape() as tape:
            tape.watch(arguments)
            outputs = function(*arguments)
            weighed = tf.reduce_sum(tf.cast(outputs, tf.float32) * random(*outputs.shape))
        return outputs, tape.gradient(weighed, arguments)

    outputs, gradients = both(*arguments)
    kinds = [op.type for op in both.get_concrete_function(*arguments).graph.get_operations()]
    return [tf.cast(x, tf.float32).numpy() for x in (outputs, *gradients)], kinds


def rounding(outputs, exact) -> list[float]:
    """The largest error of each array, as a share of its largest number."""
    return [float(np.abs(a - b).max() / np.abs(b).max()) for a, b in zip(outputs, exact, strict=True)]


def assert_same(mine, reference, tolerance: float) -> None:
    for a, b in zip(mine, reference, strict=True):
        np.testing.assert_allclose(a, b, atol=tolerance * np.abs(b).max(), rtol=0)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 3e-2)])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(
    ("size", "kernel", "strides", "dilation"),
    [
        (7, (1, 1), (1, 1), (1, 1)),
        (7, (3, 3), (1, 1), (1, 1)),
        (9, (1, 7), (1, 1), (1, 1)),
        (8, (4, 2), (1, 1), (1, 1)),
        (8, (3, 3), (2, 2), (1, 1)),
        (8, (1, 1), (2, 2), (1, 1)),
        (9, (3, 3), (1, 1), (2, 2)),
    ],
)
def test_a_convolution_has_the_values_and_gradients_of_tensorflows(
    dtype: str, tolerance: float, padding: str, size: int, kernel, strides, dilation
) -> None:
    x, weights, bias = random(3, size, size, 160, dtype=dtype), random(*kernel, 160, 168, dtype=dtype), random(168)
    bias = tf.cast(bias, dtype)

    def reference(x, weights, bias):
        return tf.nn.bias_add(tf.nn.conv2d(x, weights, strides, padding.upper(), dilations=dilation), bias)

    try:
        own, _ = outputs_and_gradients(reference, x, weights, bias)
    except tf.errors.OpError as error:
        if dilation == (1, 1) or "dilation" not in error.message:
            raise
        pytest.skip("TensorFlow has no bfloat16 gradients of dilated convolutions on this processor")
    mine, kinds = outputs_and_gradients(
        lambda x, weights, bias: conv2d(x, weights, bias, strides, padding, dilation), x, weights, bias
    )
    exact, _ = outputs_and_gradients(reference, *(tf.cast(y, tf.float32) for y in (x, weights, bias)))
    # Without AVX-512, TensorFlow's own gradients in bfloat16 are off by up to 5 %.
    for a, b in zip(rounding(mine, exact), rounding(own, exact), strict=True):
        assert a <= max(tolerance, 1.2 * b)
    simple = strides == dilation == (1, 1) and (dtype == "bfloat16" or kernel == (1, 1))
    assert ("Conv2DBackpropFilter" not in kinds) == simple, "this test must see both kernels"


def test_a_convolution_without_bias_has_them_too() -> None:
    x, weights = random(2, 7, 7, 8), random(1, 1, 8, 4)
    mine, _ = outputs_and_gradients(lambda x, weights: conv2d(x, weights, None, (1, 1), "same"), x, weights)
    reference, _ = outputs_and_gradients(lambda x, weights: tf.nn.conv2d(x, weights, 1, "SAME"), x, weights)
    assert_same(mine, reference, 1e-5)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(
    ("size", "kernel", "strides"),
    [(7, 5, (1, 1)), (8, 5, (2, 2)), (9, 5, (2, 2)), (7, 7, (1, 1)), (9, 3, (1, 1)), (8, 3, (2, 2))],
)
def test_a_depthwise_convolution_has_them(padding: str, size: int, kernel: int, strides) -> None:
    x, weights = random(3, size, size, 6), random(kernel, kernel, 6, 2)
    steps = (1, *strides, 1)
    mine, kinds = outputs_and_gradients(lambda x, weights: depthwise_conv2d(x, weights, strides, padding), x, weights)
    reference, _ = outputs_and_gradients(
        lambda x, weights: tf.nn.depthwise_conv2d(x, weights, steps, padding.upper()), x, weights
    )
    assert_same(mine, reference, 1e-5)
    assert "DepthwiseConv2dNativeBackpropFilter" in kinds


def test_sizes_that_are_not_known_are_left_to_tensorflow() -> None:
    weights, narrow = random(1, 1, 8, 4), random(5, 5, 8, 1)

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 8))], autograph=False)
    def both(x):
        return conv2d(x, weights, None, (1, 1), "same"), depthwise_conv2d(x, narrow, (1, 1), "same")

    for size in (5, 9):
        assert [y.shape for y in both(random(2, size, size, 8))] == [(2, size, size, 4), (2, size, size, 8)]


@pytest.mark.parametrize(
    ("kernel", "positions", "dtype", "expected"),
    [
        ((1, 1, 40, 240), 28 * 28, "float32", True),
        ((1, 1, 40, 240), 28 * 28, "bfloat16", False),
        ((1, 1, 960, 160), 7 * 7, "bfloat16", True),
        ((3, 3, 512, 512), 7 * 7, "bfloat16", True),
        ((3, 3, 512, 512), 7 * 7, "float32", False),
        ((3, 3, 64, 64), 16 * 16, "bfloat16", False),
        ((3, 3, 256, 256), 28 * 28, "bfloat16", False),
    ],
)
def test_products_are_used_where_they_were_measured_to_be_faster(kernel, positions, dtype, expected) -> None:
    assert uses_matmul(kernel, positions, dtype) is expected
