"""The head alone: what a fine-tuned network predicted before anything was thawed, kept until the run's end and after.

The file outlives a run that is stopped and resumed, as checkpoints hold no predictions. It is written as a checkpoint
is: whole or not at all, with a checksum and the run's id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from thaw.common.errors import UserError
from thaw.training.checkpoint import (
    Checkpoint,
    CorruptCheckpoint,
    NamedArrays,
    TrainingProgress,
    read_checkpoint,
    write_checkpoint,
)
from thaw.training.stage_result import StageResult

if TYPE_CHECKING:  # the file is read without TensorFlow
    from thaw.training.stage_plans import PlannedStage

FILE_NAME = "head_alone.npz"
MAX_SAMPLE = 600  # test images whose features are kept: enough for a map, and t-SNE takes 3 ms an image
_PROBABILITIES, _WEIGHTS = "probabilities/", "weights/"


@dataclass(frozen=True, eq=False)
class SampledFeatures:
    """Pooled features, float32 (n, D), of some test images; rows: their positions in the test split, int64 (n,)."""

    rows: npt.NDArray[np.int64]
    features: npt.NDArray[np.float32]


def head_stage(planned: Sequence[PlannedStage]) -> int | None:
    """Return the number of the stage that ends with the head alone: the last one before a part of the backbone thaws.

    None where nothing was frozen as a whole at first, or nothing is thawed later.
    """
    thawing = next((number for number, stage in enumerate(planned) if not stage.plan.all_frozen), None)
    return thawing - 1 if thawing else None


def sample_rows(labels: npt.NDArray[np.int32], limit: int = MAX_SAMPLE) -> npt.NDArray[np.int64]:
    """Return positions of at most `limit` images, int64 (n,), of every class as many as its share, always the same.

    They are ordered so that the first images of the sample are stratified too. The first image of every class comes
    before the second of any.
    """
    rng, place = np.random.default_rng(0), np.empty(len(labels))
    for label in np.unique(labels):
        of_class = rng.permutation(np.flatnonzero(labels == label))
        place[of_class] = np.arange(len(of_class)) / len(of_class)
    return np.argsort(place, kind="stable")[:limit].astype(np.int64)


def save_head_alone(
    folder: Path,
    run_id: str,
    data_sha256: str,
    result: StageResult,
    rows: npt.NDArray[np.int64],
    weights: Sequence[npt.NDArray[Any]] = (),
) -> None:
    """Write the probabilities of a stage that has ended, and the features of the test images at `rows` if it has them.

    weights: of the head's variables, where they may be needed again.

    Raises:
        UserError: The disk is full or read-only.
    """
    arrays: NamedArrays = {_PROBABILITIES + split: values for split, values in result.probabilities.items()}
    arrays |= {f"{_WEIGHTS}{i}": values for i, values in enumerate(weights)}
    if result.sampled_features is not None:
        limits = np.finfo(np.float16)
        arrays["rows"] = rows
        arrays["features"] = np.clip(result.sampled_features, limits.min, limits.max).astype(np.float16)
    progress = TrainingProgress(result.stage.number + 1, 0, 0)
    try:
        write_checkpoint(folder / FILE_NAME, Checkpoint(progress, {"data_sha256": data_sha256}, arrays), run_id)
    except OSError as error:
        raise UserError(
            f"{folder / FILE_NAME} cannot be written: {error.strerror or error}. The last checkpoint is sound: make "
            "room, then resume from there"
        ) from error


def load_head_alone(
    folder: Path, run_id: str, data_sha256: str | None = None
) -> dict[str, npt.NDArray[np.float32]] | None:
    """Return the probabilities of the head alone by split, float32 (N, C) in the split's order.

    None where the file is absent, damaged, of another run, or of other data than `data_sha256` where that is given.
    """
    arrays = _load(folder, run_id, data_sha256)
    if arrays is None:
        return None
    named = {name: values for name, values in arrays.items() if name.startswith(_PROBABILITIES)}
    return {name.removeprefix(_PROBABILITIES): values for name, values in named.items()}


def load_head_weights(folder: Path, run_id: str, data_sha256: str) -> list[npt.NDArray[Any]] | None:
    """Return the values of the head's variables; None as for `load_head_alone`, or without any."""
    arrays = _load(folder, run_id, data_sha256) or {}
    found = [arrays[f"{_WEIGHTS}{i}"] for i in range(sum(name.startswith(_WEIGHTS) for name in arrays))]
    return found or None


def load_head_features(folder: Path, run_id: str, data_sha256: str | None = None) -> SampledFeatures | None:
    """Return the pretrained features of some test images, to 16 bits; None as for `load_head_alone`, or without any."""
    arrays = _load(folder, run_id, data_sha256)
    if arrays is None or "features" not in arrays:
        return None
    return SampledFeatures(arrays["rows"], arrays["features"].astype(np.float32))


def _load(folder: Path, run_id: str, data_sha256: str | None) -> NamedArrays | None:
    try:
        saved = read_checkpoint(folder / FILE_NAME, run_id)
    except (OSError, CorruptCheckpoint, UserError):
        return None
    return saved.arrays if data_sha256 in (None, saved.state.get("data_sha256")) else None
