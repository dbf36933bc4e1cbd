"""Random changes to a stage's training batches where they enter what trains: mirrored, shifted and mixed activations.

Frozen layers run once an image then, and not once an image and epoch, as they must when images are changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from thaw.config.schema import AugmentConfig
from thaw.data.augment import reflected
from thaw.data.seeds import rng_for

if TYPE_CHECKING:  # TensorFlow is not needed here
    from thaw.frozen.batch_runner import BatchSequence


class ChangedBatches:
    """Batches of images or activations with `augment.mixup`, and with flip and shift where they are on activations.

    A batch depends on nothing but seed, stage, epoch and its number, so a resumed stage has the same. Pooled features,
    which have no positions, are mixed only.
    """

    def __init__(self, batches: BatchSequence, augment: AugmentConfig, seed: int, stage: int) -> None:
        self.batches, self.augment, self.seed, self.stage = batches, augment, seed, stage

    def __len__(self) -> int:
        return len(self.batches)

    def rows(self, epoch: int, i: int) -> npt.NDArray[np.int64]:
        """Return the catalog indices of batch i, int64 (B,)."""
        return self.batches.rows(epoch, i)

    def batch(self, epoch: int, i: int) -> tuple[Any, npt.NDArray[np.float32]]:
        """Return the changed inputs of batch i, float32 if they are mixed, and its targets, float32 (B, C)."""
        inputs, targets = self.batches.batch(epoch, i)
        arrays = inputs if isinstance(inputs, tuple) else (inputs,)
        rng = rng_for(self.seed, "change", self.stage, epoch, i)
        if self.augment.place == "activations":
            arrays = moved(arrays, self.augment.flip, self.augment.shift, rng)
        if self.augment.mixup:
            *mixed, targets = mix([*arrays, targets], self.augment.mixup, rng)
            arrays = tuple(mixed)
        return (arrays if isinstance(inputs, tuple) else arrays[0]), targets


def moved(
    arrays: tuple[npt.NDArray[Any], ...], flip: bool, shift: float, rng: np.random.Generator
) -> tuple[npt.NDArray[Any], ...]:
    """Return maps (B, H, W, C) mirrored with probability 0.5 and moved by up to `shift` of their sides, image by image.

    All arrays of an image are moved alike, each by whole positions of its own; edges are reflected. Arrays of another
    rank stay as they are.
    """
    images = len(arrays[0])
    mirrored = rng.random(images) < 0.5 if flip else np.zeros(images, bool)
    shares = rng.uniform(-shift, shift, (images, 2))
    return tuple(_moved(array, mirrored, shares) if array.ndim == 4 else array for array in arrays)


def _moved(
    maps: npt.NDArray[Any], mirrored: npt.NDArray[np.bool_], shares: npt.NDArray[np.float64]
) -> npt.NDArray[Any]:
    height, width = maps.shape[1:3]
    changed = np.empty_like(maps)
    for i, (image, mirror, (down, right)) in enumerate(zip(maps, mirrored, shares, strict=True)):
        rows, columns = reflected(height, round(down * height)), reflected(width, round(right * width))
        changed[i] = image[rows[:, None], columns[::-1] if mirror else columns]
    return changed


def mix(arrays: list[npt.NDArray[Any]], alpha: float, rng: np.random.Generator) -> list[npt.NDArray[np.float32]]:
    """Return MixUp of arrays (B, ...): each image with another one of the batch, in one proportion for the batch.

    The larger share is each image's own, so that a batch keeps its order (arXiv 1710.09412, and 1806.05236 between
    activations).
    """
    drawn = rng.beta(alpha, alpha)
    share = np.float32(max(drawn, 1 - drawn))
    other = rng.permutation(len(arrays[0]))
    floats = [array.astype(np.float32) for array in arrays]
    return [share * array + (np.float32(1) - share) * array[other] for array in floats]
