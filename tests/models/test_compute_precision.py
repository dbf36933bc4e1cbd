"""Networks that compute in another precision for a while, and are float32 before and after."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from thaw.common import tensorflow_setup
from thaw.config.schema import BackboneConfig, HeadConfig
from thaw.models import backbones, freeze, network
from thaw.models.compute_precision import DTYPE_POLICIES, computing_in

SIZE = 32


@pytest.fixture(scope="module")
def small():
    """One layer of every kind that matters: both kinds of preprocessing, a convolution, BatchNorm, a hidden layer."""
    tensorflow_setup.start_tensorflow(0, deterministic=True)
    layers = keras.layers
    images = keras.Input((SIZE, SIZE, 3), name="images")
    x = layers.Rescaling(1 / 255, name="rescaling")(images)
    x = layers.Normalization(mean=[0.485, 0.456, 0.406], variance=[0.05] * 3, name="normalization")(x)
    x = layers.Conv2D(8, 3, name="conv")(x)
    x = layers.BatchNormalization(name="bn")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dense(16, activation="relu", name="hidden")(x)
    return keras.Model(images, layers.Dense(3, activation="softmax", name="predictions")(x))


@pytest.fixture(scope="module")
def parts():
    """A stage's trained part: layers inside models inside a layer."""
    tensorflow_setup.start_tensorflow(0, deterministic=True)
    built = backbones.build_backbone(BackboneConfig(name="mobilenet", alpha=0.25, image_size=SIZE, weights="none"))
    joined = network.attach_head(built, HeadConfig(name="linear"), ("a", "b", "c"))
    plan = freeze.make_plan("conv_pw_11", built.graph, "mobilenet", "frozen")
    return network.divide_network(joined, plan, network.cut_at(joined, plan.boundary - 10))


def pictures(count: int = 4) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE, 3)).astype(np.float32)


def policies(model) -> dict[str, str]:
    return {layer.name: layer.dtype_policy.name for layer in model._flatten_layers()}


def traced(model, precision: str):
    with computing_in(model, precision):
        specs = [tf.TensorSpec(x.shape, tf.float32) for x in model.inputs]
        call = tf.function(lambda *x: model(keras.tree.pack_sequence_as(model.input, x), training=False))
        return call.get_concrete_function(*specs)


def products(function) -> list[tuple[str, str]]:
    """Kind and type of every multiplication with a kernel, in the order of the graph."""
    kinds = ("Conv2D", "DepthwiseConv2dNative", "MatMul", "BatchMatMulV2")
    return [(op.type, op.outputs[0].dtype.name) for op in function.graph.get_operations() if op.type in kinds]


@pytest.mark.parametrize("precision", DTYPE_POLICIES)
def test_layers_compute_in_it_while_the_block_runs_and_in_float32_after(small, precision: str) -> None:
    before = policies(small)
    with computing_in(small, precision):
        inside = policies(small)
        assert {inside[name] for name in ("conv", "bn", "pool", "hidden")} == {DTYPE_POLICIES[precision]}
        assert small.dtype_policy.name == DTYPE_POLICIES[precision]
    assert policies(small) == before
    assert set(before.values()) == {"float32"}


def test_an_error_in_the_block_restores_it_too(small) -> None:
    before = policies(small)
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error), computing_in(small, "bfloat16"):
            raise error
        assert policies(small) == before


def test_a_precision_that_is_none_changes_nothing(small) -> None:
    before = policies(small)
    with pytest.raises(KeyError), computing_in(small, "float8"):
        pass
    assert policies(small) == before


def test_a_block_within_a_block_gives_back_what_it_found(small) -> None:
    with computing_in(small, "bfloat16"):
        outer = policies(small)
        with computing_in(small, "float32"):
            assert set(policies(small).values()) == {"float32"}
        assert policies(small) == outer
    assert set(policies(small).values()) == {"float32"}


def test_by_operation_convolutions_compute_in_it_and_depthwise_ones_and_the_head_in_float32(parts) -> None:
    with computing_in(parts.trained, "bfloat16", by_operation=True):
        specs = [tf.TensorSpec(x.shape, tf.float32) for x in parts.trained.inputs]
        call = tf.function(lambda *x: parts.trained(x[0], training=True)).get_concrete_function(*specs)
    inner = [f.graph for f in call.graph._functions.values()] if hasattr(call.graph, "_functions") else []
    assert not inner, "the layers must be seen here"
    assert set(products(call)) == {
        ("Conv2D", "bfloat16"), ("DepthwiseConv2dNative", "float32"), ("MatMul", "float32"),
    }  # fmt: skip
    assert set(policies(parts.trained).values()) == {"float32"}


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_preprocessing_and_predictions_stay_float32(small, precision: str) -> None:
    with computing_in(small, precision):
        inside = policies(small)
    assert {inside[name] for name in ("rescaling", "normalization", "predictions")} == {"float32"}


def test_pixels_are_preprocessed_without_rounding(small) -> None:
    images = pictures()
    prepared = keras.Model(small.inputs, small.get_layer("normalization").output)
    exact = np.asarray(prepared(images))
    with computing_in(small, "bfloat16"):
        found = np.asarray(prepared(images))
    assert found.dtype == np.float32
    assert found.tobytes() == exact.tobytes()


def test_the_output_is_computed_in_float32_from_what_the_layers_before_it_give(small) -> None:
    """Kernel, product and softmax: in bfloat16 they would be off by about a hundredth."""
    images = pictures()
    hidden = keras.Model(small.inputs, small.get_layer("hidden").output)
    with computing_in(small, "bfloat16"):
        features = hidden(images, training=False)
        found = small(images, training=False)
    assert (features.dtype.name, found.dtype.name) == ("bfloat16", "float32")
    kernel, bias = small.get_layer("predictions").get_weights()
    logits = tf.cast(features, tf.float32).numpy().astype(np.float64) @ kernel + bias
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(found.numpy(), shares / shares.sum(axis=1, keepdims=True), rtol=1e-5)


@pytest.mark.parametrize("precision", DTYPE_POLICIES)
def test_what_is_traced_multiplies_in_it_all_but_the_output(small, precision: str) -> None:
    assert products(traced(small, precision)) == [("Conv2D", precision), ("MatMul", precision), ("MatMul", "float32")]


def test_layers_within_models_within_layers_are_reached(parts) -> None:
    """A stage's trained part nests the thawed layers in one that runs them in inference mode."""
    found = products(traced(parts.trained, "bfloat16"))
    assert len(found) > 5
    assert {kind for _, kind in found[:-1]} == {"bfloat16"}
    assert found[-1] == ("MatMul", "float32")
    assert {kind for _, kind in products(traced(parts.trained, "float32"))} == {"float32"}


def test_what_is_traced_stays_as_it_was_traced(small) -> None:
    images = pictures()
    half, whole = traced(small, "bfloat16"), traced(small, "float32")
    one, other = half(tf.constant(images)).numpy(), whole(tf.constant(images)).numpy()
    assert 1e-6 < np.abs(one - other).max() < 0.05
    assert half(tf.constant(images)).numpy().tobytes() == one.tobytes()
    np.testing.assert_allclose(small(images, training=False).numpy(), other, rtol=1e-5)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_weights_stay_float32_and_keep_every_bit(small, precision: str) -> None:
    before = [w.numpy() for w in small.weights]
    with computing_in(small, precision):
        assert {w.dtype for w in small.weights} == {"float32"}
        small(pictures(), training=False)
    for w, right in zip(small.weights, before, strict=True):
        assert w.dtype == "float32"
        assert w.numpy().tobytes() == right.tobytes()


def test_training_moves_weights_by_less_than_bfloat16_can_tell(small) -> None:
    model = keras.models.clone_model(small)
    kernel = model.get_layer("hidden").kernel
    kernel.assign(np.ones(kernel.shape))
    targets = np.eye(3, dtype=np.float32)[[0, 1, 2, 0]]
    with computing_in(model, "bfloat16"):
        model.compile(keras.optimizers.SGD(1e-5), "categorical_crossentropy", jit_compile=False)
        model.train_on_batch(pictures(), targets)
    step = np.abs(kernel.numpy() - 1).max()
    assert 0 < step < 2**-9, "bfloat16 next to 1 has steps of 2**-8"


def test_float16_scales_the_loss_and_bfloat16_does_not(small) -> None:
    for precision, scaled in (("float16", True), ("bfloat16", False), ("float32", False)):
        model = keras.models.clone_model(small)
        with computing_in(model, precision):
            model.compile(keras.optimizers.SGD(0.01), "categorical_crossentropy", jit_compile=False)
        assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer) == scaled


def test_a_network_saved_after_it_is_a_float32_network(small, tmp_path) -> None:
    with computing_in(small, "bfloat16"):
        small(pictures(), training=False)
    small.save(tmp_path / "small.keras")
    assert set(policies(keras.models.load_model(tmp_path / "small.keras")).values()) == {"float32"}
