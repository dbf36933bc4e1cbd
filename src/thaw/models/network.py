"""Joins a head to a backbone as one flat functional graph, and parts it again at a freeze plan's cut."""

import hashlib
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from thaw.config.schema import HeadConfig
from thaw.errors import UserError
from thaw.models.backbones import Backbone
from thaw.models.freeze import FreezePlan

HEAD_LAYERS = ("head_hidden", "predictions")  # those of a head that have weights


@dataclass(frozen=True)
class Network:
    """The classifier: `model` maps images (B, S, S, 3) RGB 0-255 to probabilities (B, C), or (B, 1) with a sigmoid.

    pooled: the tensor at which pooling (which has no weights) ends and the trained head begins.
    """

    model: Any
    backbone: Backbone
    pooled: Any
    class_names: tuple[str, ...]


def join(backbone: Backbone, head: HeadConfig, class_names: tuple[str, ...]) -> Network:
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
    # float32 whatever the precision: a softmax over bfloat16 logits loses the small probabilities.
    if head.output == "sigmoid":
        x = layers.Dense(1, activation="sigmoid", dtype="float32", name="predictions")(x)
    else:
        x = layers.Dense(len(class_names), activation="softmax", dtype="float32", name="predictions")(x)
    model = keras.Model(backbone.model.inputs, x, name="thaw")
    return Network(model, backbone, pooled, class_names)


@dataclass(frozen=True)
class Parts:
    """A network parted at a cut; all parts share their weights with it.

    frozen: images -> the cut tensors, in inference mode. trained: the cut tensors -> probabilities; what a stage fits.
    whole: images -> probabilities, `trained` on `frozen`, for stages that compute the frozen part anew.
    """

    frozen: Any
    trained: Any
    whole: Any
    cut_shapes: tuple[tuple[int, ...], ...]
    cut_dtypes: tuple[str, ...]


def part(network: Network, plan: FreezePlan) -> Parts:
    """Part the network at the plan's cut. With everything frozen the pooled features are the cut.

    The frozen part runs in inference mode. So do thawed layers of the backbone with batchnorm=frozen, as Keras's guide
    to fine-tuning means it (`base_model(x, training=False)`): gamma and beta train, statistics stay, and batch
    statistics of 32 photos do not destroy ImageNet's.
    """
    model, output = network.model, network.backbone.model.output
    tensors = {operation.name: operation.output for operation in network.backbone.model.operations}
    cut = [network.pooled] if plan.all_frozen else [tensors[name] for name in plan.cut]
    frozen = keras.Model(model.inputs, cut, name="frozen")
    entries = [keras.Input(t.shape[1:], dtype=t.dtype) for t in cut]
    if plan.all_frozen:
        head = keras.Model(network.pooled, model.output, name="head")
        outputs = head(entries[0])
    else:
        thawed = keras.Model(cut, output, name="thawed")
        head = keras.Model(output, model.output, name="head")
        run = InferenceMode(thawed) if plan.batchnorm == "frozen" else thawed
        outputs = head(run(entries if len(entries) > 1 else entries[0]))
    trained = keras.Model(entries, outputs, name="trained")
    images = keras.Input(model.input_shape[1:], name="images")
    whole = keras.Model(images, trained(InferenceMode(frozen)(images)), name="whole")
    shapes = tuple(tuple(t.shape[1:]) for t in cut)
    return Parts(frozen, trained, whole, shapes, tuple(keras.backend.standardize_dtype(t.dtype) for t in cut))


class InferenceMode(keras.layers.Layer):
    """Calls a model with training=False whatever the caller is doing; its weights train all the same.

    In Keras 3.15 `model(x, training=False)` inside a functional model does not last: the outer model's `fit` passes
    training=True to everything in it, and BatchNorm updates its statistics.
    """

    def __init__(self, model: Any) -> None:
        super().__init__(name=f"{model.name}_inference")
        self.model = model

    def call(self, inputs: Any) -> Any:
        return self.model(inputs, training=False)

    def compute_output_spec(self, inputs: Any) -> Any:
        return self.model.compute_output_spec(inputs)


def weights_sha256(model: Any) -> str:
    """sha256 over all weights, statistics included, in layer order."""
    digest = hashlib.sha256()
    for variable in model.weights:
        digest.update(np.ascontiguousarray(variable.numpy()).tobytes())
    return digest.hexdigest()
