"""Grad-CAM: where in an image a classifier sees a class (Selvaraju et al. 2017, arXiv 1610.02391)."""

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from thaw.common.errors import UserError
from thaw.models.eager_keras import ordered_nodes, run_between

BATCH_SIZE = 4  # images at a time: the widest activations of EfficientNetB7 are 70 MB an image

FloatArray = npt.NDArray[np.float32]


class GradCam:
    """Computes heat maps of a trained classifier, in float32 and in inference mode.

    The map of a class is `relu(sum_k a_k A_k)`: A_k is channel k of the last feature map, and a_k the mean over it of
    the gradient of the class's score. The score is taken before softmax or sigmoid, whose gradients vanish where the
    network is certain. Only what lies behind the feature map is differentiated, so EfficientNetB7 needs no more memory
    than for a prediction. The model, its weights and Keras's random state stay as they are.

    Args:
        model: a functional classifier, images (B, S, S, 3) RGB 0-255 -> (B, C), or (B, 1) with a sigmoid.

    Raises:
        UserError: the model has no feature map.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.feature_map = last_feature_map(model)

    def __call__(self, images: npt.NDArray[np.uint8], classes: npt.NDArray[np.integer[Any]]) -> FloatArray:
        """Return the heat of a class in each image.

        Args:
            images: uint8 (B, S, S, 3), RGB, 0-255.
            classes: (B,), by the output's index; with one sigmoid output 0 and 1 are the first and the second class.

        Returns:
            float32 (B, h, w), of the feature map's size: 0 to 1, the hottest place of an image being 1; all 0 where
            nothing speaks for the class.
        """
        parts = [slice(start, start + BATCH_SIZE) for start in range(0, len(images), BATCH_SIZE)]
        empty = np.zeros((0, *self.feature_map.shape[1:3]), np.float32)
        return np.concatenate([empty, *(self._heat(images[part], classes[part]) for part in parts)])

    def _heat(self, images: npt.NDArray[np.uint8], classes: npt.NDArray[np.integer[Any]]) -> FloatArray:
        pixels = tf.constant(images.astype(np.float32))
        (features,) = run_between(self.model, self.model.inputs, [pixels], [self.feature_map])
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(features)
            (outputs,) = run_between(self.model, [self.feature_map], [features], self.model.outputs)
            total = tf.reduce_sum(_class_scores(outputs, classes))  # an image's features reach its own score only
        gradients = tape.gradient(total, features)
        weights = tf.reduce_mean(gradients, axis=(1, 2), keepdims=True)
        return _scaled(tf.nn.relu(tf.reduce_sum(weights * features, axis=-1)).numpy())


def _class_scores(outputs: Any, classes: npt.NDArray[np.integer[Any]]) -> Any:
    """Return each image's score of its class, (B,): its logit, or the output itself where there is no activation.

    Keras notes the logits at what softmax and sigmoid return, for its own loss.
    """
    scores = getattr(outputs, "_keras_logits", outputs)
    if scores.shape[-1] == 1:
        return tf.where(classes == 1, scores[:, 0], -scores[:, 0])
    return tf.gather(scores, classes, axis=1, batch_dims=1)


def _scaled(heat: FloatArray) -> FloatArray:
    """Return maps (B, h, w) whose largest value is 1, or 0 where it was; what overflowed is 0."""
    heat = np.nan_to_num(heat, nan=0.0, posinf=0.0)
    highest = heat.max(axis=(1, 2), keepdims=True)
    return np.divide(heat, highest, out=np.zeros_like(heat), where=highest > 0)


def last_feature_map(model: Any) -> Any:
    """Return the symbolic tensor (B, h, w, channels) of a functional classifier before its pooling and head.

    It is the last that all else passes through. Layers of pooling and dropout that end a backbone come behind it, so
    VGG16's is that of its last convolution, as in the paper.

    Raises:
        UserError: no convolution comes before such a tensor.
    """
    tensors = [*model.inputs, *_bottlenecks(model)]
    collapsed = next((i for i, tensor in enumerate(tensors) if _is_collapsed(tensor)), len(tensors))
    feature_maps = [tensor for tensor in tensors[:collapsed] if not isinstance(_operation(tensor), _WITHOUT_FEATURES)]
    if feature_maps and _has_convolution(model, feature_maps[-1]):
        return feature_maps[-1]
    raise UserError(
        f"the network {model.name} has no feature map of a convolution that its whole output is computed from, so "
        "Grad-CAM cannot say where it sees a class"
    )


_layers = keras.layers
_WITHOUT_FEATURES = (
    _layers.InputLayer, _layers.MaxPooling2D, _layers.AveragePooling2D, _layers.Dropout, _layers.SpatialDropout2D,
)  # fmt: skip


def _operation(tensor: Any) -> Any:
    return tensor._keras_history.operation


def _is_collapsed(tensor: Any) -> bool:
    """Return whether a tensor has no places any more. Published MobileNets go on with maps of 1x1 after pooling."""
    pools = (_layers.GlobalAveragePooling2D, _layers.GlobalMaxPooling2D)
    return len(tensor.shape) != 4 or isinstance(_operation(tensor), pools)


def _bottlenecks(model: Any) -> list[Any]:
    """Return the tensors that every path from the inputs to the outputs passes through, in order.

    In topological order these are the outputs of the nodes that nothing passes by: no tensor from before is read
    behind them.
    """
    nodes = ordered_nodes(model)
    last_reader = {id(symbol): position for position, node in enumerate(nodes) for symbol in node.input_tensors}
    read_until = max(last_reader[id(symbol)] for symbol in model.inputs)
    tensors = []
    for position, node in enumerate(nodes):
        if read_until <= position and len(node.outputs) == 1:
            tensors.append(node.outputs[0])
        read_until = max([read_until, *(last_reader.get(id(symbol), position) for symbol in node.outputs)])
    return tensors


def _has_convolution(model: Any, tensor: Any) -> bool:
    """Return whether a kernel of four dimensions is among the weights before a tensor, or of what computes it."""
    for node in ordered_nodes(model):
        if any(len(weight.shape) == 4 for weight in getattr(node.operation, "weights", ())):
            return True
        if any(symbol is tensor for symbol in node.outputs):
            break
    return False
