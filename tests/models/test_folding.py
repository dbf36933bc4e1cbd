"""Training with BatchNorm folded into the weights computes what the layers compute one by one."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from thaw.common import tensorflow_setup
from thaw.config.schema import HeadConfig
from thaw.models import freeze, network
from thaw.models.backbone_table import BACKBONES
from thaw.models.folding import TrainedConvolution, foldable_batchnorms, with_trained_convolutions
from thaw.models.layer_graph import LayerGraph, LayerInfo, Operation

from .calibrated_networks import FAMILIES, build, calibrated, pictures, spread_predictions

QUICK = {"mobilenetv2", "resnet50v2", "efficientnet_lite0", "inceptionv3"}  # of unlike structure; the rest is slow
SLOW = sorted(FAMILIES - QUICK)
CLASSES = ("cat", "dog", "fox")


def graph(*rows: tuple[str, str, tuple[int, ...]]) -> LayerGraph:
    """Return a graph of layers (name, type, inputs)."""
    layers = tuple(LayerInfo(i, name, kind, (4, 4, 8), 0, 0) for i, (name, kind, _) in enumerate(rows))
    operations = tuple(Operation(name, i, inputs, (4, 4, 8)) for i, (name, _, inputs) in enumerate(rows))
    return LayerGraph(layers, operations, ())


@pytest.mark.parametrize("kind", ["Conv2D", "DepthwiseConv2D", "SeparableConv2D"])
def test_a_batchnorm_that_alone_takes_a_convolutions_output_is_folded(kind: str) -> None:
    chain = graph(("in", "InputLayer", ()), ("conv", kind, (0,)), ("bn", "BatchNormalization", (1,)))
    assert foldable_batchnorms(chain) == {"conv": "bn"}


@pytest.mark.parametrize(
    "rows",
    [
        [("conv", "Conv2D", (0,)), ("relu", "Activation", (1,)), ("bn", "BatchNormalization", (2,))],
        [("conv", "Conv2D", (0,)), ("bn", "BatchNormalization", (1,)), ("add", "Add", (1, 2))],
        [
            ("a", "Conv2D", (0,)),
            ("b", "Conv2D", (0,)),
            ("c", "Concatenate", (1, 2)),
            ("bn", "BatchNormalization", (3,)),
        ],
        [("bn", "BatchNormalization", (0,)), ("conv", "Conv2D", (1,))],
        [("dense", "Dense", (0,)), ("bn", "BatchNormalization", (1,))],
    ],
    ids=["activation between", "used twice", "concatenation", "in front", "no convolution"],
)
def test_any_other_batchnorm_is_left_alone(rows) -> None:
    assert foldable_batchnorms(graph(("in", "InputLayer", ()), *rows)) == {}


def test_a_batchnorm_over_another_axis_is_left_alone() -> None:
    tensorflow_setup.start_tensorflow(0, deterministic=True)
    images = keras.Input((8, 8, 8))
    x = keras.layers.BatchNormalization(axis=2, name="bn")(keras.layers.Conv2D(8, 1, name="conv")(images))
    chain = graph(("in", "InputLayer", ()), ("conv", "Conv2D", (0,)), ("bn", "BatchNormalization", (1,)))
    computed = with_trained_convolutions(keras.Model(images, x), chain, fold=True)
    assert "bn" in {layer.name for layer in computed.layers}


# BatchNorm layers that are in front of a convolution instead of behind it; every other network has none.
NOT_FOLDED = {
    "resnet50v2": 17, "resnet101v2": 34, "resnet152v2": 51,  # of each block, and the last
    "densenet121": 62, "densenet169": 86, "densenet201": 102,  # of each unit and transition, and the last
    "nasnetmobile": 4, "nasnetlarge": 4,  # behind the concatenations that adjust a cell's inputs
}  # fmt: skip


@pytest.mark.parametrize("name", [n if n in FAMILIES else pytest.param(n, marks=pytest.mark.slow) for n in BACKBONES])
def test_every_backbones_batchnorms_are_folded_or_left_alone_by_one_rule(name: str) -> None:
    built = build(name)
    norms = [layer.name for layer in built.graph.layers if layer.type == "BatchNormalization"]
    pairs = foldable_batchnorms(built.graph)
    layers = {layer.name: layer for layer in built.layers}
    assert set(pairs.values()) <= set(norms)
    assert len(set(pairs.values())) == len(pairs)
    assert all(len(layer._inbound_nodes) == 1 for layer in built.layers), "the rule is for layers used at one place"
    for conv, norm in pairs.items():
        assert layers[norm].input is layers[conv].output
    computed = with_trained_convolutions(built.model, built.graph, fold=True)
    folded = [layer for layer in computed.layers if isinstance(layer, TrainedConvolution) and layer.batchnorm]
    assert len(folded) == len(pairs), "what the rule names is what is folded"
    kept = {layer.name for layer in computed.layers if isinstance(layer, keras.layers.BatchNormalization)}
    assert kept == set(norms) - set(pairs.values())
    assert len(kept) == NOT_FOLDED.get(name, 0)


def boundaries(built) -> list[int]:
    """Two in the last part of a network: at the end of a block and, some layers before, inside one."""
    ends = [block.last_layer + 1 for block in built.graph.blocks if block.last_layer + 1 < len(built.layers)]
    between = ends[-1] if ends else len(built.layers) // 2
    return [between, max(1, between - 4)]


@pytest.mark.parametrize("name", [*sorted(QUICK), *(pytest.param(n, marks=pytest.mark.slow) for n in SLOW)])
def test_folded_steps_give_the_losses_and_weights_of_unfolded_ones(name: str) -> None:
    """Float32, three steps of SGD from the same start, at boundaries inside a block and between two."""
    built = calibrated(build(name))
    joined = network.attach_head(built, HeadConfig(name="linear"), CLASSES)
    spread_predictions(joined, pictures(built.image_size, 2, seed=1))
    images, labels = pictures(built.image_size, 6, seed=2), np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 2]]
    start = joined.model.get_weights()
    for boundary in boundaries(built):
        freeze.set_trainable(built.layers, boundary)
        plan = freeze.make_plan(boundary, built.graph, name, "frozen")
        outcomes = []
        for step in ("keras", "folded"):
            joined.model.set_weights(start)
            parts = network.divide_network(joined, plan, network.cut_at(joined, boundary), step)
            cut = parts.frozen([images], training=False)
            cut = cut[0] if isinstance(cut, list) and len(cut) == 1 else cut
            losses, gradients = trained(parts.trained, cut, labels)
            outcomes.append((losses, gradients, {v.path: v.numpy() for v in joined.model.weights}))
        (losses, gradients, weights), (folded_losses, folded_gradients, folded_weights) = outcomes
        np.testing.assert_allclose(folded_losses, losses, rtol=2e-4)
        assert folded_losses[0] != folded_losses[-1], "the steps must change the network, or this test sees nothing"
        assert gradients.keys() == folded_gradients.keys()
        for key, gradient in gradients.items():
            largest = np.abs(gradient).max()
            np.testing.assert_allclose(folded_gradients[key], gradient, atol=2e-3 * largest + 1e-9, rtol=0, err_msg=key)
        frozen = {variable.path for layer in built.layers[:boundary] for variable in layer.variables}
        for (key, value), before in zip(weights.items(), start, strict=True):
            # Processors differ in how they round: a beta near zero moved by 4e-3 of the largest one's on one of two.
            np.testing.assert_allclose(folded_weights[key], value, atol=1e-2 * np.abs(value).max(), err_msg=key)
            if key in frozen or "moving" in key:
                assert folded_weights[key].tobytes() == before.tobytes(), key


def trained(model, cut, labels, steps: int = 3, rate: float = 1e-3) -> tuple[list[float], dict[str, np.ndarray]]:
    """Run steps of SGD; return the losses, and the gradients of the first step by the weights' names."""
    losses, first = [], {}

    @tf.function(autograph=False)
    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(keras.losses.categorical_crossentropy(labels, model(cut, training=True)))
        return loss, tape.gradient(loss, [variable.value for variable in model.trainable_variables])

    for _ in range(steps):
        loss, gradients = step()
        losses.append(float(loss))
        for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
            first.setdefault(variable.path, gradient.numpy())
            variable.assign_sub(rate * gradient)
    return losses, first
