"""Format keras: the network's own .keras file."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from thaw.export.portable_network import ExportSource

if TYPE_CHECKING:
    from thaw.export.portable_network import Runtime

FILE = "model.keras"


def write(source: ExportSource, folder: Path, precision: str) -> None:
    """Copy the kept network."""
    shutil.copyfile(source.file, folder / FILE)


def load(folder: "Path") -> "Runtime":
    """Return the network as Keras alone runs it; of a sigmoid the probabilities of both classes."""
    import keras
    import numpy as np

    model = keras.saving.load_model(folder / "model.keras")
    model.jit_compile = False  # XLA takes minutes on a CPU

    def run(images):  # type: ignore[no-untyped-def]
        found = model.predict(images, batch_size=8, verbose=0)
        return found if found.shape[1] > 1 else np.hstack([1 - found, found])

    return run
