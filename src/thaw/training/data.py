"""A run's images and splits, as the stages take them. No TensorFlow."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thaw.config.schema import AugmentConfig
from thaw.data.pipeline import Batches
from thaw.data.pixels import Pixels
from thaw.data.splits import Splits
from thaw.frozen.activations import View


@dataclass(frozen=True)
class Data:
    """What a stage trains on, and how: the images, their splits, the augmentation of training images."""

    pixels: Pixels
    splits: Splits
    augment: AugmentConfig
    seed: int

    def batches(self, split: str, size: int, stage: int = 0, *, training: bool = False) -> Batches:
        """Batches of a split; in training shuffled, and augmented if so configured."""
        catalog = self.pixels.catalog
        return Batches(
            self.pixels,
            catalog.labels,
            len(catalog.class_names),
            self.splits.named()[split],
            batch_size=size,
            shuffle=training,
            augmentation=self.augment if training and self.augmented else None,
            seed=self.seed,
            stage=stage,
        )

    def views(self, split: str, number: int) -> list[View | None]:
        """The fixed views of a split's images, as many as `number`; None is an image as it is.

        Only training images are augmented; with `number` 0 they have no fixed views, but are augmented anew in every
        epoch.
        """
        if split != "train" or not self.augmented:
            return [None]
        return [View(self.augment, self.seed, i) for i in range(number)]

    @property
    def augmented(self) -> bool:
        return self.augment.flip or self.augment.shift > 0 or self.augment.ops > 0

    def class_weight(self, choice: str) -> dict[int, float] | None:
        """Balanced: N / (C * count), scikit-learn's `class_weight="balanced"`."""
        if choice == "none":
            return None
        counts = np.bincount(
            self.pixels.catalog.labels[self.splits.train], minlength=len(self.pixels.catalog.class_names)
        )
        return {i: len(self.splits.train) / (len(counts) * int(count)) for i, count in enumerate(counts)}

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.pixels.catalog.class_names

    def labels(self, split: str) -> npt.NDArray[np.int32]:
        """The labels of a split, int32 (N,), in the order of its unshuffled batches."""
        return self.pixels.catalog.labels[self.splits.named()[split]]

    def names(self, split: str) -> list[str]:
        """The names of a split's images, in the same order."""
        return [self.pixels.catalog.names[i] for i in self.splits.named()[split]]
