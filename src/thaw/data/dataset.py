"""A run's images and splits, as the stages take them. No TensorFlow."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thaw.common.console import printable
from thaw.config.schema import AugmentConfig, TrainConfig
from thaw.data.pipeline import AugmentedView, ImageBatches
from thaw.data.pixels import Pixels
from thaw.data.splits import Splits

IMBALANCE_RATIO = 1.5  # the largest class has so many times the smallest one's images: worth a line


@dataclass(frozen=True)
class Dataset:
    """What a stage trains on, and how: the images, their splits, the augmentation of training images."""

    pixels: Pixels
    splits: Splits
    augment: AugmentConfig
    seed: int

    def image_batches(
        self, split: str, batch_size: int, stage: int = 0, *, training: bool = False, sampling: str = "none"
    ) -> ImageBatches:
        """Batches of a split; in training shuffled, and augmented and balanced (`sampling`) if so configured."""
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
        """The fixed views of a split's images, as many as `number`; None is an image as it is.

        Only training images are augmented; with `number` 0 they have no fixed views, but are augmented anew in every
        epoch.
        """
        if split != "train" or not self.augmented:
            return [None]
        return [AugmentedView(self.augment, self.seed, i) for i in range(count)]

    @property
    def augmented(self) -> bool:
        return self.augment.active

    def class_weight(self, choice: str) -> dict[int, float] | None:
        """Balanced: N / (C * count), scikit-learn's `class_weight="balanced"`."""
        if choice == "none":
            return None
        counts = self.class_counts()
        return {i: len(self.splits.train) / (len(counts) * int(count)) for i, count in enumerate(counts)}

    def class_counts(self) -> npt.NDArray[np.int64]:
        """Training images of each class, int64 (C,)."""
        return np.bincount(self.labels("train"), minlength=len(self.class_names))

    def describe_imbalance(self, options: TrainConfig) -> str:
        """Say how unequal the classes are in training, and what is done about it; empty when they are nearly equal."""
        counts = self.class_counts()
        few, many = int(counts.argmin()), int(counts.argmax())
        times = counts[many] / counts[few]
        if times < IMBALANCE_RATIO:
            return ""
        done = [f"train.{key}=balanced" for key in ("class_weight", "sampling") if getattr(options, key) == "balanced"]
        remedy = f"made up for by {done[0]}" if done else "train.class_weight=balanced or train.sampling=balanced helps"
        return (
            f"classes are unequal: {counts[few]:,} ({printable(self.class_names[few])}) to {counts[many]:,} "
            f"({printable(self.class_names[many])}) training images, {times:.1f} times as many · {remedy}"
        )

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.pixels.catalog.class_names

    def labels(self, split: str) -> npt.NDArray[np.int32]:
        """The labels of a split, int32 (N,), in the order of its unshuffled batches."""
        return self.pixels.catalog.labels[self.splits.by_name()[split]]

    def image_names(self, split: str) -> list[str]:
        """The names of a split's images, in the same order."""
        return [self.pixels.catalog.names[i] for i in self.splits.by_name()[split]]
