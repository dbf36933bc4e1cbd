"""Post-training quantisation of the frozen part to int8 by NNCF, calibrated on a run's own training images."""

import functools
import hashlib
import importlib.metadata
import logging
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from thaw.common import hardware
from thaw.common.console import ProgressHandle, progress
from thaw.data import dataset_cache, decode
from thaw.data.pixels import Pixels
from thaw.frozen.engine import ArrayTuple, EngineChoice
from thaw.frozen.openvino_runtime import import_openvino, openvino_core, sharing_the_core

KEY_FORMAT = 1  # raise it when the same key stands for another quantised network
MAX_IMAGES, BATCH_SIZE = 304, 8  # NNCF recommends 300 images; whole batches count alike
# Arguments of nncf.quantize. `performance` has symmetric activations, whose products need no correction for zero.
PRESET, FAST_BIAS_CORRECTION = "performance", True


@dataclass(frozen=True, eq=False)
class Calibration:
    """The images on which a network's ranges are measured.

    Which they are follows from the contents of the training images alone, not from their order, nor from a seed: runs
    that differ in their seed quantise alike and share what the cache holds.

    pixels: of the run. indices: of training images in the catalog; `of_training_images` chooses them.
    """

    pixels: Pixels
    indices: npt.NDArray[np.int64]

    @cached_property
    def sha256(self) -> str:
        """The hash of the images' contents."""
        return hashlib.sha256("\n".join(self.pixels.digests(self.indices)).encode()).hexdigest()

    def key(self) -> dict[str, object]:
        """Return what the quantised network depends on besides the network, as a part of a cache key."""
        return {
            "format": KEY_FORMAT,
            "images": self.sha256,
            "count": len(self.indices),
            "batch": BATCH_SIZE,
            "preset": PRESET,
            "fast_bias_correction": FAST_BIAS_CORRECTION,
            "nncf": importlib.metadata.version("nncf"),
            "instructions": list(hardware.vnni_sets()),
            "decode": decode.VERSION,
            "resize": self.pixels.decode_options.resize_rule,
            "decoders": dataset_cache.decoder_versions(),
            **self.pixels.decode_options.key_fields(),
        }

    def batches(self) -> Iterator[npt.NDArray[np.uint8]]:
        """Yield the images in batches, uint8 (B, S, S, 3)."""
        for start in range(0, len(self.indices), BATCH_SIZE):
            yield self.pixels.sample(self.indices[start : start + BATCH_SIZE])


def of_training_images(pixels: Pixels, train: npt.NDArray[np.int64]) -> Calibration:
    """Return the calibration of a run: those of its training images whose hashes come first, each content once.

    train: catalog indices of the training images. They are used as they are, without augmentation.
    """
    by_content = dict(zip(pixels.digests(train), train.tolist(), strict=True))
    chosen = sorted(by_content, key=lambda digest: hashlib.sha256(f"calibration {digest}".encode()).digest())
    return Calibration(pixels, np.array([by_content[digest] for digest in chosen[:MAX_IMAGES]], np.int64))


def run_calibration(choice: EngineChoice, pixels: Pixels, train: npt.NDArray[np.int64]) -> Calibration | None:
    """Return the calibration of a run on the chosen engine; None if it does not compute in int8."""
    return of_training_images(pixels, train) if choice.frozen == "int8" else None


class _Inputs(Protocol):
    """Yields the inputs of a network, batch by batch."""

    def __call__(self) -> Iterator[ArrayTuple]: ...


def quantize(converted: Any, inputs: _Inputs, calibration: Calibration) -> Any:
    """Return OpenVINO's model of a network quantised to int8; the same for the same network and images, bit for bit.

    Args:
        converted: OpenVINO's model, which stays as it is.
        inputs: what the calibration's images are at the network's inputs: themselves, or their activations.
        calibration: the images.
    """
    nncf = _import_nncf()
    model = _with_fixed_names(converted.clone())
    count = -(-len(calibration.indices) // BATCH_SIZE)
    with progress("calibrating int8", len(calibration.indices)) as steps, sharing_the_core():
        quantized = nncf.quantize(
            model,
            nncf.Dataset(_Batches(inputs, count, steps)),
            preset=nncf.QuantizationPreset(PRESET),
            target_device=nncf.TargetDevice.CPU,
            subset_size=count,
            fast_bias_correction=FAST_BIAS_CORRECTION,
        )
    return _with_fixed_names(quantized)  # of what NNCF adds, names count on with every network of a process


class _Batches:
    """A network's inputs as NNCF reads them: by the names that the conversion gives them."""

    def __init__(self, inputs: _Inputs, count: int, steps: ProgressHandle) -> None:
        self._inputs, self._count, self._steps = inputs, count, steps

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[dict[str, npt.NDArray[Any]]]:
        for arrays in self._inputs():
            yield {f"x{i}": array for i, array in enumerate(arrays)}
            self._steps.advance(len(arrays[0]))


def _with_fixed_names(model: Any) -> Any:
    """Name a model's operations by their place, and only its inputs' tensors.

    The conversion names them after Keras's, which count on with every network that a process builds.
    """
    for i, operation in enumerate(model.get_ordered_ops()):
        operation.set_friendly_name(f"{operation.get_type_name()}_{i}")
        for output in operation.outputs():
            tensor = output.get_tensor()
            names = {name.split(":")[0] for name in tensor.get_names()}
            tensor.set_names(names if operation.get_type_name() == "Parameter" else set())
    return model


def save_quantized(quantized: Any, file: Path) -> None:
    """Write OpenVINO's model as an .xml file and, beside it, a .bin file of its weights."""
    import_openvino().save_model(quantized, file, compress_to_fp16=False)


def load_quantized(file: Path) -> Any:
    """Return OpenVINO's model of an .xml file and the .bin file beside it; NNCF is not needed."""
    return openvino_core().read_model(file)


@functools.cache
def _import_nncf() -> Any:
    """Import NNCF so that it leaves the process as it was: without telemetry, log lines and progress bars of its own.

    Without the package openvino_telemetry, which `import_openvino` hides, NNCF has a substitute for it
    (nncf/telemetry/wrapper.py). The import draws from Python's random numbers, and replaces the class of loggers.
    """
    import_openvino()
    state, logger_class = random.getstate(), logging.getLoggerClass()
    try:
        import nncf
        from nncf.common.logging import track_progress
    finally:
        logging.setLoggerClass(logger_class)
        random.setstate(state)
    nncf.disable_logging()
    track = track_progress.track
    track.__init__ = functools.partialmethod(track.__init__, disable=True)
    return nncf
