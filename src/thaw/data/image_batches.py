"""Batches of a split's images, each computed independently of all others, and fixed augmented views."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thaw.config.schema import AugmentConfig
from thaw.data.augment import augment_image
from thaw.data.catalog import IntArray
from thaw.data.class_balance import prior_occurrences, sample_balanced
from thaw.data.pixel_stores import Images
from thaw.data.pixels import Pixels
from thaw.data.seeds import digest_counters, rng_for


class ImageBatches:
    """The images at `indices` in batches of `batch_size`; the last batch holds the rest.

    A batch depends on nothing but the arguments: batch(7, 3) is the same whether or not others were read before it, so
    a resumed run sees what it would have seen without the interruption.

    Args:
        labels: int32 (N,), of the whole catalog.
        indices: int64 (n,), into the catalog.
        balanced: Draw equally many images of each class, n in all, in any order.
        augmentation: Of training images; None changes nothing.
        stage: The stage's number; random numbers depend on it besides seed and epoch.
    """

    def __init__(
        self,
        pixels: Pixels,
        labels: npt.NDArray[np.int32],
        num_classes: int,
        indices: IntArray,
        *,
        batch_size: int,
        shuffle: bool = False,
        balanced: bool = False,
        augmentation: AugmentConfig | None = None,
        seed: int = 0,
        stage: int = 0,
    ) -> None:
        self.pixels, self.labels, self.num_classes, self.indices = pixels, labels, num_classes, indices
        self.batch_size, self.shuffle, self.balanced, self.augmentation = batch_size, shuffle, balanced, augmentation
        self.seed, self.stage = seed, stage
        self._last_order: tuple[int, IntArray, IntArray] | None = None  # epoch, and what `_order` returned for it

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return -(-len(self.indices) // self.batch_size)

    def rows(self, epoch: int, i: int) -> IntArray:
        """Return the catalog indices of batch i, int64 (B,); raise IndexError after the last batch."""
        if not 0 <= i < len(self):
            raise IndexError(f"batch {i} of {len(self)}")
        return self._order(epoch)[0][i * self.batch_size : (i + 1) * self.batch_size]

    def one_hot_targets(self, rows: IntArray) -> npt.NDArray[np.float32]:
        """Return one-hot targets of images by their catalog index, float32 (B, C)."""
        return np.eye(self.num_classes, dtype=np.float32)[self.labels[rows]]

    def batch(self, epoch: int, i: int) -> tuple[Images, npt.NDArray[np.float32]]:
        """Return batch i of an epoch: images uint8 (B, S, S, 3), RGB, 0-255, and one-hot targets float32 (B, C)."""
        rows = self.rows(epoch, i)
        images = self.pixels.take(rows)
        if self.augmentation is not None:
            digests = self.pixels.digests(rows)
            repeats = self._order(epoch)[1][i * self.batch_size : (i + 1) * self.batch_size].tolist()
            _augment(images, digests, self.augmentation, self.seed, "augment", self.stage, epoch, repeats=repeats)
        return images, self.one_hot_targets(rows)

    def _order(self, epoch: int) -> tuple[IntArray, IntArray]:
        """Return the catalog indices of an epoch in their order, and how often each occurred before in the epoch."""
        last = self._last_order  # read once: another thread may be at another epoch
        if last is None or last[0] != epoch:
            order = self._draw_order(epoch)
            last = self._last_order = epoch, order, prior_occurrences(order)
        return last[1:]

    def _draw_order(self, epoch: int) -> IntArray:
        if self.balanced:
            rng = rng_for(self.seed, "sample", self.stage, epoch)
            return sample_balanced(self.indices, self.labels[self.indices], rng)
        if self.shuffle:
            return rng_for(self.seed, "shuffle", self.stage, epoch).permutation(self.indices)
        return self.indices


def augmented_view(pixels: Pixels, indices: IntArray, config: AugmentConfig, seed: int, number: int) -> Images:
    """Return augmented view `number` (from 0) of images, uint8 (B, S, S, 3), RGB, 0-255.

    A view depends on an image's content and size, the config, the seed and the number only: features of one view are
    valid in any other run, stage and epoch, whatever other images the catalog holds.
    """
    images = pixels.take(indices)
    _augment(images, pixels.digests(indices), config, seed, "view", number)
    return images


def sample_view(pixels: Pixels, indices: IntArray, view: "AugmentedView") -> Images:
    """Return what `augmented_view` does without decoding any other image: for a few of many."""
    images = pixels.sample(indices)
    _augment(images, pixels.digests(indices), view.augment, view.seed, "view", view.number)
    return images


def _augment(
    images: Images,
    digests: list[str],
    config: AugmentConfig,
    seed: int,
    stream: str,
    *counters: int,
    repeats: Sequence[int] | None = None,
) -> None:
    """Augment every image in place, by random numbers of its own; repeats: how often it occurred before in the epoch.

    They depend on its content and not on its index, so that adding photos does not change the others' augmentation.
    """
    for i, digest in enumerate(digests):
        repeat = () if repeats is None or not repeats[i] else (repeats[i],)
        rng = rng_for(seed, stream, *counters, *digest_counters(digest), *repeat)
        images[i] = augment_image(images[i], config, rng)


@dataclass(frozen=True)
class AugmentedView:
    """Augmented view `number` (from 0) of every image, the same in every epoch."""

    augment: AugmentConfig
    seed: int
    number: int


def view_reader(pixels: Pixels, view: AugmentedView | None) -> Callable[[IntArray], Images]:
    """Return the function from catalog indices to images, uint8 (B, S, S, 3), in this view or unchanged."""
    if view is None:
        return pixels.take
    return lambda indices: augmented_view(pixels, indices, view.augment, view.seed, view.number)
