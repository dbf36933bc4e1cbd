"""Networks to export, and what Keras says of images."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from thaw.export.portable_network import ExportSource


@dataclass(frozen=True)
class NoiseImages:
    """Calibration images that no data set has: stands for `frozen.quantization.Calibration`."""

    size: int
    indices: Any

    def batches(self) -> Any:
        yield noise(self.size, len(self.indices))


def noise(size: int, count: int) -> Any:
    """Return uint8 (count, size, size, 3): blotches, as noise of single pixels is all alike to a network."""
    coarse = np.random.default_rng(0).integers(0, 256, (count, size // 8 + 1, size // 8 + 1, 3))
    return coarse.repeat(8, 1).repeat(8, 2)[:, :size, :size].astype(np.uint8)


def source_of(model: Any, file: Path, precision: str) -> ExportSource:
    """Return a network as the formats are given it, saved under `file`."""
    model.save(file)
    size = model.inputs[0].shape[1]
    classes = json.dumps(["a b", "ü", "\"'<&"])
    calibration: Any = NoiseImages(size, np.arange(8)) if precision == "int8" else None
    return ExportSource(model, file, size, {"classes": classes, "about": json.dumps({"run_id": "1"})}, calibration)


def keras_probabilities(model: Any, images: Any) -> Any:
    """Return the kept network's probabilities, float32 (N, C)."""
    from thaw.frozen.batch_runner import expand_sigmoid
    from thaw.frozen.engine import InferenceFunction

    return expand_sigmoid(InferenceFunction(model, "keras", "float32")(images)[0])
