"""One split's images in batches; any batch of any epoch can be computed alone."""

import numpy as np
import numpy.typing as npt
from PIL import Image

from thaw.config.schema import AugmentConfig
from thaw.data.augment import augment
from thaw.data.decode import resize
from thaw.data.pixels import Images, Pixels
from thaw.data.seeds import rng_for


class Batches:
    """The images at `indices`, in batches of `batch_size`; the last one holds what is left.

    A pure function of the arguments: batch(7, 3) is the same whether or not any other was asked for before it, so a
    run that resumes sees what it would have seen. `stage` is the stage's number, part of the key of all that is random.
    `augmentation` None changes nothing and is what everything but training takes.
    """

    def __init__(
        self,
        pixels: Pixels,
        labels: npt.NDArray[np.int32],
        classes: int,
        indices: npt.NDArray[np.int64],
        *,
        batch_size: int,
        image_size: int,
        shuffle: bool = False,
        augmentation: AugmentConfig | None = None,
        seed: int = 0,
        stage: int = 0,
    ) -> None:
        self.pixels, self.labels, self.classes, self.indices = pixels, labels, classes, indices
        self.batch_size, self.image_size = batch_size, image_size
        self.shuffle, self.augmentation = shuffle, augmentation
        self.seed, self.stage = seed, stage
        self._order: tuple[int, npt.NDArray[np.int64]] | None = None  # of the epoch asked for last

    def __len__(self) -> int:
        """Batches an epoch."""
        return -(-len(self.indices) // self.batch_size)

    def rows(self, epoch: int, i: int) -> npt.NDArray[np.int64]:
        """Return the catalog indices of batch i, int64 (B,); raises IndexError beyond the last."""
        if not 0 <= i < len(self):
            raise IndexError(f"batch {i} of {len(self)}")
        return self._ordered(epoch)[i * self.batch_size : (i + 1) * self.batch_size]

    def targets(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Return one-hot targets of images by their catalog index, float32 (B, C)."""
        return np.eye(self.classes, dtype=np.float32)[self.labels[rows]]

    def batch(self, epoch: int, i: int) -> tuple[Images, npt.NDArray[np.float32]]:
        """Return batch i of an epoch: images uint8 (B, S, S, 3), RGB, 0-255, and one-hot targets float32 (B, C)."""
        rows = self.rows(epoch, i)
        targets = self.targets(rows)
        stored = self.pixels.take(rows)
        if self.augmentation is None and self.pixels.size == (self.image_size, self.image_size):
            return stored, targets
        images = [self._finish(image, epoch, row) for image, row in zip(stored, rows.tolist(), strict=True)]
        return np.stack(images), targets

    def _ordered(self, epoch: int) -> npt.NDArray[np.int64]:
        if not self.shuffle:
            return self.indices
        kept = self._order  # read once: another thread may be at another epoch
        if kept is None or kept[0] != epoch:
            kept = epoch, rng_for(self.seed, "shuffle", self.stage, epoch).permutation(self.indices)
            self._order = kept
        return kept[1]

    def _finish(self, image: Images, epoch: int, row: int) -> Images:
        """Enlarge first, change then: shifts and rotations of a small image would show its pixels as steps."""
        size = (self.image_size, self.image_size)
        image = np.asarray(resize(Image.fromarray(image), size))
        if self.augmentation is None:
            return image
        return augment(image, self.augmentation, rng_for(self.seed, "augment", self.stage, epoch, row))
