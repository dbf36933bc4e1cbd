"""The preprocessing of each backbone as layers of the network, so that a saved model takes raw RGB 0-255."""

from typing import Any

import keras

from thaw.models.eager_keras import ordered_nodes

# What the published weights were trained on (keras.applications.imagenet_utils; EfficientNet-Lite's originals).
PREPROCESSING_MODES: dict[str, str] = {
    "tf": "x / 127.5 - 1",
    "caffe": "BGR minus ImageNet's mean",
    "torch": "(x / 255 - mean) / std, by channel",
    "lite": "(x - 127) / 128",
    "unit": "x / 255",
    "built-in": "part of the backbone",
}


def add_preprocessing(images: Any, mode: str) -> Any:
    """Return a KerasTensor `images` (B, S, S, 3), RGB 0-255, after the layers of a mode of `PREPROCESSING_MODES`.

    All of them are layers of Keras itself, so the saved network opens without thaw.
    """
    layers = keras.layers
    if mode == "tf":
        return layers.Rescaling(1 / 127.5, offset=-1, name="preprocess")(images)
    if mode == "lite":
        return layers.Rescaling(1 / 128, offset=-127 / 128, name="preprocess")(images)
    if mode == "unit":
        return layers.Rescaling(1 / 255, name="preprocess")(images)
    if mode == "caffe":
        bgr = keras.ops.flip(images, axis=-1)
        mean = [103.939, 116.779, 123.68]
        return layers.Normalization(mean=mean, variance=[1, 1, 1], name="preprocess")(bgr)
    if mode == "torch":
        mean = [255 * m for m in (0.485, 0.456, 0.406)]
        variance = [(255 * s) ** 2 for s in (0.229, 0.224, 0.225)]
        return layers.Normalization(mean=mean, variance=variance, name="preprocess")(images)
    if mode == "built-in":
        return images
    raise ValueError(f"no preprocessing mode {mode!r}; there are {', '.join(PREPROCESSING_MODES)}")


def preprocessed_tensor(model: Any) -> Any:
    """Return the symbolic tensor behind the preprocessing of a functional network; its images where there is none.

    That is what `add_preprocessing` adds, or the same layers where they are part of the backbone.
    """
    (tensor,) = model.inputs
    layers = keras.layers
    for node in ordered_nodes(model):
        operation = node.operation
        # The flip to BGR is an operation and no layer.
        preprocesses = isinstance(operation, (layers.Rescaling, layers.Normalization)) or not isinstance(
            operation, layers.Layer
        )
        if not preprocesses or [id(symbol) for symbol in node.input_tensors] != [id(tensor)]:
            break
        (tensor,) = node.outputs
    return tensor
