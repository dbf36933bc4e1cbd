"""What rows of a partial file depend on: the files, how they are decoded, and what computes them."""

import hashlib
import os
from collections.abc import Sequence
from typing import Any

from thaw.common import environment
from thaw.data import dataset_cache, decode
from thaw.frozen.engine import EngineChoice
from thaw.results.predicted_files import ImageReader


def files_sha256(files: Sequence[str]) -> str:
    """Return a hash of the files' names, sizes and times of change."""
    digest = hashlib.sha256()
    for file in files:
        try:
            status = os.stat(file)  # noqa: PTH116 - a Path would cost more than the call
            known = f"{status.st_size} {status.st_mtime_ns}"
        except (OSError, ValueError):  # the latter: a NUL in a name
            known = "absent"
        digest.update(f"{known} {len(file)} {file}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def decoding_identity(reader: ImageReader) -> list[Any]:
    """Return what the pixels depend on besides the files."""
    inputs = [[wanted.size, wanted.bits, wanted.resize] for wanted in reader.inputs]
    return [decode.VERSION, inputs, dataset_cache.decoder_versions()]


def network_identity(model: Any) -> list[str]:
    """Return the hashes of a Keras model's weights and graph."""
    from thaw.models.graph_digest import graph_sha256
    from thaw.models.weights_hash import weights_sha256

    return [weights_sha256(model), graph_sha256(model)]


def engine_identity(choice: EngineChoice, boundary: int | None, quantized_sha256: str) -> list[Any]:
    """Return what rounding depends on. boundary: layers of the first part. quantized_sha256: of that part in int8."""
    return [
        choice.engine, choice.version, choice.frozen, choice.trained, choice.device, choice.tf32, boundary,
        quantized_sha256, environment.kernel_settings(choice.engine != "openvino"),
    ]  # fmt: skip
