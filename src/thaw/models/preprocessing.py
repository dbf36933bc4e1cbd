"""The preprocessing of each backbone as layers of the network, so that a saved model takes raw RGB 0-255."""

from typing import Any

import keras

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
