"""The baseline that trains from scratch: the small CNN of CIFAR-10 tutorials."""

from typing import Any

import keras


def baseline_cnn(*, include_top: bool, weights: None, input_tensor: Any, input_shape: tuple[int, int, int]) -> Any:
    """Return Conv 32 same, Conv 32, MaxPool, Dropout .25, Conv 64 same, Conv 64, MaxPool, Dropout .25.

    Arguments are those of keras.applications, but it has neither a top nor published weights. The tutorials' top is
    `head=flatten_dense`: Flatten, Dense 512, Dropout .5, softmax.
    """
    if include_top or weights is not None:
        raise ValueError("the baseline CNN has neither a top nor published weights")
    layers = keras.layers
    x = input_tensor
    for block, filters in (("block1", 32), ("block2", 64)):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"{block}_conv1")(x)
        x = layers.Conv2D(filters, 3, activation="relu", name=f"{block}_conv2")(x)
        x = layers.MaxPooling2D(2, name=f"{block}_pool")(x)
        x = layers.Dropout(0.25, name=f"{block}_dropout")(x)
    return keras.Model(keras.utils.get_source_inputs(input_tensor), x, name="cnn")
