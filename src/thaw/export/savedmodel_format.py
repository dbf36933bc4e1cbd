"""Format savedmodel: TensorFlow's SavedModel, written by Keras."""

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thaw.export.portable_network import ExportSource, input_signature, portable_network

if TYPE_CHECKING:
    from thaw.export.portable_network import Runtime

FOLDER = "saved_model"


def write(source: ExportSource, folder: Path, precision: str) -> None:
    """Write the network with two signatures: `serving_default`, and `metadata`, which returns texts by name."""
    import keras
    import tensorflow as tf

    model = portable_network(source)
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serve", functools.partial(model.__call__, training=False), input_signature(source))

    def metadata() -> dict[str, Any]:
        return {name: tf.constant(text) for name, text in source.metadata.items()}

    archive.add_endpoint("metadata", metadata, [])
    archive.write_out(str(folder / FOLDER), verbose=False)


def load(folder: "Path") -> "Runtime":
    """Return the network as TensorFlow alone runs it."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(folder / "saved_model"))

    def run(images):  # type: ignore[no-untyped-def]
        return loaded.signatures["serving_default"](image=tf.constant(images))["probabilities"].numpy()

    return run
