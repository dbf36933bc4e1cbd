"""Random changes to a stage's training batches where they enter what trains: moved, cropped and mixed activations.

Frozen layers run once an image then, and not once an image and epoch, as they must when images are changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from thaw.config.schema import AugmentConfig
from thaw.data.augment import CROP_ASPECT, ERASED, random_box, reflected, slices_of
from thaw.data.seeds import rng_for

if TYPE_CHECKING:  # TensorFlow is not needed here
    from thaw.frozen.batch_runner import BatchSequence

Arrays = tuple[npt.NDArray[Any], ...]
Box = tuple[float, float, float, float]  # as `random_box` returns


class ChangedBatches:
    """Batches of images or activations, mixed, and with `augment.place=activations` changed as images would be.

    A batch depends on nothing but seed, stage, epoch and its number, so a resumed stage has the same. Pooled features,
    which have no positions, get MixUp and noise only.
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
        augment = self.augment
        if augment.place == "activations":
            arrays = moved(arrays, augment.flip, augment.shift, rng)
            arrays = self._cropped_and_erased(arrays, rng)
            if augment.noise:
                arrays = tuple(noisy(array, augment.noise, rng) for array in arrays)
        mixing = self._mixing(arrays[0].ndim == 4, rng)
        if mixing is mix:
            *mixed, targets = mix([*arrays, targets], augment.mixup, rng)
            arrays = tuple(mixed)
        elif mixing is cut_and_mix:
            arrays, targets = cut_and_mix(arrays, targets, augment.cutmix, rng)
        return (arrays if isinstance(inputs, tuple) else arrays[0]), targets

    def _cropped_and_erased(self, arrays: Arrays, rng: np.random.Generator) -> Arrays:
        """Return maps of which a crop is enlarged, and then perhaps a rectangle set to zero, image by image."""
        images, augment = len(arrays[0]), self.augment
        if augment.crop < 1:
            crops = [random_box(rng, augment.crop, 1.0, CROP_ASPECT) for _ in range(images)]
            arrays = tuple(_changed(array, enlarged, crops) for array in arrays)
        if augment.erase > 0:
            erased = rng.random(images) < augment.erase
            boxes = [random_box(rng, *ERASED) if chosen else None for chosen in erased]
            arrays = tuple(_changed(array, _without, boxes) for array in arrays)
        return arrays

    def _mixing(self, has_positions: bool, rng: np.random.Generator) -> Callable[..., Any] | None:
        """Return `mix` or `cut_and_mix`; of both, one by chance."""
        cuts = self.augment.cutmix > 0 and has_positions
        if self.augment.mixup and cuts:
            return mix if rng.random() < 0.5 else cut_and_mix
        return mix if self.augment.mixup else cut_and_mix if cuts else None


def noisy(array: npt.NDArray[Any], share: float, rng: np.random.Generator) -> npt.NDArray[Any]:
    """Return activations (B, ..., C) with noise of a share of each channel's deviation in the batch."""
    deviation = array.astype(np.float32).std(axis=tuple(range(array.ndim - 1)))
    noise = rng.standard_normal(array.shape, np.float32) * (np.float32(share) * deviation)
    return (array + noise).astype(array.dtype)


def enlarged(image: npt.NDArray[Any], box: Box) -> npt.NDArray[Any]:
    """Return a map (H, W, C) of the same shape that shows the part of it in a box, by bilinear interpolation."""
    top, left, tall, wide = box
    rows = _between(image.shape[0], top, tall)
    columns = _between(image.shape[1], left, wide)
    of_rows = image[rows.low] * (1 - rows.share)[:, None, None] + image[rows.high] * rows.share[:, None, None]
    below, above = of_rows[:, columns.low], of_rows[:, columns.high]
    return (below * (1 - columns.share)[:, None] + above * columns.share[:, None]).astype(image.dtype)


class _Between(NamedTuple):
    """Positions between two others of an axis, (n,): the lower one, the higher one, and how far it is to it."""

    low: npt.NDArray[np.int64]
    high: npt.NDArray[np.int64]
    share: npt.NDArray[np.float32]


def _between(n: int, start: float, length: float) -> _Between:
    """Return where the centres of n positions lie that span a share of an axis with n positions."""
    places = np.clip((start + (np.arange(n) + 0.5) / n * length) * n - 0.5, 0, n - 1)
    low = places.astype(np.int64)
    return _Between(low, np.minimum(low + 1, n - 1), (places - low).astype(np.float32))


def _without(image: npt.NDArray[Any], box: Box | None) -> npt.NDArray[Any]:
    """Return a map with a box of it set to zero: what a channel is where nothing excites it."""
    if box is None:
        return image
    changed = image.copy()
    changed[slices_of(box, *image.shape[:2])] = 0
    return changed


def _changed(
    array: npt.NDArray[Any], change: Callable[[npt.NDArray[Any], Any], npt.NDArray[Any]], boxes: Sequence[Box | None]
) -> npt.NDArray[Any]:
    """Return maps (B, H, W, C), each changed with its box; arrays of another rank stay as they are."""
    if array.ndim != 4:
        return array
    return np.stack([change(image, box) for image, box in zip(array, boxes, strict=True)])


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


def cut_and_mix(
    arrays: Arrays, targets: npt.NDArray[np.float32], alpha: float, rng: np.random.Generator
) -> tuple[Arrays, npt.NDArray[np.float32]]:
    """Return CutMix of maps (B, H, W, C) and targets (B, C): a rectangle of each image is another one's of the batch.

    One rectangle for the batch, of at most half the area, so that a batch keeps its order (arXiv 1905.04899). The
    targets have the shares of the areas in the first array, to whole positions.
    """
    drawn = rng.beta(alpha, alpha)
    area = min(drawn, 1 - drawn)
    box, other = random_box(rng, area, area, 1.0), rng.permutation(len(targets))
    cut = []
    for array in arrays:
        if array.ndim == 4:
            rows, columns = slices_of(box, *array.shape[1:3])
            array = array.copy()
            array[:, rows, columns] = array[other][:, rows, columns]
        cut.append(array)
    rows, columns = slices_of(box, *arrays[0].shape[1:3])
    share = np.float32((rows.stop - rows.start) * (columns.stop - columns.start) / np.prod(arrays[0].shape[1:3]))
    return tuple(cut), (np.float32(1) - share) * targets + share * targets[other]
