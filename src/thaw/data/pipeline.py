"""One split's images in batches; any batch of any epoch can be computed alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thaw.config.schema import AugmentConfig
from thaw.data.augment import augment_image
from thaw.data.balanced_sampling import prior_occurrences, sample_balanced
from thaw.data.pixel_stores import Images
from thaw.data.pixels import Pixels
from thaw.data.seeds import digest_counters, rng_for


class ImageBatches:
    """The images at `indices`, in batches of `batch_size`; the last one holds what is left.

    A pure function of the arguments: batch(7, 3) is the same whether or not any other was asked for before it, so a
    run that resumes sees what it would have seen. `stage` is the stage's number, part of the key of all that is random.
    `augmentation` None changes nothing and is what everything but training takes. `balanced`, for training too: an
    epoch has as many images as otherwise, and as many of each class; the order is shuffled then anyway.
    """

    def __init__(
        self,
        pixels: Pixels,
        labels: npt.NDArray[np.int32],
        classes: int,
        indices: npt.NDArray[np.int64],
        *,
        batch_size: int,
        shuffle: bool = False,
        balanced: bool = False,
        augmentation: AugmentConfig | None = None,
        seed: int = 0,
        stage: int = 0,
    ) -> None:
        self.pixels, self.labels, self.num_classes, self.indices = pixels, labels, classes, indices
        self.batch_size, self.shuffle, self.balanced, self.augmentation = batch_size, shuffle, balanced, augmentation
        self.seed, self.stage = seed, stage
        self._order: tuple[int, npt.NDArray[np.int64], npt.NDArray[np.int64]] | None = (
            None  # of the epoch asked for last
        )

    def __len__(self) -> int:
        """Batches an epoch."""
        return -(-len(self.indices) // self.batch_size)

    def rows(self, epoch: int, i: int) -> npt.NDArray[np.int64]:
        """Return the catalog indices of batch i, int64 (B,); raises IndexError beyond the last."""
        if not 0 <= i < len(self):
            raise IndexError(f"batch {i} of {len(self)}")
        return self._ordered(epoch)[0][i * self.batch_size : (i + 1) * self.batch_size]

    def one_hot_targets(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Return one-hot targets of images by their catalog index, float32 (B, C)."""
        return np.eye(self.num_classes, dtype=np.float32)[self.labels[rows]]

    def batch(self, epoch: int, i: int) -> tuple[Images, npt.NDArray[np.float32]]:
        """Return batch i of an epoch: images uint8 (B, S, S, 3), RGB, 0-255, and one-hot targets float32 (B, C)."""
        rows = self.rows(epoch, i)
        images = self.pixels.take(rows)
        if self.augmentation is not None:
            digests = self.pixels.digests(rows)
            again = self._ordered(epoch)[1][i * self.batch_size : (i + 1) * self.batch_size]
            _augment(images, digests, self.augmentation, self.seed, "augment", self.stage, epoch, again=again.tolist())
        return images, self.one_hot_targets(rows)

    def _ordered(self, epoch: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The catalog indices of an epoch in their order, and how often each came before in it."""
        kept = self._order  # read once: another thread may be at another epoch
        if kept is None or kept[0] != epoch:
            order = self._drawn(epoch)
            kept = self._order = epoch, order, prior_occurrences(order)
        return kept[1:]

    def _drawn(self, epoch: int) -> npt.NDArray[np.int64]:
        if self.balanced:
            rng = rng_for(self.seed, "sample", self.stage, epoch)
            return sample_balanced(self.indices, self.labels[self.indices], rng)
        if self.shuffle:
            return rng_for(self.seed, "shuffle", self.stage, epoch).permutation(self.indices)
        return self.indices


def augmented_view(
    pixels: Pixels, indices: npt.NDArray[np.int64], config: AugmentConfig, seed: int, number: int
) -> Images:
    """Return the augmented view number v (0, 1, ...) of images, uint8 (B, S, S, 3), RGB, 0-255.

    A function of an image's content, of v, the seed, the config and S: what was made of one view is right for any other
    run, stage and epoch, whatever other images the catalog holds.
    """
    images = pixels.take(indices)
    _augment(images, pixels.digests(indices), config, seed, "view", number)
    return images


def _augment(
    images: Images,
    digests: list[str],
    config: AugmentConfig,
    seed: int,
    use: str,
    *place: int,
    again: Sequence[int] | None = None,
) -> None:
    """Change every image in place, by its own random numbers; `again`: how often it was changed before in this epoch.

    They hang on its content and not on its index, so that adding photos does not change what is done to the others.
    """
    for i, digest in enumerate(digests):
        time = () if again is None or not again[i] else (again[i],)
        images[i] = augment_image(images[i], config, rng_for(seed, use, *place, *digest_counters(digest), *time))


@dataclass(frozen=True)
class AugmentedView:
    """Fixed augmented view `number` of every image."""

    augment: AugmentConfig
    seed: int
    number: int


def view_reader(
    pixels: Pixels, wanted: AugmentedView | None
) -> Callable[[npt.NDArray[np.int64]], npt.NDArray[np.uint8]]:
    """What reads images as they are, or this view of them: indices -> uint8 (B, S, S, 3)."""
    if wanted is None:
        return pixels.take
    return lambda indices: augmented_view(pixels, indices, wanted.augment, wanted.seed, wanted.number)
