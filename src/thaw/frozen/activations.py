"""Activations at a freeze plan's cut, computed once and kept in files while a stage trains on them."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from thaw.data.pipeline import Batches
from thaw.errors import UserError
from thaw.frozen.forward import forward


@dataclass(frozen=True, eq=False)
class Activations:
    """The cut tensors of some images: one array (N, ...) float32 a tensor, on disk; `indices` int64 (N,) ascending."""

    indices: npt.NDArray[np.int64]
    tensors: tuple[npt.NDArray[np.float32], ...]
    files: tuple[Path, ...]

    @property
    def bytes(self) -> int:
        return sum(tensor.nbytes for tensor in self.tensors)

    def take(self, rows: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.float32], ...]:
        """Return the cut tensors of the images with these catalog indices."""
        places = np.searchsorted(self.indices, rows)
        return tuple(np.asarray(tensor[places]) for tensor in self.tensors)


def size(images: int, shapes: Sequence[tuple[int, ...]]) -> int:
    """Bytes that the activations of `images` images take."""
    return images * sum(4 * int(np.prod(shape)) for shape in shapes)


def _check_room(folder: Path, needed: int) -> None:
    """Ask first: a memory map on a disk that fills ends the process without a word (SIGBUS)."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"activations take {needed / 1e9:.2f} GB, and {folder} has {free / 1e9:.2f} GB free. Set cache.dir to a "
            "folder with room, or cache.max_gb=0 to compute them every epoch"
        )


def remove(kept: Sequence[Activations]) -> None:
    """Delete the files of activations, and their folder when nothing else is in it."""
    for file in (file for entry in kept for file in entry.files):
        file.unlink(missing_ok=True)
        if not any(file.parent.iterdir()):
            file.parent.rmdir()


def extract(frozen: Any, batches: Batches, folder: Path, name: str, shapes: Sequence[tuple[int, ...]]) -> Activations:
    """Run the frozen part once over unshuffled, unchanged images; keep its outputs as .npy files in `folder`.

    Raises UserError when the disk does not take them.
    """
    count = len(batches.indices)
    try:
        _check_room(folder, size(count, shapes))
        files = tuple(folder / f"{name}-{i}.npy" for i in range(len(shapes)))
        tensors = tuple(
            np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=(count, *shape))
            for file, shape in zip(files, shapes, strict=True)
        )
    except OSError as error:
        raise UserError(
            f"activations cannot be written to {folder}: {error.strerror}. Set cache.dir to a folder with room, "
            "or cache.max_gb=0 to compute them every epoch"
        ) from error
    kept = Activations(np.asarray(batches.indices), tensors, files)
    start = 0
    try:
        for outputs in forward(frozen, batches, f"frozen activations, {name}", count):
            for tensor, output in zip(tensors, outputs, strict=True):
                tensor[start : start + len(output)] = output
            start += len(outputs[0])
    except BaseException:  # Ctrl-C too: half-written gigabytes are of no use to anybody
        remove([kept])
        raise
    return kept


class ActivationBatches:
    """The batches of `images`, with activations in place of the pixels: same rows, same order, same targets."""

    def __init__(self, images: Batches, activations: Activations) -> None:
        self.images, self.activations = images, activations

    def __len__(self) -> int:
        return len(self.images)

    def rows(self, epoch: int, i: int) -> npt.NDArray[np.int64]:
        return self.images.rows(epoch, i)

    def batch(self, epoch: int, i: int) -> tuple[tuple[npt.NDArray[np.float32], ...], npt.NDArray[np.float32]]:
        """Return the cut tensors, (B, ...) each, and one-hot targets float32 (B, C)."""
        rows = self.rows(epoch, i)
        return self.activations.take(rows), self.images.targets(rows)
