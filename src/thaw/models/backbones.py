"""Builds a backbone from its row: preprocessing and network as one flat functional graph."""

from dataclasses import dataclass
from typing import Any

import keras

from thaw.config.schema import BackboneConfig
from thaw.errors import UserError
from thaw.models import baseline, efficientnet_lite, graph, table, weights
from thaw.models.graph import Graph
from thaw.models.preprocess import preprocess


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
    graph: Graph
    image_size: int
    weights: str


def build(config: BackboneConfig) -> Backbone:
    """Build the backbone and load its weights. Call `backend.start` first: it clears Keras's layer-name counters.

    Raises UserError as `table.check` does, and when weights cannot be had or do not fit.
    """
    table.check(config)
    row, size = table.row(config.name), table.image_size(config)
    images = keras.Input((size, size, 3), name="images")
    model = _call(config, row, include_top=False, input_tensor=preprocess(images, row.preprocess), size=size)
    layers = own_layers(model)
    source = "random"
    if config.weights not in ("imagenet", "none"):
        source = weights.load_file(layers, config.weights, config.name)
    elif config.weights == "imagenet":
        source = "imagenet"
    return Backbone(config.name, model, layers, graph.read(model, layers, row), size, source)


def build_stock(config: BackboneConfig) -> Any:
    """Build the whole ImageNet classifier, top included: images (B, S, S, 3) RGB 0-255 -> probabilities (B, 1000)."""
    table.check(config)
    row, size = table.row(config.name), table.image_size(config)
    if row.source == "thaw":
        raise UserError(f"{config.name} has no ImageNet classifier; choose a pretrained backbone")
    if row.source == "keras.applications" and size != row.size:
        raise UserError(f"backbone.image_size={size}: the ImageNet classifier of {config.name} takes {row.size} pixels")
    images = keras.Input((size, size, 3), name="images")
    model = _call(config, row, include_top=True, input_tensor=preprocess(images, row.preprocess), size=size)
    if config.weights not in ("imagenet", "none"):
        weights.load_file(own_layers(model), config.weights, config.name)
    return model


def own_layers(model: Any) -> list[Any]:
    """The network's layers as keras.applications numbers them: without the preprocessing that thaw put before them."""
    return [layer for layer in model.layers if layer.name != "preprocess"]


def _call(config: BackboneConfig, row: table.Row, *, include_top: bool, input_tensor: Any, size: int) -> Any:
    arguments = {name: getattr(config, name) for name in row.arguments if getattr(config, name) is not None}
    pretrained = "imagenet" if config.weights == "imagenet" else None
    place = {"thaw": baseline, "package": efficientnet_lite}.get(row.source, keras.applications)
    builder = getattr(place, row.builder)
    with weights.checked_downloads(config.name):
        return builder(
            include_top=include_top,
            weights=pretrained,
            input_tensor=input_tensor,
            input_shape=(size, size, 3),
            **arguments,
        )
