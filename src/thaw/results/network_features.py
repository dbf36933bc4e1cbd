"""What a layer of a network computes of images: of a trained network, or of a published backbone."""

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from thaw import tracking
from thaw.common import tensorflow_setup
from thaw.common.errors import UserError, did_you_mean
from thaw.config.command_lines import script_command
from thaw.config.schema import BackboneConfig, HeadConfig
from thaw.frozen.engine import InferenceFunction
from thaw.models import backbone_table, freeze
from thaw.models.layer_graph import LayerGraph
from thaw.results import trained_classifier
from thaw.results.computation_choice import Computation, choose_computation
from thaw.results.trained_classifier import Classifier, InferenceSettings

if TYPE_CHECKING:  # which imports Keras
    from thaw.models.network import Network

POOLED = "pooled"  # what the head reads: the backbone's output, averaged over its positions, or flattened

FeatureFunction = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class LayerOutput:
    """An output inside a network.

    tensor: of Keras, symbolic. layers: how many of the backbone's layers come before it, itself included; more than
    there are behind the pooled features.
    """

    tensor: Any
    layers: int


@dataclass(frozen=True, eq=False)
class FeatureNetwork:
    """A network and the layer whose output is asked for.

    model: of Keras, images (B, S, S, 3) RGB 0-255 -> the layer's output. classifier: the whole network.
    """

    model: Any
    output: LayerOutput
    classifier: Classifier

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the layer's output for one image."""
        return tuple(int(side) for side in self.output.tensor.shape[1:])


def load_feature_network(
    layer: str, model: str | None, backbone: BackboneConfig, outputs: Path, tracking_uri: str
) -> FeatureNetwork:
    """Return the network of `model`, or else the published one of `backbone`, with its layer of this name.

    layer: the name of a layer or a block, or `pooled`. Raises UserError for any other, with the nearest name.
    """
    if model is None:
        return _published(layer, tracking.resolve_run_weights(backbone, tracking_uri, outputs))
    classifier = trained_classifier.load_classifier(model, backbone, outputs, tracking_uri)
    network = classifier.saved_network
    backbone_layers = {id(x) for x in network.backbone.model.layers}
    output = find_output(layer, network, [x for x in network.model.layers if id(x) not in backbone_layers])
    return FeatureNetwork(_submodel(network.model, output), output, classifier)


def _published(layer: str, backbone: BackboneConfig) -> FeatureNetwork:
    """Return the backbone, or its ImageNet classifier if only that has the layer.

    The layer is looked for in the graph alone, before weights are loaded.
    """
    backbone_table.check_backbone(backbone)
    if backbone.weights == "none":
        raise UserError(
            "backbone.weights=none would give features of random weights: use imagenet, a weights file, or model=RUN_ID"
        )
    tensorflow_setup.start_tensorflow(0, None)
    from thaw.models import backbones

    built = backbones.from_model(backbone, next(backbones.build_variants(backbone)))
    top: list[str] = []
    if layer not in (POOLED, *_names(built.graph)):
        top = _top_layers(backbone, built.graph)
        check_name(layer, built.graph, top, backbone.name)
    tensorflow_setup.start_tensorflow(0, None)  # layers are named as in the graph before
    size = backbone_table.input_size(backbone)
    if top:
        whole = backbones.build_imagenet_classifier(backbone)
        output = LayerOutput(whole.get_layer(layer).output, 0)
        return FeatureNetwork(_submodel(whole, output), output, Classifier(whole, [], size, InferenceSettings()))
    network = _with_pooling(backbones.build_backbone(backbone))
    output = find_output(layer, network, [])
    classifier = Classifier(network.model, [], size, InferenceSettings())
    return FeatureNetwork(_submodel(network.model, output), output, classifier)


def _with_pooling(backbone: Any) -> "Network":
    from thaw.models.network import attach_head

    return attach_head(backbone, HeadConfig(name="linear"), ("one", "other"))  # the head is behind all features


def _top_layers(backbone: BackboneConfig, graph: LayerGraph) -> list[str]:
    """Return the layers that only the published classifier has, such as VGG's fc1 and fc2; none where it is not built.

    It is built for the size that it was trained at, and its weights are ImageNet's.
    """
    from thaw.models import backbones

    spec, size = backbone_table.backbone_spec(backbone.name), backbone_table.input_size(backbone)
    fixed = spec.source == "keras.applications" and size != spec.default_size
    if spec.source == "thaw" or backbone.weights != "imagenet" or fixed:
        return []
    whole = next(backbones.build_variants(backbone, include_top=True))
    known = {operation.name for operation in graph.operations}
    return [layer.name for layer in whole.layers if layer.name not in known]


def _submodel(model: Any, output: LayerOutput) -> Any:
    import keras

    return keras.Model(model.inputs, output.tensor, name="features")


def find_output(name: str, network: "Network", head: Iterable[Any]) -> LayerOutput:
    """Return the output of a layer or block, or the pooled features.

    Of a block it is what the rest of the network reads. A name of a layer as well as a block is the block's, as it is
    for `finetune.freeze`. head: layers behind the backbone that can be named too.

    Raises:
        UserError: there is no such name, with the nearest one; or the rest reads several tensors of the block.
    """
    backbone, graph = network.backbone, network.backbone.graph
    total = len(backbone.layers)
    behind = {layer.name: layer.output for layer in head}
    check_name(name, graph, behind, backbone.name)
    if name in behind or name == POOLED:
        tensor = behind.get(name, network.pooled_features)
        return LayerOutput(tensor, total if tensor is network.pooled_features else total + 1)
    outputs = {operation.name: operation.output for operation in backbone.model.operations}
    indices = {layer.name: layer.index for layer in graph.layers}
    last = next((block.last_layer for block in graph.blocks if block.name == name), None)
    if last is None:
        return LayerOutput(outputs[name], indices[name] + 1)
    crossing = [operation.name for operation in freeze.cut_operations(graph, last + 1)]
    if len(crossing) > 1:
        raise UserError(
            f"features={name}: the rest of {backbone.name} reads {len(crossing)} tensors at the end of this block. "
            f"Name one of their layers: {', '.join(crossing)}"
        )
    return LayerOutput(outputs[crossing[0]], last + 1)


def _names(graph: LayerGraph) -> list[str]:
    return [*(layer.name for layer in graph.layers), *(block.name for block in graph.blocks)]


def check_name(name: str, graph: LayerGraph, others: Iterable[str], backbone: str) -> None:
    """Raise UserError unless a layer or block of the graph, or one of `others`, has this name, or it is `pooled`."""
    names = [POOLED, *others, *_names(graph)]
    if name in names:
        return
    hint = f"See them all: {script_command('layers')} backbone={backbone}"
    if name.isdigit() and int(name) < len(graph.layers):
        raise UserError(
            f"features={name} is a number: give the layer's name. Layer {name} of {backbone} is "
            f"{graph.layers[int(name)].name}. {hint}"
        )
    behind = f"; behind the backbone there are {', '.join(others)}" if others else ""
    raise UserError(
        f"features={name} is neither a layer nor a block of {backbone}.{did_you_mean(name, names)} "
        f"Give the name of one, or {POOLED}{behind}. {hint}"
    )


def feature_function(network: FeatureNetwork, engine_asked: str, precision: str) -> tuple[FeatureFunction, Computation]:
    """Return a function of images, uint8 (B, S, S, 3), to features, float32 (B, ...), and how it computes them.

    The layer is computed as the run computed it, in the same parts, unless another engine or precision is asked for. A
    layer inside a quantised part is computed in float32.
    """
    classifier, output = network.classifier, network.output
    how = choose_computation(classifier, engine_asked, precision)
    if how.boundary is not None and _is_reached_through_cut(output, classifier.saved_network, how.boundary):
        from thaw.frozen.inference import TwoPartNetwork

        trained = classifier.saved_network
        return TwoPartNetwork(trained, how.boundary, how.choice, output.tensor, how.quantized), how
    if how.quantized is not None:
        print("note: the run quantised this layer with others; its features are those of float32", file=sys.stderr)
        how = choose_computation(classifier, engine_asked, "float32")
    function = InferenceFunction(network.model, how.choice.engine, how.choice.frozen)
    return lambda images: function(images)[0], Computation(how.choice)


def _is_reached_through_cut(output: LayerOutput, network: "Network", boundary: int) -> bool:
    """Whether the output is a tensor of the run's cut, or lies behind it."""
    from thaw.models.network import cut_at

    return output.layers > boundary or any(tensor is output.tensor for tensor in cut_at(network, boundary).tensors)
