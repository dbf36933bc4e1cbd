"""The network as it leaves: uint8 RGB in, called `image`; the probabilities of all classes out, `probabilities`."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from thaw.frozen.quantization import Calibration

INPUT, OUTPUT = "image", "probabilities"

Runtime: TypeAlias = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]
"""An export that was loaded again: images, uint8 (B, S, S, 3), to probabilities, float32 (B, C)."""


@dataclass(frozen=True, eq=False)
class ExportSource:
    """What a format is written from.

    model: the kept Keras network, raw RGB 0-255 to probabilities, or to that of the second class with a sigmoid.
    file: its .keras file. metadata: texts that travel inside the model where the format can: class names and more, as
    JSON. calibration: training images, on which ranges are measured; None unless in int8.
    """

    model: Any
    file: Path
    image_size: int
    metadata: dict[str, str]
    calibration: Calibration | None = None

    def calibration_images(self) -> Iterator[dict[str, npt.NDArray[np.uint8]]]:
        """Yield the images on which ranges are measured one by one, uint8 (1, S, S, 3), by the input's name."""
        assert self.calibration is not None
        for batch in self.calibration.batches():
            for image in batch:
                yield {INPUT: image[None]}


def with_all_classes(model: Any) -> Any:
    """Return the same network, with the probabilities of both classes instead of a sigmoid's one."""
    import keras

    output = model.output
    if output.shape[-1] == 1:
        output = keras.ops.concatenate([1 - output, output], axis=-1)
    return keras.Model(model.inputs, output, name=model.name)


def portable_network(source: ExportSource) -> Any:
    """Return the network as a Keras model with a uint8 input; it shares its weights."""
    import keras

    image = keras.Input((source.image_size, source.image_size, 3), dtype="uint8", name=INPUT)
    pixels = keras.ops.cast(image, "float32")
    inputs = keras.tree.pack_sequence_as(source.model.input, [pixels])
    probabilities = with_all_classes(source.model)(inputs)
    return keras.Model({INPUT: image}, {OUTPUT: probabilities}, name=source.model.name)


def input_signature(source: ExportSource) -> list[dict[str, Any]]:
    """Return the input of `portable_network` as Keras's exporters take it, with any number of images."""
    import tensorflow as tf

    shape = (None, source.image_size, source.image_size, 3)
    return [{INPUT: tf.TensorSpec(shape, tf.uint8, name=INPUT)}]
