"""Format h5json: the structure as JSON and the weights as HDF5, two files."""

from pathlib import Path
from typing import TYPE_CHECKING

from thaw.export.portable_network import ExportSource

if TYPE_CHECKING:
    from thaw.export.portable_network import Runtime

STRUCTURE_FILE, WEIGHTS_FILE = "model_structure.json", "model.weights.h5"  # Keras wants the second one's end


def write(source: ExportSource, folder: Path, precision: str) -> None:
    """Write `to_json` and `save_weights` of the kept network."""
    (folder / STRUCTURE_FILE).write_text(source.model.to_json(), encoding="utf-8")
    source.model.save_weights(folder / WEIGHTS_FILE)


def load(folder: "Path") -> "Runtime":
    """Return the network as Keras alone runs it; of a sigmoid the probabilities of both classes."""
    import keras
    import numpy as np

    model = keras.models.model_from_json((folder / "model_structure.json").read_text(encoding="utf-8"))
    model.load_weights(folder / "model.weights.h5")
    model.jit_compile = False  # XLA takes minutes on a CPU

    def run(images):  # type: ignore[no-untyped-def]
        found = model.predict(images, batch_size=8, verbose=0)
        return found if found.shape[1] > 1 else np.hstack([1 - found, found])

    return run
