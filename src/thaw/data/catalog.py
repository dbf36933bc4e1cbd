"""The catalog that a source returns: every image's name, path or pixels, label, and assigned split if it has one."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

IntArray: TypeAlias = npt.NDArray[np.int64]

UNASSIGNED, TRAIN, VAL, TEST = -1, 0, 1, 2
"""Values of `Catalog.assigned_splits`; UNASSIGNED: the source does not say which split the image belongs to."""
SPLIT_NAMES = ("train", "val", "test")  # by the numbers TRAIN, VAL, TEST


@dataclass(frozen=True, eq=False)
class Catalog:
    """All images of a dataset, N of them, sorted by the source; an image's index here is its identity in a run.

    Exactly one of `paths` and `arrays` is set. Names never hold a machine's folders, so that a manifest or a hash
    made from them is the same wherever the data lies.
    """

    names: tuple[str, ...]  # "train/cat/7.jpg" relative to the dataset's folder, or "digits/0012"; unique
    paths: tuple[str, ...] | None  # absolute
    arrays: npt.NDArray[np.uint8] | None  # uint8 (N, h, w, 3), RGB, 0-255
    labels: npt.NDArray[np.int32]  # int32 (N,), index into class_names
    class_names: tuple[str, ...]
    assigned_splits: npt.NDArray[np.int8]  # int8 (N,): UNASSIGNED, TRAIN, VAL or TEST
    groups: tuple[str, ...] | None = None  # images of one group stay in one split; empty: of no group
    ignored: Mapping[str, int] = field(default_factory=dict)  # number of ignored files by kind: {".DS_Store": 3, ...}
    remarks: tuple[str, ...] = ()  # on how the folders were interpreted, where that is not plain

    def __post_init__(self) -> None:
        if (self.paths is None) == (self.arrays is None):
            raise ValueError("a catalog holds either paths or arrays")
        images = len(self.arrays) if self.arrays is not None else len(self.paths or ())
        groups = images if self.groups is None else len(self.groups)
        if not len(self.names) == images == len(self.labels) == len(self.assigned_splits) == groups:
            raise ValueError("names, images, labels, assigned splits and groups differ in length")

    def __len__(self) -> int:
        return len(self.names)

    def max_usable_images(self, limit_per_class: int | None) -> int:
        """Return how many images a run uses at most: the limit for each class in each of three splits."""
        return len(self) if limit_per_class is None else min(len(self), 3 * limit_per_class * len(self.class_names))

    def subset(self, indices: IntArray) -> "Catalog":
        """Return the catalog of the images at `indices`, ascending; classes stay as they are."""
        if len(indices) == len(self):
            return self
        rows = indices.tolist()
        return replace(
            self,
            names=tuple(self.names[i] for i in rows),
            paths=None if self.paths is None else tuple(self.paths[i] for i in rows),
            arrays=None if self.arrays is None else self.arrays[indices],
            labels=self.labels[indices],
            assigned_splits=self.assigned_splits[indices],
            groups=None if self.groups is None else tuple(self.groups[i] for i in rows),
        )
