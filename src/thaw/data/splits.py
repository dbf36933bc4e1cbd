"""Training, validation and test images: splits that the source assigns are kept, missing ones are split off."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thaw.common.console import printable
from thaw.common.errors import UserError, joined
from thaw.data.catalog import SPLIT_NAMES, TEST, TRAIN, UNASSIGNED, VAL, IntArray
from thaw.data.split_rule import LATEST_VERSION, SplitRule
from thaw.data.stratified import InfeasibleSplit, allocate_stratified, connected_groups

MAX_NAMED_CLASSES = 10  # classes that a warning names
MAX_LISTED_PROBLEMS = 20  # lines of an error


@dataclass(frozen=True, eq=False)
class Splits:
    """Indices into the catalog, int64 (n,) each, ascending; no index is in two splits."""

    train: IntArray
    val: IntArray
    test: IntArray

    def by_name(self) -> dict[str, IntArray]:
        """Return the indices by the name of the split, in the order train, val, test."""
        return {"train": self.train, "val": self.val, "test": self.test}

    def all_indices(self) -> IntArray:
        """Return the indices of all images in these splits, ascending."""
        return np.sort(np.concatenate([self.train, self.val, self.test]))


@dataclass(frozen=True)
class SplitOptions:
    """How missing splits are made: `dataset.*_fraction`, `dataset.limit_per_class`, `seed` and `split.*`."""

    val_fraction: float  # of the images that may be split off; not used where the source assigns a validation set
    test_fraction: float  # likewise, of the same images
    seed: int
    limit_per_class: int | None = None  # images of a class in each split; a smaller limit selects some of a larger one
    folds: int | None = None  # instead of validation, divide images for training (and those assigned to validation)
    fold: int = 0  # the fold that validates; test images are the same for all folds
    version: int = LATEST_VERSION  # of the rule for random numbers; runs of an older version are split as they were


def group_ids(sha256: Sequence[str], groups: Sequence[str] | None, pairs: Iterable[tuple[int, int]] = ()) -> IntArray:
    """Return one number for all images that must be in the same split, int64 (N,), from 0.

    Args:
        sha256: Of the content, N; images of equal content belong together. Empty where it is not known.
        groups: The source's groups, N; empty for images of no group.
        pairs: Further images that belong together, by index.
    """
    first: dict[tuple[str, str], int] = {}
    keys = [(row, "sha256", digest) for row, digest in enumerate(sha256) if digest]
    keys += [(row, "group", group) for row, group in enumerate(groups or ()) if group]
    return connected_groups(
        len(sha256), [*pairs, *((first.setdefault((kind, key), row), row) for row, kind, key in keys)]
    )


def make_splits(
    labels: npt.NDArray[np.int32],
    assigned_splits: npt.NDArray[np.int8],
    class_names: tuple[str, ...],
    groups: IntArray | None,
    options: SplitOptions,
) -> Splits:
    """Keep the splits that the source assigns, and split off the missing ones class by class.

    Every class has at least one image in each split that is made. Where the source assigns some images to training and
    leaves others unassigned, the missing splits are taken from the unassigned images only.

    Every class draws from random numbers of its own name. Images that are added to one class, and classes that are
    added, removed or renamed, leave the splits of other classes alone, unless groups connect the classes.
    scikit-learn's stratified splits are not used: they can leave a rare class out of a split (StratifiedGroupKFold too,
    which knows no fractions), and one more image reshuffles all of them.

    Args:
        labels: int32 (N,), indices into class_names.
        assigned_splits: int8 (N,), UNASSIGNED, TRAIN, VAL or TEST.
        class_names: Names that the random numbers and errors use.
        groups: int64 (N,) of `group_ids`. Images of a group are separated only if the source assigns them to different
            splits. An unassigned image joins its group's split: test before validation, validation before training.
            Fractions are kept as closely as the groups allow.
        options: Sizes of the missing splits, and the seed.

    Raises:
        UserError: Classes are too small, which are named, or fractions leave nothing for training.
    """
    folds = options.folds
    groups = np.arange(len(labels)) if groups is None else groups
    if folds is not None:
        assigned_splits = np.where(assigned_splits == VAL, TRAIN, assigned_splits).astype(np.int8)
    rule = SplitRule(options.version, options.seed, class_names)
    some_unassigned = bool(np.any(assigned_splits == UNASSIGNED))
    assigned_splits = _assign_by_group(assigned_splits, groups)
    missing = _missing_fractions(assigned_splits, {TEST: options.test_fraction, VAL: options.val_fraction}, folds)
    if missing and some_unassigned and np.any(assigned_splits == TRAIN):
        assigned_splits, missing = _fill_missing(labels, assigned_splits, groups, missing, rule), {}
    pool = np.flatnonzero(assigned_splits <= TRAIN)  # training images, and those that are still unassigned
    _refuse_small_classes(labels[pool], groups[pool], class_names, missing, folds)
    sizes = np.bincount(labels[pool], minlength=len(class_names)).tolist()
    targets = [_target_counts(size, missing, folds or 1, rule.fold_offset(label)) for label, size in enumerate(sizes)]
    parts = _allocate(pool, labels, groups, targets, rule, _describe_parts(missing, folds))
    split_indices = {number: np.flatnonzero(assigned_splits == number) for number in (VAL, TEST)}
    split_indices |= {number: parts.pop(0) for number in missing}
    if folds is not None:
        split_indices[VAL] = parts.pop(options.fold)
    split_indices[TRAIN] = np.concatenate(parts)
    return Splits(*(_limit(split_indices[n], labels, n, options.limit_per_class, rule) for n in (TRAIN, VAL, TEST)))


def limit_images(
    indices: IntArray,
    labels: npt.NDArray[np.int32],
    class_names: Sequence[str],
    limit: int | None,
    *,
    split: int = TEST,
    seed: int = 0,
) -> IntArray:
    """Return at most `limit` of the images at `indices` of each class, ascending.

    split: VAL or TEST, which the source assigns them to: a run with the same seed takes the same ones. With any other
    number they are drawn likewise.
    """
    return _limit(indices, labels, split, limit, SplitRule(LATEST_VERSION, seed, class_names))


def describe_fold(folds: int | None, fold: int) -> str:
    """Return the line that says which fold validates; empty without folds."""
    return "" if folds is None else f"fold {fold} of {folds} (counted from 0) validates, the others train"


def missing_class_warnings(splits: Splits, labels: npt.NDArray[np.int32], class_names: Sequence[str]) -> list[str]:
    """Return a line for each split that lacks classes, as splits that the source assigns may."""
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


def _missing_fractions(
    assigned: npt.NDArray[np.int8], fractions: dict[int, float], folds: int | None
) -> dict[int, float]:
    """Return the fractions of the splits that must be split off; with folds, validation is not among them."""
    missing = {number: fraction for number, fraction in fractions.items() if not np.any(assigned == number)}
    if folds is not None:
        missing.pop(VAL)
    if sum(missing.values()) >= 1:
        raise UserError(
            f"dataset.val_fraction={fractions[VAL]} and dataset.test_fraction={fractions[TEST]} leave nothing for "
            "training: together they must stay below 1"
        )
    return missing


def _assign_by_group(assigned: npt.NDArray[np.int8], groups: IntArray) -> npt.NDArray[np.int8]:
    """Assign unassigned images to the split that others of their group are assigned to."""
    result = assigned.copy()
    for number in (TRAIN, VAL, TEST):  # test last: it must stay unseen
        result[(assigned == UNASSIGNED) & np.isin(groups, groups[assigned == number])] = number
    return result


def _fill_missing(
    labels: npt.NDArray[np.int32],
    assigned: npt.NDArray[np.int8],
    groups: IntArray,
    missing: dict[int, float],
    rule: SplitRule,
) -> npt.NDArray[np.int8]:
    """Return `assigned` with the missing splits taken from the unassigned images; training gets the rest of these."""
    pool = np.flatnonzero(assigned == UNASSIGNED)
    missing_names, problems, targets = joined(SPLIT_NAMES[number] for number in missing), [], []
    for label, name in enumerate(rule.class_names):
        images = pool[labels[pool] == label]
        units = len(np.unique(groups[images]))
        for_training = 0 if np.any(labels[assigned == TRAIN] == label) else 1  # a class needs an image to train
        if units < len(missing) + for_training:
            needing = joined((missing_names, "train")) if for_training else missing_names
            problems.append(
                f"class '{name}' leaves the split of {_describe_size(len(images), units)} empty, but {needing} need at "
                "least one each"
            )
        else:
            *counts, rest = _target_counts(len(images), missing, 1, 0, for_training)
            if units == len(missing):  # a few groups: none is left for training
                counts[0], rest = counts[0] + rest, 0
            targets.append([*counts, rest])
    if problems:
        _refuse(
            "of some classes too few images are free for the splits that are not given:",
            problems,
            "Leave the split of more of their images empty, or give the missing splits in the data",
        )
    result = assigned.copy()
    parts = _allocate(pool, labels, groups, targets, rule, _describe_parts(missing, None))
    for number, part in zip((*missing, TRAIN), parts, strict=True):
        result[part] = number
    return result


def _target_counts(
    images: int, missing: dict[int, float], equal_parts: int, offset: int, min_rest: int | None = None
) -> list[int]:
    """Return how many images of a class go to each missing split, and then to each of the `equal_parts`.

    equal_parts: 1 for training, or the number of folds. offset: the first of these that gets an image more where they
    cannot be equal, modulo their number. min_rest: images that they need together; None: one each.
    """
    counts = [max(1, round(fraction * images)) for fraction in missing.values()]
    while sum(counts) > images - (equal_parts if min_rest is None else min_rest):  # rounded up in a small class
        largest = max(reversed(range(len(counts))), key=lambda part: counts[part])
        counts[largest] -= 1
    each, over = divmod(images - sum(counts), equal_parts)
    # Each class gives its remainder to other folds, so that the folds are of similar size.
    return counts + [each + ((part - offset) % equal_parts < over) for part in range(equal_parts)]


def _allocate(
    pool: IntArray,
    labels: npt.NDArray[np.int32],
    groups: IntArray,
    targets: list[list[int]],
    rule: SplitRule,
    parts: str,
) -> list[IntArray]:
    """Return the images at `pool` in the parts that have these targets; raise UserError where that is impossible."""
    try:
        return [pool[part] for part in allocate_stratified(labels[pool], groups[pool], np.array(targets), rule)]
    except InfeasibleSplit as error:
        raise UserError(
            f"no way was found to bring class '{rule.class_names[error.label]}' into each of {parts}: too many of its "
            "images are in groups with those of other classes. Add images of it, give the split in the data, or ask "
            "for fewer folds"
        ) from None


def _limit(
    indices: IntArray, labels: npt.NDArray[np.int32], number: int, limit: int | None, rule: SplitRule
) -> IntArray:
    """Return at most `limit` images of each class, ascending."""
    if limit is not None:
        chosen = [
            rule.class_rng("limit", label, number).permutation(indices[labels[indices] == label])[:limit]
            for label in np.unique(labels[indices]).tolist()
        ]
        indices = np.concatenate(chosen)
    return np.sort(indices).astype(np.int64)


def _refuse_small_classes(
    labels: npt.NDArray[np.int32],
    groups: IntArray,
    class_names: tuple[str, ...],
    missing: dict[int, float],
    folds: int | None,
) -> None:
    """Raise UserError for classes that training or a split that is made would lack; labels, groups: of the pool."""
    problems = []
    for label, name in enumerate(class_names):
        images, units = int(np.sum(labels == label)), len(np.unique(groups[labels == label]))
        if images == 0:
            problems.append(f"class '{name}' has no images to train on")
        elif units < (folds or 1) + len(missing):
            parts = _describe_parts(missing, folds)
            problems.append(f"class '{name}' has {_describe_size(images, units)}, but {parts} need at least one each")
    if problems:
        _refuse("classes are too small to be split:", problems, "Add images, or take the class out of the data")


def _refuse(head: str, problems: list[str], advice: str) -> None:
    hidden = len(problems) - MAX_LISTED_PROBLEMS
    lines = [head, *problems[:MAX_LISTED_PROBLEMS], *([f"and {hidden} more"] if hidden > 0 else [])]
    raise UserError("\n  ".join(lines) + f"\n{advice}")


def _describe_size(images: int, units: int) -> str:
    return f"{images} images" + (f" in {units} groups that stay together" if units < images else "")


def _describe_parts(missing: dict[int, float], folds: int | None) -> str:
    """Return what images are divided into: `3 splits (train, val, test)`."""
    if folds is not None:
        return f"{folds} folds" + (" and test" if missing else "")
    names = [SPLIT_NAMES[number] for number in (TRAIN, VAL, TEST) if number == TRAIN or number in missing]
    return f"{len(names)} splits ({joined(names)})"
