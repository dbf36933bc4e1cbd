"""Training, validation and test images: what the source gives is kept, what is missing is split off."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thaw.common.console import printable
from thaw.common.errors import UserError, joined
from thaw.data.catalog import TEST, TRAIN, UNASSIGNED, VAL
from thaw.data.split_versions import LATEST_VERSION, SplitRule
from thaw.data.stratified import InfeasibleSplit, allocate_stratified

MAX_NAMED_CLASSES = 10  # classes that a line names
SPLIT_NAMES = ("train", "val", "test")  # by their numbers TRAIN, VAL, TEST

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Splits:
    """Indices into the catalog, int64 (n,) each: ascending, and no index in two of them."""

    train: Ints
    val: Ints
    test: Ints

    def by_name(self) -> dict[str, Ints]:
        """Return the three by name, in the order train, val, test."""
        return {"train": self.train, "val": self.val, "test": self.test}

    def all_indices(self) -> Ints:
        """Return the indices of every image that is used, ascending."""
        return np.sort(np.concatenate([self.train, self.val, self.test]))


def group_ids(sha256: Sequence[str], groups: Sequence[str] | None) -> Ints:
    """Number images so that those which belong on one side of every split have one number, int64 (N,), from 0.

    Images of equal content belong together, and those of one group of the source, and whatever these join. An image
    alone is a group of its own; so is one whose hash and group are both empty, which means that they are not known.
    """
    from scipy.sparse import coo_array  # half a second
    from scipy.sparse.csgraph import connected_components

    keys = [("sha256", digest) if digest else ("image", i) for i, digest in enumerate(sha256)]
    keys += [("group", group) if group else ("image", i) for i, group in enumerate(groups or ())]
    number = {key: place for place, key in enumerate(dict.fromkeys(keys), start=len(sha256))}
    rows = np.arange(len(keys)) % max(len(sha256), 1)  # every key is joined to its image
    columns = np.array([number[key] for key in keys], np.int64)
    size = len(sha256) + len(number)
    _, found = connected_components(coo_array((np.ones(len(keys)), (rows, columns)), (size, size)), directed=False)
    _, first, numbers = np.unique(found[: len(sha256)], return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[numbers].astype(np.int64)  # by each group's first image


def make_splits(
    labels: npt.NDArray[np.int32],
    assigned_splits: npt.NDArray[np.int8],
    class_names: tuple[str, ...],
    *,
    val_fraction: float,
    test_fraction: float,
    limit_per_class: int | None,
    seed: int,
    groups: Ints | None = None,
    folds: int | None = None,
    fold: int = 0,
    version: int = LATEST_VERSION,
) -> Splits:
    """Split off what `given` lacks, class by class, so that every class has at least one image in what is split off.

    Of the images that are not given to validation or test, each missing split gets its fraction: the test fraction of
    all of them, the validation fraction of all of them, and training the rest. Where the source gives some images to
    training and leaves others free, missing splits take their fractions of the free ones only. `limit_per_class` then
    keeps at most so many images of a class in each split; a smaller limit's images are among a larger one's. Every
    class draws from random numbers of its own name, so images that are added to one class, and classes that come, go
    or are renamed, leave the others' splits alone, save where groups tie classes together.
    (scikit-learn's stratified splits are not used: they can leave a rare class out of a split, StratifiedGroupKFold
    too, which knows no fractions, and one more image reshuffles all of them.)

    groups: int64 (N,), as `together` makes them; images of one group are never separated, save by `given`. Fractions
    are then kept as well as the groups allow. A free image whose group is given to a split joins it: to test before
    validation, and to validation before training.
    folds: instead of one validation set split the training images, those given to validation among them, into so many,
    and validate on number `fold` (from 0); a test set that is not given is split off before, the same for all folds.
    version: of the rule by which is drawn (`split_rule`); runs of an older version are split as they were.
    Raises UserError naming the classes that are too small, and fractions that leave nothing for training.
    """
    if folds is not None:
        assigned_splits = np.where(assigned_splits == VAL, TRAIN, assigned_splits).astype(np.int8)
    rule = SplitRule(version, seed, class_names)
    some_free = bool(np.any(assigned_splits == UNASSIGNED))
    if groups is not None:
        assigned_splits = _joined(assigned_splits, groups)
    missing = _missing(assigned_splits, {TEST: test_fraction, VAL: val_fraction}, folds)
    if missing and some_free and np.any(assigned_splits == TRAIN):
        assigned_splits, missing = _from_free(labels, assigned_splits, class_names, missing, groups, rule), {}
    pool = np.flatnonzero(assigned_splits <= TRAIN)  # training images, and those the source leaves free
    own = None if groups is None else groups[pool]
    _refuse_small(labels, assigned_splits, class_names, missing, own, folds)
    sizes = np.bincount(labels[pool], minlength=len(class_names))
    wanted = np.array(
        [_counts(int(n), missing, folds or 1, rule.fold_offset(label)) for label, n in enumerate(sizes)], np.int64
    )
    try:
        parts = [pool[part] for part in allocate_stratified(labels[pool], own, wanted, rule)]
    except InfeasibleSplit as stuck:
        raise UserError(_stuck(class_names[stuck.label], missing, folds)) from None
    sides = {number: np.flatnonzero(assigned_splits == number) for number in (VAL, TEST)}
    sides |= {number: parts.pop(0) for number in missing}
    if folds is not None:
        sides[VAL] = parts.pop(fold)
    sides[TRAIN] = np.concatenate(parts)
    return Splits(*(_limited(sides[number], labels, number, limit_per_class, rule) for number in (TRAIN, VAL, TEST)))


def describe_fold(folds: int | None, fold: int) -> str:
    """Say what part of the training images validates; empty without folds."""
    return "" if folds is None else f"fold {fold} of {folds} (counted from 0) validates, the others train"


def missing_class_warnings(splits: Splits, labels: npt.NDArray[np.int32], class_names: Sequence[str]) -> list[str]:
    """Return a line for each split that lacks classes: given ones may."""
    lines = []
    for split, indices in splits.by_name().items():
        counts = np.bincount(labels[indices], minlength=len(class_names))
        names = [printable(class_names[label]) for label in np.flatnonzero(counts == 0).tolist()]
        if names:
            more = ", ..." if len(names) > MAX_NAMED_CLASSES else ""
            lines.append(
                f"warning: {split} has no images of {len(names)} of {len(class_names)} classes: "
                f"{joined(names[:MAX_NAMED_CLASSES])}{more}. Its figures say nothing of them"
            )
    return lines


def _missing(given: npt.NDArray[np.int8], fractions: dict[int, float], folds: int | None) -> dict[int, float]:
    """Return the fractions of the splits that must be split off by them: those not given; validation not in folds."""
    missing = {number: f for number, f in fractions.items() if not np.any(given == number)}
    if folds is not None:
        missing.pop(VAL)
    if sum(missing.values()) >= 1:
        raise UserError(
            f"dataset.val_fraction={fractions[VAL]} and dataset.test_fraction={fractions[TEST]} leave nothing for "
            "training: together they must stay below 1"
        )
    return missing


def _joined(given: npt.NDArray[np.int8], groups: Ints) -> npt.NDArray[np.int8]:
    """Give free images to the split that holds others of their group."""
    joined = given.copy()
    for number in (TRAIN, VAL, TEST):  # test last: it must stay unseen
        joined[(given == UNASSIGNED) & np.isin(groups, groups[given == number])] = number
    return joined


def _from_free(
    labels: npt.NDArray[np.int32],
    given: npt.NDArray[np.int8],
    class_names: tuple[str, ...],
    missing: dict[int, float],
    groups: Ints | None,
    rule: SplitRule,
) -> npt.NDArray[np.int8]:
    """Return `given` with missing splits taken out of the free images, of which training gets the rest."""
    pool = np.flatnonzero(given == UNASSIGNED)
    own = None if groups is None else groups[pool]
    filled, said, wanted = joined(SPLIT_NAMES[number] for number in missing), [], []
    for label, name in enumerate(class_names):
        free = np.flatnonzero(labels[pool] == label)
        units = len(free) if own is None else len(np.unique(own[free]))
        keep = 0 if np.any(labels[given == TRAIN] == label) else 1  # a class needs an image to train
        if units < len(missing) + keep:
            are = f"{len(free)} images" + (f" in {units} groups that stay together" if units < len(free) else "")
            asked = joined((filled, "train")) if keep else filled
            said.append(f"class '{name}' leaves the split of {are} empty, but {asked} need at least one each")
        else:
            *counts, rest = _counts(len(free), missing, 1, 0, keep)
            if units == len(missing):  # a few groups: none is left for training
                counts[0], rest = counts[0] + rest, 0
            wanted.append([*counts, rest])
    if said:
        _refuse(
            "of some classes too few images are free for the splits that are not given:",
            said,
            "Leave the split of more of their images empty, or give the missing splits in the data",
        )
    try:
        parts = allocate_stratified(labels[pool], own, np.array(wanted, np.int64), rule)
    except InfeasibleSplit as stuck:
        raise UserError(_stuck(class_names[stuck.label], missing, None)) from None
    filled_in = given.copy()
    for number, part in zip((*missing, TRAIN), parts, strict=True):
        filled_in[pool[part]] = number
    return filled_in


def _counts(images: int, missing: dict[int, float], rest: int, first: int, keep: int | None = None) -> list[int]:
    """Divide a class: each missing split, then `rest` parts of the same size, 1 or the number of folds.

    first: modulo `rest`, the first of these parts that gets one of the images left over. keep: the images that these
    parts need together, one each by default.
    """
    counts = [max(1, round(fraction * images)) for fraction in missing.values()]
    while sum(counts) > images - (rest if keep is None else keep):  # rounding up in a class of a few images
        largest = max(reversed(range(len(counts))), key=lambda part: counts[part])
        counts[largest] -= 1
    each, over = divmod(images - sum(counts), rest)
    # The images left over go to other folds in each class, so that folds are of a size.
    return counts + [each + ((part - first) % rest < over) for part in range(rest)]


def _limited(indices: Ints, labels: npt.NDArray[np.int32], number: int, limit: int | None, rule: SplitRule) -> Ints:
    """Return at most `limit` of each class, ascending."""
    if limit is not None:
        kept = [
            rule.class_rng("limit", label, number).permutation(indices[labels[indices] == label])[:limit]
            for label in np.unique(labels[indices]).tolist()
        ]
        indices = np.concatenate(kept)
    return np.sort(indices).astype(np.int64)


def _refuse_small(
    labels: npt.NDArray[np.int32],
    given: npt.NDArray[np.int8],
    class_names: tuple[str, ...],
    missing: dict[int, float],
    groups: Ints | None,
    folds: int | None,
) -> None:
    """Refuse what training or a split that is made lacks; one that is given may lack classes, as published ones do.

    groups: of the images that are not given to validation or test, in their order.
    """
    need = (folds or 1) + len(missing)
    pool = labels[given <= TRAIN]
    said = []
    for label, name in enumerate(class_names):
        images = int(np.sum(pool == label))
        units = images if groups is None else len(np.unique(groups[pool == label]))
        if images == 0:
            said.append(f"class '{name}' has no images to train on")
        elif units < need:
            are = f"{images} images" + (f" in {units} groups that stay together" if units < images else "")
            said.append(f"class '{name}' has {are}, but {_parts(missing, folds)} need at least one each")
    if said:
        _refuse("classes are too small to be split:", said, "Add images, or take the class out of the data")


def _refuse(head: str, said: list[str], advice: str) -> None:
    more = [f"and {len(said) - 20} more"] if len(said) > 20 else []
    listing = "\n  ".join([head, *said[:20], *more])
    raise UserError(f"{listing}\n{advice}")


def _stuck(name: str, missing: dict[int, float], folds: int | None) -> str:
    return (
        f"no way was found to bring class '{name}' into each of {_parts(missing, folds)}: too many of its images are "
        "in groups with those of other classes. Add images of it, give the split in the data, or ask for fewer folds"
    )


def _parts(missing: dict[int, float], folds: int | None) -> str:
    """What images are divided into, in words: `3 splits (train, val, test)`."""
    if folds is not None:
        return f"{folds} folds" + (" and test" if missing else "")
    filled = [SPLIT_NAMES[number] for number in (TRAIN, VAL, TEST) if number == TRAIN or number in missing]
    return f"{len(filled)} splits ({joined(filled)})"
