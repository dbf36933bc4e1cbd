"""The output of any layer: named as finetune.freeze names it, computed as the network's run computed it."""

from types import SimpleNamespace

import numpy as np
import pytest
from ml_dtypes import bfloat16

from tests.frozen.small_network import SIZE, build_network, picture
from thaw.common.errors import UserError
from thaw.common.hardware import Hardware
from thaw.config.schema import BackboneConfig, HeadConfig
from thaw.frozen.engine import EngineChoice
from thaw.frozen.openvino_runtime import openvino_core
from thaw.models.layer_graph import Block, LayerGraph, LayerInfo, Operation
from thaw.results import computation_choice, network_features
from thaw.results.network_features import FeatureNetwork, feature_function, find_output, load_feature_network
from thaw.results.trained_classifier import Classifier, InferenceSettings

IMAGES = np.stack([picture(number) for number in range(10)])
BOUNDARY = 40  # inside a block; conv_pw_6_relu is layer 42


@pytest.fixture(scope="module")
def network():
    return build_network(HeadConfig(name="gap_dense", hidden=8))


@pytest.fixture(autouse=True)
def _this_machine_computes_in_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    hardware = Hardware(openvino=True, bfloat16=True, float16=False)
    monkeypatch.setattr(computation_choice, "detect_hardware", lambda: hardware)


def head_of(network) -> list:
    return [layer for layer in network.model.layers if layer not in network.backbone.model.layers]


def features_of(network, name: str, settings: InferenceSettings) -> FeatureNetwork:
    output = find_output(name, network, head_of(network))
    classifier = Classifier(network.model, ["a", "b"], SIZE, settings, saved_network=network)
    return FeatureNetwork(network_features._submodel(network.model, output), output, classifier)


def keras_outputs(network, tensor, images: np.ndarray = IMAGES) -> np.ndarray:
    import keras

    return np.asarray(keras.Model(network.model.inputs, tensor)(images.astype(np.float32), training=False))


def test_a_layer_a_block_and_the_heads_layers_are_named_as_everywhere(network) -> None:
    by_name = {layer.name: layer for layer in network.model.layers}
    for name, layer in (
        ("conv1", "conv1"), ("conv_pw_6", "conv_pw_6_relu"), ("conv_pw_13", "conv_pw_13_relu"),
        ("conv_dw_3_bn", "conv_dw_3_bn"), ("pooled", "head_pool"), ("head_pool", "head_pool"),
        ("head_hidden", "head_hidden"), ("predictions", "predictions"),
    ):  # fmt: skip
        assert find_output(name, network, head_of(network)).tensor is by_name[layer].output, name
    total = len(network.backbone.layers)
    depths = [find_output(name, network, head_of(network)).layers for name in ("conv1", "pooled", "head_hidden")]
    assert depths[1:] == [total, total + 1]
    assert network.backbone.layers[depths[0] - 1].name == "conv1"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "conv_pw_66",
            r"neither a layer nor a block of mobilenet. Did you mean 'conv_pw_6'\? Give",
        ),
        (
            "head_hiden",
            r"Did you mean 'head_hidden'\?.*behind the backbone there are head_pool, head_hidden, predictions\. See",
        ),
        ("42", r"features=42 is a number: give the layer's name. Layer 42 of mobilenet is conv_\w+\. See them all: .*"),
        ("4200", "features=4200 is neither a layer nor a block"),
        ("all", "features=all is neither a layer nor a block"),
    ],
)
def test_a_name_that_there_is_not_is_refused_with_the_nearest(network, name: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        find_output(name, network, head_of(network))


def test_a_block_that_hands_on_two_tensors_is_refused_and_one_that_an_operation_ends_is_its_output() -> None:
    """As NASNet's cells and ConvNeXt's additions, which are no layers."""
    names = ("x", "left", "right", "join", "end")
    layers = tuple(LayerInfo(i, name, "Conv2D", (1,), 0, 0) for i, name in enumerate(names[:3]))
    operations = (
        Operation("x", 0, (), (1,)), Operation("left", 1, (0,), (1,)), Operation("right", 2, (0,), (1,)),
        Operation("join", None, (1, 2), (1,)),
    )  # fmt: skip
    outputs = [SimpleNamespace(name=name, output=f"output of {name}") for name in names]

    def find(block: Block) -> object:
        graph = LayerGraph(layers, operations, (block,))
        backbone = SimpleNamespace(name="net", graph=graph, layers=layers, model=SimpleNamespace(operations=outputs))
        return find_output("cell", SimpleNamespace(backbone=backbone, pooled_features=None), []).tensor

    assert find(Block("cell", 2)) == "output of join"
    with pytest.raises(UserError, match=r"reads 2 tensors at the end of this block. Name one of their layers: x, left"):
        find(Block("cell", 1))


@pytest.mark.parametrize("engine", ["openvino", "tensorflow"])
def test_features_are_those_that_the_network_computes_in_keras(network, engine: str) -> None:
    for name, shape in (("conv_pw_2", (8, 8, 32)), ("pooled", (256,)), ("predictions", (2,))):
        features = features_of(network, name, InferenceSettings(engine))
        assert features.shape == shape
        function, how = feature_function(features, "auto", "auto")
        found, expected = function(IMAGES), keras_outputs(network, features.output.tensor)
        assert (how.choice.engine, how.choice.frozen, how.boundary) == (engine, "float32", None)
        assert found.dtype == np.float32
        assert np.abs(expected).max() > 0.1
        np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_an_asked_for_precision_is_used(network) -> None:
    features = features_of(network, "conv_pw_2", InferenceSettings("tensorflow"))
    function, how = feature_function(features, "openvino", "bfloat16")
    found, expected = function(IMAGES), keras_outputs(network, features.output.tensor)
    assert (how.choice.engine, how.choice.frozen) == ("openvino", "bfloat16")
    if "BF16" not in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("OpenVINO computes in float32 on a processor without bfloat16, whatever is asked for")
    assert 1e-5 < np.abs(found - expected).max() / np.abs(expected).max() < 0.05


def test_a_layer_is_computed_in_the_parts_of_its_run(network) -> None:
    """Before the cut and at it in the first part, behind it from what the first part gives."""
    from thaw.models.network import cut_at

    settings = InferenceSettings("tensorflow", "bfloat16", "float32", boundary=BOUNDARY)
    cut = cut_at(network, BOUNDARY)
    at, behind, before = cut.names[0], "conv_pw_8", "conv_pw_2"
    found = {
        name: feature_function(features_of(network, name, settings), "auto", "auto") for name in (at, behind, before)
    }
    assert [how.boundary for _, how in found.values()] == [BOUNDARY, BOUNDARY, None]
    rows = {name: function(IMAGES) for name, (function, _) in found.items()}

    import keras

    rest = keras.Model(list(cut.tensors), find_output(behind, network, []).tensor)
    expected = np.asarray(rest(rows[at], training=False))
    np.testing.assert_allclose(rows[behind], expected, atol=1e-4 * np.abs(expected).max())
    in_float32 = keras_outputs(network, find_output(behind, network, []).tensor)
    assert np.abs(rows[behind] - in_float32).max() > 1e-3 * np.abs(in_float32).max(), "the first part is in bfloat16"


def test_activations_at_the_cut_are_rounded_as_the_run_stored_them(network, monkeypatch: pytest.MonkeyPatch) -> None:
    from thaw.frozen import inference
    from thaw.models.network import cut_at

    cut = cut_at(network, BOUNDARY)
    numbers = np.random.default_rng(0).normal(size=(len(IMAGES), *cut.shapes[0])).astype(np.float32)
    monkeypatch.setattr(inference, "InferenceFunction", lambda *_: lambda images: (numbers,))
    settings = InferenceSettings("tensorflow", "bfloat16", "float32", boundary=BOUNDARY)
    function, _ = feature_function(features_of(network, cut.names[0], settings), "auto", "auto")
    assert np.array_equal(function(IMAGES), numbers.astype(bfloat16).astype(np.float32))
    assert not np.array_equal(function(IMAGES), numbers)


def test_a_layer_inside_a_quantised_part_is_in_float32_and_that_is_said(network, monkeypatch, capsys) -> None:
    settings = InferenceSettings("openvino", "int8", "float32", boundary=BOUNDARY)
    quantised = computation_choice.Computation(
        EngineChoice("openvino", "", "int8", "float32"), BOUNDARY, quantized=object()
    )
    choose = computation_choice.choose_computation
    monkeypatch.setattr(
        network_features, "choose_computation",
        lambda classifier, engine, asked: quantised if asked == "auto" else choose(classifier, engine, asked),
    )  # fmt: skip
    features = features_of(network, "conv_pw_2", settings)
    function, how = feature_function(features, "auto", "auto")
    assert (how.choice.engine, how.choice.frozen, how.quantized) == ("openvino", "float32", None)
    expected = keras_outputs(network, features.output.tensor)
    np.testing.assert_allclose(function(IMAGES), expected, atol=1e-4 * np.abs(expected).max())
    assert "the run quantised this layer with others; its features are those of float32" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("backbone", "layer", "said"),
    [
        (BackboneConfig(weights="none"), "pooled", "backbone.weights=none would give features of random weights"),
        (BackboneConfig(), "predictoins", r"a block of efficientnet_lite0. Did you mean 'predictions'\?.*behind the"),
        (BackboneConfig(name="mobilenet", alpha=0.25, image_size=64), "predictions", "neither a layer nor a block of"),
    ],
)
def test_a_published_networks_layer_is_looked_for_before_its_weights_are_loaded(
    backbone: BackboneConfig, layer: str, said: str, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from thaw.models import backbones

    monkeypatch.setattr(backbones, "_build_with_weights", None)
    monkeypatch.setattr(backbones, "build_imagenet_classifier", None)
    with pytest.raises(UserError, match=said):
        load_feature_network(layer, None, backbone, tmp_path, f"sqlite:///{tmp_path}/mlflow.db")


@pytest.mark.slow
def test_layers_of_a_published_networks_top_are_features_too(tmp_path) -> None:
    """And the pooled features are those that its classifier pools."""
    backbone, uri = BackboneConfig(image_size=64), f"sqlite:///{tmp_path}/mlflow.db"
    images = np.stack([np.asarray(picture(number)).repeat(2, 0).repeat(2, 1) for number in range(3)])
    rows = {}
    for layer in ("pooled", "avg_pool"):
        features = load_feature_network(layer, None, backbone, tmp_path, uri)
        function, _ = feature_function(features, "tensorflow", "float32")
        rows[layer] = function(images)
    assert [row.shape for row in rows.values()] == [(3, 1280), (3, 1280)]
    np.testing.assert_allclose(rows["pooled"], rows["avg_pool"], atol=1e-4)
