"""The data set that the stages train on: images, splits and augmentation. No TensorFlow."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thaw.common.console import printable
from thaw.config.schema import AugmentConfig, TrainConfig
from thaw.data.class_balance import class_weights
from thaw.data.image_batches import AugmentedView, ImageBatches
from thaw.data.pixels import Pixels
from thaw.data.splits import Splits

IMBALANCE_RATIO = 1.5  # images of the largest class to images of the smallest, from which a line reports it


@dataclass(frozen=True)
class Dataset:
    """Images, their splits, and the augmentation of training images with its seed."""

    pixels: Pixels
    splits: Splits
    augment: AugmentConfig
    seed: int

    def image_batches(
        self, split: str, batch_size: int, stage: int = 0, *, training: bool = False, sampling: str = "none"
    ) -> ImageBatches:
        """Return a split's batches; for training shuffled, and augmented and balanced (`sampling`) as configured."""
        catalog = self.pixels.catalog
        return ImageBatches(
            self.pixels,
            catalog.labels,
            len(catalog.class_names),
            self.splits.by_name()[split],
            batch_size=batch_size,
            shuffle=training,
            balanced=training and sampling == "balanced",
            augmentation=self.augment if training and self.augmented else None,
            seed=self.seed,
            stage=stage,
        )

    def views(self, split: str, count: int) -> list[AugmentedView | None]:
        """Return `count` fixed views of a split's images, or one None, which leaves them unchanged.

        Only training images are augmented; with `count` 0 they have no fixed views, but are augmented anew each epoch.
        """
        if split != "train" or not self.augmented:
            return [None]
        return [AugmentedView(self.augment, self.seed, i) for i in range(count)]

    @property
    def augmented(self) -> bool:
        """Whether training images are augmented."""
        return self.augment.active

    def class_weight(self, choice: str) -> dict[int, float] | None:
        """Return the weight by class for "balanced", None for "none"."""
        return None if choice == "none" else class_weights(self.class_counts())

    def class_counts(self) -> npt.NDArray[np.int64]:
        """Return the number of training images of each class, int64 (C,)."""
        return np.bincount(self.labels("train"), minlength=len(self.class_names))

    def describe_imbalance(self, options: TrainConfig) -> str:
        """Return the line on unequal classes in training and the remedy; empty when they are nearly equal."""
        counts = self.class_counts()
        smallest, largest = int(counts.argmin()), int(counts.argmax())
        ratio = counts[largest] / counts[smallest]
        if ratio < IMBALANCE_RATIO:
            return ""
        used = [f"train.{key}=balanced" for key in ("class_weight", "sampling") if getattr(options, key) == "balanced"]
        remedy = f"made up for by {used[0]}" if used else "train.class_weight=balanced or train.sampling=balanced helps"
        few, many = (f"{counts[i]:,} ({printable(self.class_names[i])})" for i in (smallest, largest))
        return f"classes are unequal: {few} to {many} training images, {ratio:.1f} times as many · {remedy}"

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names by label, in the order of the network's outputs."""
        return self.pixels.catalog.class_names

    def labels(self, split: str) -> npt.NDArray[np.int32]:
        """Return the labels of a split, int32 (n,), in the order of its unshuffled batches."""
        return self.pixels.catalog.labels[self.splits.by_name()[split]]

    def image_names(self, split: str) -> list[str]:
        """Return the names of a split's images, in the same order."""
        return [self.pixels.catalog.names[i] for i in self.splits.by_name()[split]]
