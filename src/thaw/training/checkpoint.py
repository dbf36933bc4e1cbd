"""Checkpoints on disk: written whole or not at all, with a checksum, the newest few of a run. No TensorFlow."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from thaw.common.console import say
from thaw.common.errors import UserError
from thaw.common.files import open_atomic, remove_files

FORMAT = 1  # raise it when what is saved changes: then only the version that began a run resumes it
DIR_NAME = "checkpoints"

NamedArrays = dict[str, npt.NDArray[Any]]


class CorruptCheckpoint(Exception):
    """A checkpoint file that is damaged, or of another run."""


@dataclass(frozen=True, order=True)
class TrainingProgress:
    """How far a run has trained: finished stages, epochs of the next stage, steps of its next epoch."""

    stage: int
    epoch: int
    step: int

    @property
    def file_name(self) -> str:
        """Name of the checkpoint file that was written there."""
        return f"stage{self.stage}-epoch{self.epoch}-step{self.step}.npz"

    @classmethod
    def from_file_name(cls, name: str) -> "TrainingProgress | None":
        """Return the progress that `file_name` gives the name to; None for other files."""
        match = re.fullmatch(r"stage(\d+)-epoch(\d+)-step(\d+)\.npz", name)
        return cls(*map(int, match.groups())) if match else None


@dataclass(frozen=True)
class Checkpoint:
    """All that changes while a run trains. state: JSON-compatible; arrays: weights, optimizer moments, metric sums."""

    progress: TrainingProgress
    state: Mapping[str, Any]
    arrays: NamedArrays


def write_checkpoint(path: Path, checkpoint: Checkpoint, run_id: str) -> None:
    """Write an .npz file that numpy alone can open. Raises OSError."""
    place = astuple(checkpoint.progress)
    content = {"format": FORMAT, "run": run_id, "place": place, "state": checkpoint.state}
    text = json.dumps(content, sort_keys=True).encode()
    members: NamedArrays = {f"array/{name}": array for name, array in checkpoint.arrays.items()}
    members["head"] = np.frombuffer(text, np.uint8)
    members["sha256"] = np.frombuffer(_sha256(text, checkpoint.arrays), np.uint8)
    with open_atomic(path) as file:
        np.savez(file, allow_pickle=False, **members)


def read_checkpoint(path: Path, run_id: str) -> Checkpoint:
    """Read a checkpoint file.

    Raises:
        CorruptCheckpoint: The checksum does not fit, or the file is another run's.
        UserError: Another version of thaw wrote it.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            members = {name: file[name] for name in file.files}
        text, sha256 = members.pop("head").tobytes(), members.pop("sha256").tobytes()
        arrays = {name.removeprefix("array/"): array for name, array in members.items()}
        if sha256 != _sha256(text, arrays):
            raise CorruptCheckpoint("its checksum does not fit")
        content = json.loads(text)
    except (FileNotFoundError, PermissionError, CorruptCheckpoint):
        raise
    except Exception as error:  # damaged zips and headers raise whatever their bytes happen to ask for
        raise CorruptCheckpoint(str(error).splitlines()[0] if str(error) else type(error).__name__) from error
    if content["format"] != FORMAT:
        raise UserError(f"{path} was written by another version of thaw: resume it with that one, or train anew")
    if content["run"] != run_id:
        raise CorruptCheckpoint(f"it is of run {content['run']}")
    return Checkpoint(TrainingProgress(*content["place"]), content["state"], arrays)


def _sha256(text: bytes, arrays: NamedArrays) -> bytes:
    digest = hashlib.sha256(text)
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.digest()


class CheckpointDir:
    """The checkpoint files of one run, of which the newest `keep` stay."""

    def __init__(self, path: Path, keep: int, run_id: str) -> None:
        self.path, self.keep, self.run_id = path, keep, run_id

    def save(self, checkpoint: Checkpoint) -> Path:
        """Write a checkpoint, then remove the oldest. Raises UserError when the disk is full or read-only."""
        target = self.path / checkpoint.progress.file_name
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            write_checkpoint(target, checkpoint, self.run_id)
        except OSError as error:
            raise UserError(
                f"a checkpoint cannot be written to {self.path}: {error.strerror or error}. "
                "The one before it is sound: make room, then resume from there"
            ) from error
        remove_files(*self._files()[: -self.keep])
        return target

    def load_newest(self) -> Checkpoint | None:
        """Return the newest sound checkpoint, None without one; print the name of each corrupt one, and remove it."""
        remove_files(*self.path.glob("*.npz.tmp"))  # left by a kill in the middle of writing
        for path in reversed(self._files()):
            try:
                return read_checkpoint(path, self.run_id)
            except CorruptCheckpoint as error:
                say(f"checkpoint {path.name} cannot be used ({error}) and is left out")
                remove_files(path)
        return None

    def has_checkpoints(self) -> bool:
        """Whether there is a checkpoint file, sound or not."""
        return bool(self._files())

    def clear(self) -> None:
        """Remove all files, and the folder if nothing else is in it."""
        remove_files(*self._files())
        if self.path.is_dir() and not list(self.path.iterdir()):
            self.path.rmdir()

    def _files(self) -> list[Path]:
        """Return the checkpoint files, the one with the least progress first."""
        named = ((TrainingProgress.from_file_name(path.name), path) for path in self.path.glob("*.npz"))
        return [path for _, path in sorted((progress, path) for progress, path in named if progress)]
