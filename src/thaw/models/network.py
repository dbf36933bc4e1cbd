"""Joins a head to a backbone as one flat functional graph, and parts it again at a freeze plan's cut."""

from dataclasses import dataclass
from typing import Any

import keras

from thaw.common.errors import UserError
from thaw.config.schema import HeadConfig
from thaw.models.backbones import Backbone
from thaw.models.freeze import FreezePlan, cut_operations

HEAD_LAYERS = ("head_hidden", "predictions")  # those of a head that have weights


@dataclass(frozen=True)
class Network:
    """The classifier: `model` maps images (B, S, S, 3) RGB 0-255 to probabilities (B, C), or (B, 1) with a sigmoid.

    pooled: the tensor at which pooling (which has no weights) ends and the trained head begins.
    """

    model: Any
    backbone: Backbone
    pooled_features: Any
    class_names: tuple[str, ...]


def attach_head(backbone: Backbone, head: HeadConfig, class_names: tuple[str, ...]) -> Network:
    """Join the head. Raises UserError for a sigmoid with other than two classes."""
    if head.output == "sigmoid" and len(class_names) != 2:
        raise UserError(
            f"head.output=sigmoid is for two classes; the data has {len(class_names)}. Use head.output=softmax"
        )
    layers = keras.layers
    features = backbone.model.output
    if head.name == "flatten_dense":
        pooled = x = layers.Flatten(name="head_flatten")(features)
    else:
        pooled = x = layers.GlobalAveragePooling2D(name="head_pool")(features)
    if head.name != "linear":
        x = layers.Dense(head.hidden, activation="relu", name="head_hidden")(x)
    if head.dropout:
        x = layers.Dropout(head.dropout, name="head_dropout")(x)
    if head.output == "sigmoid":
        x = layers.Dense(1, activation="sigmoid", name="predictions")(x)
    else:
        x = layers.Dense(len(class_names), activation="softmax", name="predictions")(x)
    model = keras.Model(backbone.model.inputs, x, name="thaw")
    return Network(model, backbone, pooled, class_names)


@dataclass(frozen=True)
class NetworkParts:
    """A network parted at a cut; both parts share their weights with it.

    frozen: images -> the cut tensors; None when the cut is the images themselves. trained: the cut tensors, float32
    -> probabilities; what a stage fits. cut: names of the cut tensors; shapes: theirs, without the batch.
    """

    frozen: Any
    trained: Any
    cut_names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]


def divide_network(network: Network, plan: FreezePlan, at: int) -> NetworkParts:
    """Part the network after `layers[:at]`, at the plan's boundary or before it; at 0 nothing is parted off.

    With everything frozen and `at` at the end, the pooled features are the cut. Frozen layers behind the cut run in
    inference mode. So do thawed layers of the backbone with batchnorm=frozen, as Keras's guide to fine-tuning means it
    (`base_model(x, training=False)`): gamma and beta train, statistics stay, and batch statistics of 32 photos do not
    destroy ImageNet's.
    """
    model, output = network.model, network.backbone.model.output
    cut = cut_tensors(network, at)
    entries = [keras.Input(t.shape[1:], name="images" if at == 0 else None) for t in cut]
    tensors = entries
    end = network.pooled_features if plan.all_frozen else output
    if at < plan.boundary:
        tensors = _run_on(cut, entries, cut_tensors(network, plan.boundary))
    if not plan.all_frozen:
        thawed = keras.Model(cut_tensors(network, plan.boundary), output, name="thawed")
        tensors = [InferenceMode(thawed)(tensors) if plan.batchnorm == "frozen" else thawed(tensors)]
    head = keras.Model(end, model.output, name="head")
    return NetworkParts(
        frozen=frozen_submodel(network, at) if at else None,
        trained=keras.Model(entries if len(entries) > 1 else entries[0], head(tensors[0]), name="trained"),
        cut_names=cut_names(network, at),
        shapes=tuple(tuple(t.shape[1:]) for t in cut),
    )


def cut_names(network: Network, at: int) -> tuple[str, ...]:
    """Names of the operations whose outputs are cut behind `layers[:at]`."""
    return tuple(tensor._keras_history.operation.name for tensor in cut_tensors(network, at))


def frozen_submodel(network: Network, at: int) -> Any:
    """The network from images to the cut behind `layers[:at]`."""
    return keras.Model(network.model.inputs, cut_tensors(network, at), name="frozen")


def _run_on(cut: list[Any], entries: list[Any], reached: list[Any]) -> list[Any]:
    """Join the frozen layers between two cuts to `entries`. A tensor that crosses both is handed through."""
    passing = {id(tensor): entry for tensor, entry in zip(cut, entries, strict=True)}
    computed = [tensor for tensor in reached if id(tensor) not in passing]
    if computed:
        outputs = InferenceMode(keras.Model(cut, computed, name="frozen_again"))(entries)
        passing.update(zip(map(id, computed), keras.tree.flatten(outputs), strict=True))
    return [passing[id(tensor)] for tensor in reached]


def cut_tensors(network: Network, at: int) -> list[Any]:
    """The tensors that flow from `layers[:at]` to the rest: at 0 the images, at the end the pooled features."""
    graph = network.backbone.graph
    if at == 0:
        return list(network.model.inputs)
    if at == len(graph.layers):
        return [network.pooled_features]
    tensors = {operation.name: operation.output for operation in network.backbone.model.operations}
    return [tensors[operation.name] for operation in cut_operations(graph, at)]


class InferenceMode(keras.layers.Layer):
    """Calls a model with training=False whatever the caller is doing; its weights train all the same.

    In Keras 3.15 `model(x, training=False)` inside a functional model does not last: the outer model's `fit` passes
    training=True to everything in it, and BatchNorm updates its statistics.
    """

    def __init__(self, model: Any) -> None:
        super().__init__(name=f"{model.name}_inference", autocast=False)
        self.model = model

    def call(self, inputs: Any) -> Any:
        return self.model(inputs, training=False)

    def compute_output_spec(self, inputs: Any) -> Any:
        return self.model.compute_output_spec(inputs)
