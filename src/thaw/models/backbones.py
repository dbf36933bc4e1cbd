"""Backbones built from the table: preprocessing and network as one flat functional graph."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras

from thaw.common.errors import UserError
from thaw.config.schema import BackboneConfig
from thaw.models import backbone_table, cnn_baseline, efficientnet_lite, graph_digest
from thaw.models import weight_files as weights
from thaw.models.layer_graph import LayerGraph, read_graph
from thaw.models.preprocessing import add_preprocessing


@dataclass(frozen=True)
class Backbone:
    """A pretrained network without its top.

    `layers` are in Keras's order, the input layer first and without the preprocessing, so that an index means what it
    means in keras.applications.
    """

    name: str
    model: Any  # functional, images (B, S, S, 3) RGB 0-255 -> features
    layers: list[Any]
    graph: LayerGraph
    image_size: int  # side, pixels
    weights: str  # where they came from: imagenet, random or the path of a file


def build_backbone(config: BackboneConfig) -> Backbone:
    """Build the backbone and load its weights. Call `start_tensorflow` first: it resets Keras's layer names.

    A weights file is loaded into the graph that it describes; a file of weights alone, as Keras publishes them, into
    the graph for ImageNet weights.

    Raises:
        UserError: the config is invalid, or weights are not available or do not fit.
    """
    backbone_table.check_backbone(config)
    return from_model(config, *_build_with_weights(config, include_top=False))


def from_model(config: BackboneConfig, model: Any, source: str = "random") -> Backbone:
    """Return the backbone of a model that `build_backbone` or `build_variants` built."""
    layers = backbone_layers(model)
    graph = read_graph(model, layers, backbone_table.backbone_spec(config.name))
    return Backbone(config.name, model, layers, graph, backbone_table.input_size(config), source)


def build_imagenet_classifier(config: BackboneConfig) -> Any:
    """Build the whole ImageNet classifier, top included: images (B, S, S, 3) RGB 0-255 -> probabilities (B, 1000)."""
    backbone_table.check_backbone(config)
    spec, size = backbone_table.backbone_spec(config.name), backbone_table.input_size(config)
    if spec.source == "thaw":
        raise UserError(f"{config.name} has no ImageNet classifier; choose a pretrained backbone")
    if spec.source == "keras.applications" and size != spec.default_size:
        raise UserError(
            f"backbone.image_size={size}: the ImageNet classifier of {config.name} takes {spec.default_size} pixels"
        )
    return _build_with_weights(config, include_top=True)[0]


def backbone_layers(model: Any) -> list[Any]:
    """Return the layers as keras.applications numbers them, without the preprocessing that thaw puts before them."""
    return [layer for layer in model.layers if layer.name != "preprocess"]


def build_variants(config: BackboneConfig, *, include_top: bool = False) -> Iterator[Any]:
    """Yield the graphs that this backbone may have, with random weights; the one that its weights need comes first.

    keras.applications builds EfficientNetB0-B7 with one layer more for ImageNet weights than without. Layer names are
    reset for each graph, and callers should release the one before.
    """
    for name in _graphs(config):
        keras.utils.clear_session()
        yield _call_builder(config, include_top=include_top, graph=name, load=False)


def _graphs(config: BackboneConfig) -> tuple[str, ...]:
    """Return the possible graphs as values of `weights` of Keras's builder; the one that the weights need is first."""
    if not backbone_table.backbone_spec(config.name).graph_depends_on_weights:
        return ("none",)
    return ("none", "imagenet") if config.weights == "none" else ("imagenet", "none")


def _build_with_weights(config: BackboneConfig, *, include_top: bool) -> tuple[Any, str]:
    """Return the model with its weights, and where they came from."""
    if config.weights in ("imagenet", "none"):
        source = "imagenet" if config.weights == "imagenet" else "random"
        return _call_builder(config, include_top=include_top, graph=config.weights, load=True), source
    model = _build_for_file(config, include_top=include_top)
    return model, weights.load_weights_file(backbone_layers(model), config.weights, config.name)


def _build_for_file(config: BackboneConfig, *, include_top: bool) -> Any:
    """Build the graph that a weights file describes, with random weights; raises UserError when none matches."""
    stored = weights.stored_graph(config.weights)
    differences = []
    for model in build_variants(config, include_top=include_top):
        difference = stored and graph_digest.difference_within(stored, graph_digest.describe_model(model))
        if not difference:
            return model
        differences.append(difference)
    raise UserError(
        f"backbone.weights={config.weights} holds a network that is not {config.name} as it is built here: "
        f"{differences[0]}. Is it another network's file, or another backbone.alpha? If its weights are meant all the "
        "same, save them alone: model.save_weights('FILE.weights.h5')"
    )


def _call_builder(config: BackboneConfig, *, include_top: bool, graph: str, load: bool) -> Any:
    """Call the builder of the graph for `weights=graph` (imagenet or none); with `load`, load ImageNet weights."""
    spec, size = backbone_table.backbone_spec(config.name), backbone_table.input_size(config)
    images = keras.Input((size, size, 3), name="images")
    arguments = {name: getattr(config, name) for name in spec.builder_arguments if getattr(config, name) is not None}
    module = {"thaw": cnn_baseline, "package": efficientnet_lite}.get(spec.source, keras.applications)
    builder = getattr(module, spec.builder)
    # Only keras.applications' graphs depend on the weights.
    pretrained = graph == "imagenet" and (load or spec.source == "keras.applications")
    with weights.checked_downloads(config.name) if load else weights.without_weights():
        return builder(
            include_top=include_top,
            weights="imagenet" if pretrained else None,
            input_tensor=add_preprocessing(images, spec.preprocess),
            input_shape=(size, size, 3),
            **arguments,
        )
