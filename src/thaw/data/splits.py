"""Training, validation and test images: what the source gives is kept, what is missing is split off."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thaw.data.catalog import TEST, TRAIN, VAL
from thaw.data.seeds import rng_for
from thaw.errors import UserError, listed

NAMES = ("train", "val", "test")  # by their numbers TRAIN, VAL, TEST


@dataclass(frozen=True, eq=False)
class Splits:
    """Indices into the catalog, int64 (n,) each: ascending, and no index in two of them."""

    train: npt.NDArray[np.int64]
    val: npt.NDArray[np.int64]
    test: npt.NDArray[np.int64]

    def named(self) -> dict[str, npt.NDArray[np.int64]]:
        """Return the three by name, in the order train, val, test."""
        return {"train": self.train, "val": self.val, "test": self.test}

    def all(self) -> npt.NDArray[np.int64]:
        """Return the indices of every image that is used, ascending."""
        return np.sort(np.concatenate([self.train, self.val, self.test]))


def split(
    labels: npt.NDArray[np.int32],
    given: npt.NDArray[np.int8],
    class_names: tuple[str, ...],
    *,
    val_fraction: float,
    test_fraction: float,
    limit_per_class: int | None,
    seed: int,
) -> Splits:
    """Split off what `given` lacks, class by class, so that every class has at least one image in every split.

    Of the images that are not given to validation or test, each missing split gets its fraction: the test fraction of
    all of them, the validation fraction of all of them, and training the rest. `limit_per_class` then keeps at most so
    many images of a class in each split; a smaller limit's images are among a larger one's. Every class draws from its
    own random numbers, so images added to one class leave the others' splits alone. (scikit-learn's stratified split
    is not used: it can leave a rare class out of a split.)
    Raises UserError naming the classes that are too small, and fractions that leave nothing for training.
    """
    missing = {number: f for number, f in ((VAL, val_fraction), (TEST, test_fraction)) if not np.any(given == number)}
    if sum(missing.values()) >= 1:
        raise UserError(
            f"dataset.val_fraction={val_fraction} and dataset.test_fraction={test_fraction} leave nothing for "
            "training: together they must stay below 1"
        )
    _refuse_small(labels, given, class_names, missing)
    chosen: list[list[npt.NDArray[np.int64]]] = [[], [], []]
    for label in range(len(class_names)):
        for number, indices in _split_class(np.flatnonzero(labels == label), given, missing, seed, label).items():
            if limit_per_class is not None:
                indices = rng_for(seed, "limit", number, label).permutation(indices)[:limit_per_class]
            chosen[number].append(indices)
    return Splits(*(np.sort(np.concatenate(parts)).astype(np.int64) for parts in chosen))


def _split_class(
    indices: npt.NDArray[np.int64], given: npt.NDArray[np.int8], missing: dict[int, float], seed: int, label: int
) -> dict[int, npt.NDArray[np.int64]]:
    """Return one class's indices by split number."""
    splits = {number: indices[given[indices] == number] for number in (VAL, TEST)}
    pool = indices[given[indices] <= TRAIN]  # training images, and those the source leaves free
    counts = {number: max(1, round(fraction * len(pool))) for number, fraction in missing.items()}
    while sum(counts.values()) >= len(pool):  # rounding up in a class of a few images
        counts[max(counts, key=lambda number: counts[number])] -= 1
    shuffled = rng_for(seed, "split", label).permutation(pool)
    for number, count in sorted(counts.items(), reverse=True):
        splits[number], shuffled = shuffled[:count], shuffled[count:]
    splits[TRAIN] = shuffled
    return splits


def _refuse_small(
    labels: npt.NDArray[np.int32], given: npt.NDArray[np.int8], class_names: tuple[str, ...], missing: dict[int, float]
) -> None:
    filled = listed(NAMES[number] for number in (TRAIN, VAL, TEST) if number == TRAIN or number in missing)
    need = 1 + len(missing)
    said = []
    for label, name in enumerate(class_names):
        count = int(np.sum(given[labels == label] <= TRAIN))
        if count < need:
            said.append(f"class '{name}' has {count} images, but {need} splits ({filled}) need at least one each")
        for number in (VAL, TEST):
            if number not in missing and not np.any(given[labels == label] == number):
                said.append(f"class '{name}' has no images given for {NAMES[number]}")
    if said:
        more = [f"and {len(said) - 20} more"] if len(said) > 20 else []
        listing = "\n  ".join(["classes are too small to be split:", *said[:20], *more])
        raise UserError(f"{listing}\nAdd images, or take the class out of the data")
