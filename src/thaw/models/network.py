"""A backbone and a head as one flat functional graph, and the cuts at which it is divided into two parts."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from thaw.common.errors import UserError
from thaw.config.schema import HeadConfig
from thaw.models.backbones import Backbone
from thaw.models.folding import with_trained_convolutions
from thaw.models.freeze import FreezePlan, cut_operations

HEAD_LAYERS = ("head_hidden", "predictions")  # layers of a head that have weights


@dataclass(frozen=True)
class Network:
    """A classifier: a backbone with a head."""

    model: Any  # images (B, S, S, 3) RGB 0-255 -> probabilities (B, C), or (B, 1) with a sigmoid
    backbone: Backbone
    pooled_features: Any  # the tensor behind pooling (which has no weights), where the trained head begins
    class_names: tuple[str, ...]


def attach_head(backbone: Backbone, head: HeadConfig, class_names: tuple[str, ...]) -> Network:
    """Return the backbone with a head on top; raises UserError for a sigmoid without exactly two classes."""
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
    if head.name in ("gap_dense", "flatten_dense"):
        x = layers.Dense(head.hidden, activation="relu", name="head_hidden")(x)
    if head.dropout:
        x = layers.Dropout(head.dropout, name="head_dropout")(x)
    units, activation = (1, "sigmoid") if head.output == "sigmoid" else (len(class_names), "softmax")
    x = layers.Dense(units, activation=activation, name="predictions")(x)
    model = keras.Model(backbone.model.inputs, x, name="thaw")
    return Network(model, backbone, pooled, class_names)


def head_layers(network: Network) -> list[Any]:
    """Return the layers of the head that have weights."""
    return [layer for layer in network.model.layers if layer.name in HEAD_LAYERS]


@dataclass(frozen=True, eq=False)
class Cut:
    """The tensors of a built network that flow from `backbone.layers[:index]` to the rest.

    At index 0 they are the images, at the number of layers the pooled features.
    """

    index: int
    names: tuple[str, ...]  # of the operations that output the tensors
    shapes: tuple[tuple[int, ...], ...]  # without the batch
    tensors: tuple[Any, ...] = ()  # symbolic tensors of Keras


def cut_at(network: Network, index: int) -> Cut:
    """Return the cut behind `layers[:index]` of the network's backbone."""
    if index == 0:
        tensors = tuple(network.model.inputs)
    elif index == len(network.backbone.layers):
        tensors = (network.pooled_features,)
    else:
        outputs = {operation.name: operation.output for operation in network.backbone.model.operations}
        tensors = tuple(outputs[operation.name] for operation in cut_operations(network.backbone.graph, index))
    names = tuple(tensor._keras_history.operation.name for tensor in tensors)
    return Cut(index, names, tuple(tuple(tensor.shape[1:]) for tensor in tensors), tensors)


def feature_cut(network: Network) -> Cut:
    """Return the cut behind the whole backbone: the pooled features."""
    return cut_at(network, len(network.backbone.layers))


def mean_over_positions(network: Network, pooled: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return pooled features (n, D) with one number a channel, (n, channels): a head may flatten them instead."""
    channels = network.backbone.model.output.shape[-1]
    return pooled.reshape(len(pooled), -1, channels).mean(axis=1)


def frozen_submodel(network: Network, cut: Cut) -> Any:
    """Return the network from the images to the cut, with shared weights."""
    return keras.Model(network.model.inputs, list(cut.tensors), name="frozen")


@dataclass(frozen=True)
class NetworkParts:
    """A network divided at a cut; both parts share their weights with it."""

    frozen: Any  # images -> the cut tensors; None when the cut is the images themselves
    trained: Any  # the cut tensors, float32 -> probabilities; what a stage fits
    cut: Cut


def divide_network(network: Network, plan: FreezePlan, cut: Cut, training_step: str = "keras") -> NetworkParts:
    """Divide the network at a cut that lies at the plan's boundary or before it.

    `training_step` says how the trained part computes: keras, layer by layer, or folded, as `models.folding` does.

    Frozen layers behind the cut run in inference mode. So do thawed layers of the backbone with batchnorm=frozen, as
    in Keras's guide to fine-tuning (`base_model(x, training=False)`): gamma and beta train, statistics stay, and batch
    statistics of 32 photos do not destroy ImageNet's.
    """
    model, output = network.model, network.backbone.model.output
    entries = [keras.Input(shape, name=None if cut.index else "images") for shape in cut.shapes]
    boundary = cut if cut.index == plan.boundary else cut_at(network, plan.boundary)

    def computed(part: Any, fold: bool) -> Any:
        if training_step == "keras":
            return part
        return with_trained_convolutions(part, network.backbone.graph, fold=fold)

    tensors = _run_frozen_between(cut, boundary, entries, computed)
    end = network.pooled_features if plan.all_frozen else output
    if not plan.all_frozen:
        thawed = computed(keras.Model(list(boundary.tensors), output, name="thawed"), plan.batchnorm == "frozen")
        tensors = [InferenceMode(thawed)(tensors) if plan.batchnorm == "frozen" else thawed(tensors)]
    head = keras.Model(end, model.output, name="head")
    return NetworkParts(
        frozen=frozen_submodel(network, cut) if cut.index else None,
        trained=keras.Model(entries if len(entries) > 1 else entries[0], head(tensors[0]), name="trained"),
        cut=cut,
    )


def _run_frozen_between(cut: Cut, boundary: Cut, entries: list[Any], computed: Callable[[Any, bool], Any]) -> list[Any]:
    """Apply the frozen layers between two cuts to `entries`; a tensor that crosses both cuts passes unchanged."""
    outputs = {id(tensor): entry for tensor, entry in zip(cut.tensors, entries, strict=True)}
    missing = [tensor for tensor in boundary.tensors if id(tensor) not in outputs]
    if missing:
        between = InferenceMode(computed(keras.Model(list(cut.tensors), missing, name="frozen_again"), True))
        outputs.update(zip(map(id, missing), keras.tree.flatten(between(entries)), strict=True))
    return [outputs[id(tensor)] for tensor in boundary.tensors]


class InferenceMode(keras.layers.Layer):
    """Calls a model with training=False even during training; its weights train nevertheless.

    In Keras 3.15 `model(x, training=False)` inside a functional model has no effect in `fit`: the outer model passes
    training=True to all of its layers, and BatchNorm updates its statistics.
    """

    def __init__(self, model: Any) -> None:
        super().__init__(name=f"{model.name}_inference", autocast=False)
        self.model = model

    def call(self, inputs: Any) -> Any:
        """Return the model's outputs in inference mode."""
        return self.model(inputs, training=False)

    def compute_output_spec(self, inputs: Any) -> Any:
        """Return the model's symbolic outputs."""
        return self.model.compute_output_spec(inputs)
