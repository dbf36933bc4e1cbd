"""Builds a backbone from its row: preprocessing and network as one flat functional graph."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras

from thaw.common.errors import UserError
from thaw.config.schema import BackboneConfig
from thaw.models import backbone_table, cnn_baseline, efficientnet_lite, graph_digest
from thaw.models import layer_graph as graph
from thaw.models import weight_files as weights
from thaw.models.layer_graph import LayerGraph
from thaw.models.preprocessing import add_preprocessing


@dataclass(frozen=True)
class Backbone:
    """A pretrained network without its top.

    model: functional, images (B, S, S, 3) RGB 0-255 -> features. layers: the network's own layers in Keras's order,
    the input layer first and the preprocessing left out, so that an index means what it means in keras.applications.
    weights: where the weights came from.
    """

    name: str
    model: Any
    layers: list[Any]
    graph: LayerGraph
    image_size: int
    weights: str


def build_backbone(config: BackboneConfig) -> Backbone:
    """Build the backbone and load its weights. Call `backend.start` first: it clears Keras's layer-name counters.

    A weights file goes into the graph that it says it belongs to; one that holds nothing but weights belongs to the
    pretrained one, as Keras's own files do. Raises UserError as `table.check` does, and when weights cannot be had or
    do not fit.
    """
    backbone_table.check_backbone(config)
    size = backbone_table.image_size(config)
    if config.weights in ("imagenet", "none"):
        source = "imagenet" if config.weights == "imagenet" else "random"
        model = _call(config, include_top=False, size=size, graph=config.weights, load=True)
    else:
        model = _for_file(config, include_top=False, size=size)
        source = weights.load_weights_file(backbone_layers(model), config.weights, config.name)
    return from_model(config, model, source)


def from_model(config: BackboneConfig, model: Any, source: str = "random") -> Backbone:
    """Describe a backbone that `build` or `variants` built."""
    layers = backbone_layers(model)
    read = graph.read_graph(model, layers, backbone_table.backbone_spec(config.name))
    return Backbone(config.name, model, layers, read, backbone_table.image_size(config), source)


def build_imagenet_classifier(config: BackboneConfig) -> Any:
    """Build the whole ImageNet classifier, top included: images (B, S, S, 3) RGB 0-255 -> probabilities (B, 1000)."""
    backbone_table.check_backbone(config)
    row, size = backbone_table.backbone_spec(config.name), backbone_table.image_size(config)
    if row.source == "thaw":
        raise UserError(f"{config.name} has no ImageNet classifier; choose a pretrained backbone")
    if row.source == "keras.applications" and size != row.default_size:
        raise UserError(
            f"backbone.image_size={size}: the ImageNet classifier of {config.name} takes {row.default_size} pixels"
        )
    if config.weights in ("imagenet", "none"):
        return _call(config, include_top=True, size=size, graph=config.weights, load=True)
    model = _for_file(config, include_top=True, size=size)
    weights.load_weights_file(backbone_layers(model), config.weights, config.name)
    return model


def backbone_layers(model: Any) -> list[Any]:
    """The network's layers as keras.applications numbers them: without the preprocessing that thaw put before them."""
    return [layer for layer in model.layers if layer.name != "preprocess"]


def build_variants(config: BackboneConfig) -> Iterator[Any]:
    """Build the graphs that this backbone may have, with random weights, the one that its weights call for first.

    keras.applications builds EfficientNetB0-B7 with one layer more for the ImageNet weights than without. Each graph is
    built with fresh layer names; the one before it should be let go of.
    """
    for name in _graphs(config):
        keras.utils.clear_session()
        yield _call(config, include_top=False, size=backbone_table.image_size(config), graph=name, load=False)


def _graphs(config: BackboneConfig) -> tuple[str, ...]:
    """The graphs that there are, as `weights` of Keras's builder, the one that the weights call for first."""
    if not backbone_table.backbone_spec(config.name).graph_depends_on_weights:
        return ("none",)
    return ("none", "imagenet") if config.weights == "none" else ("imagenet", "none")


def _for_file(config: BackboneConfig, *, include_top: bool, size: int) -> Any:
    """Build the graph, with random weights, that a weights file was made for. Raises UserError when none is."""
    stored = weights.stored_graph(config.weights)
    differences = []
    for name in _graphs(config):
        keras.utils.clear_session()
        model = _call(config, include_top=include_top, size=size, graph=name, load=False)
        difference = stored and graph_digest.difference_within(stored, graph_digest.describe_model(model))
        if not difference:
            return model
        differences.append(difference)
    raise UserError(
        f"backbone.weights={config.weights} holds a network that is not {config.name} as it is built here: "
        f"{differences[0]}. Is it another network's file, or another backbone.alpha? If its weights are meant all the "
        "same, save them alone: model.save_weights('FILE.weights.h5')"
    )


def _call(config: BackboneConfig, *, include_top: bool, size: int, graph: str, load: bool) -> Any:
    """Call Keras's builder. graph: imagenet or none, as its argument `weights`; load: load the ImageNet weights."""
    row = backbone_table.backbone_spec(config.name)
    images = keras.Input((size, size, 3), name="images")
    arguments = {name: getattr(config, name) for name in row.builder_arguments if getattr(config, name) is not None}
    place = {"thaw": cnn_baseline, "package": efficientnet_lite}.get(row.source, keras.applications)
    builder = getattr(place, row.builder)
    # Only keras.applications' graphs depend on the weights.
    pretrained = graph == "imagenet" and (load or row.source == "keras.applications")
    with weights.checked_downloads(config.name) if load else weights.without_weights():
        return builder(
            include_top=include_top,
            weights="imagenet" if pretrained else None,
            input_tensor=add_preprocessing(images, row.preprocess),
            input_shape=(size, size, 3),
            **arguments,
        )
