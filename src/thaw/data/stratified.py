"""Allocates images to parts class by class, in given numbers, and keeps groups of images whole."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thaw.data.catalog import IntArray
from thaw.data.split_rule import SplitRule

MAX_ATTEMPTS = 20  # orders in which groups are allocated, before the split is called infeasible


class InfeasibleSplit(Exception):
    """Raised when no allocation was found that brings class number `label` into every part."""

    def __init__(self, label: int) -> None:
        super().__init__(label)
        self.label = label


@dataclass(frozen=True, eq=False)
class ImageGroup:
    """A group of two images or more."""

    members: IntArray  # positions of its images
    classes: IntArray  # classes of its images, each once
    class_counts: IntArray  # images of each of these classes
    preferred_part: int  # the part that its first image was drawn for


def connected_groups(count: int, pairs: Iterable[tuple[int, int]]) -> IntArray:
    """Return one number for all of `count` items that pairs connect, int64 (count,), from 0."""
    from scipy.sparse import coo_array  # takes half a second
    from scipy.sparse.csgraph import connected_components

    one, other = np.array(list(pairs), np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(len(one), np.int8), (one, other)), (count, count))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def allocate_stratified(
    labels: npt.NDArray[np.int32], groups: IntArray, target_counts: IntArray, rule: SplitRule
) -> list[IntArray]:
    """Return the positions of the images in each part, P arrays int64 (n,), ordered by class and then as drawn.

    A single image goes where it is drawn. A group of several goes where its first image is drawn, if it fits there, and
    otherwise to the part that lacks most of its classes; single images then fill what remains. So the numbers are exact
    where no group is in the way, and a few groups move a few images.

    Args:
        labels: int32 (M,).
        groups: int64 (M,); images of one number stay together.
        target_counts: int64 (C, P), images of each class in each part. A row sums to the class's images, which are in
            at least as many groups as the row has parts above 0.
        rule: Gives each class its own random numbers.

    Raises:
        InfeasibleSplit: No way was found to bring a class into every part that has a target above 0.
    """
    orders = [rule.class_rng("split", c).permutation(np.flatnonzero(labels == c)) for c in range(len(target_counts))]
    parts = np.empty(len(labels), np.int64)
    for order, targets in zip(orders, target_counts, strict=True):
        parts[order] = np.repeat(np.arange(len(targets)), targets)
    if several := _groups_of_several(labels, groups, parts):
        parts, taken = _allocate_groups(labels, several, target_counts, rule)
        for order, targets, class_taken in zip(orders, target_counts, taken, strict=True):
            single = order[parts[order] < 0]
            remaining = _remaining_counts(targets, class_taken, len(single))
            parts[single] = np.repeat(np.arange(len(targets)), remaining)
    by_class = np.concatenate(orders)
    return [by_class[parts[by_class] == part] for part in range(target_counts.shape[1])]


def _groups_of_several(labels: npt.NDArray[np.int32], groups: IntArray, drawn: IntArray) -> list[ImageGroup]:
    """Return the groups of several images, in the order of their first image: their numbers do not matter."""
    order = np.argsort(groups, kind="stable")
    runs = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    several = sorted((run for run in runs if len(run) > 1), key=lambda run: int(run[0]))
    classes = [np.unique(labels[members], return_counts=True) for members in several]
    return [
        ImageGroup(members, names.astype(np.int64), counts, int(drawn[members[0]]))
        for members, (names, counts) in zip(several, classes, strict=True)
    ]


def _allocate_groups(
    labels: npt.NDArray[np.int32], groups: list[ImageGroup], target_counts: IntArray, rule: SplitRule
) -> tuple[IntArray, IntArray]:
    """Return the part of each image, -1 for single ones, and int64 (C, P), what each part took of each class.

    Large groups come first, since small ones fill what they leave; if that is infeasible, groups of rare classes do.
    Where classes draw by name, those that no group connects are allocated separately, whatever happens to others.
    """
    parts = np.full(len(labels), -1, np.int64)
    units = np.bincount(labels, minlength=len(target_counts))  # groups and single images that hold a class
    for group in groups:
        units[group.classes] += 1 - group.class_counts
    taken = np.zeros_like(target_counts)
    for connected in _by_connected_classes(groups, len(target_counts)) if rule.keyed_by_name else [groups]:
        order, group_parts, newly_taken = _allocate_in_feasible_order(connected, labels, target_counts, units, rule)
        taken += newly_taken
        for i, part in zip(order, group_parts, strict=True):
            parts[connected[i].members] = part
    return parts, taken


def _by_connected_classes(groups: list[ImageGroup], classes: int) -> list[list[ImageGroup]]:
    """Divide groups so that those of one class, and of classes that a group connects to it, are in one list."""
    number = connected_groups(classes, [(group.classes[0], label) for group in groups for label in group.classes])
    lists: dict[int, list[ImageGroup]] = {}
    for group in groups:
        lists.setdefault(int(number[group.classes[0]]), []).append(group)
    return list(lists.values())


def _allocate_in_feasible_order(
    groups: list[ImageGroup], labels: npt.NDArray[np.int32], target_counts: IntArray, units: IntArray, rule: SplitRule
) -> tuple[IntArray, list[int], IntArray]:
    """Return an order of groups that is feasible, the part of each in this order, and what each part took."""
    large_first = np.array([-len(group.members) for group in groups])
    rare_first = np.array([int(units[group.classes].min()) for group in groups])
    for attempt in range(MAX_ATTEMPTS):
        shuffled = _shuffled(groups, labels, attempt, rule)
        order = shuffled[np.argsort((rare_first if attempt else large_first)[shuffled], kind="stable")]
        try:
            return order, *_allocate_in_order([groups[i] for i in order], target_counts, units)
        except InfeasibleSplit:
            if attempt == MAX_ATTEMPTS - 1:
                raise
    raise AssertionError


def _shuffled(groups: list[ImageGroup], labels: npt.NDArray[np.int32], attempt: int, rule: SplitRule) -> IntArray:
    """Return the groups in a random order; each draws by its first image, among the images of that image's class."""
    if not rule.keyed_by_name:
        return rule.shared_rng("group", attempt).permutation(len(groups))
    firsts = np.array([group.members[0] for group in groups])
    drawn = np.empty(len(groups))
    for label in np.unique(labels[firsts]).tolist():
        of_class = labels[firsts] == label
        images = np.flatnonzero(labels == label)
        numbers = rule.class_rng("group", label, attempt).random(len(images))
        drawn[of_class] = numbers[np.searchsorted(images, firsts[of_class])]
    return np.argsort(drawn, kind="stable")


def _allocate_in_order(
    groups: list[ImageGroup], target_counts: IntArray, units: IntArray
) -> tuple[list[int], IntArray]:
    """Allocate groups in this order. units: int64 (C,), groups and single images that hold a class."""
    taken = np.zeros_like(target_counts)
    units_left = units.copy()
    weight = 1 / np.maximum(target_counts.sum(axis=1), 1)  # an image of a rare class weighs more
    parts = []
    for group in groups:
        classes, counts = group.classes, group.class_counts[:, None]
        units_left[classes] -= 1
        lacking = (taken[classes] == 0) & (target_counts[classes] > 0)
        # A class with no more units left than parts that lack it must go to one of these parts.
        urgent = lacking.sum(axis=1) > units_left[classes]
        allowed = lacking[urgent].all(axis=0)
        if not allowed.any():
            raise InfeasibleSplit(int(classes[urgent][0]))
        need, part = target_counts[classes] - taken[classes], group.preferred_part
        if not allowed[part] or (need[:, part] < group.class_counts).any():
            gain = (weight[classes, None] * counts * need).sum(axis=0)
            part = int(np.where(allowed, gain, -np.inf).argmax())
        taken[classes, part] += group.class_counts
        parts.append(part)
    return parts, taken


def _remaining_counts(target_counts: IntArray, taken: IntArray, single: int) -> IntArray:
    """Return how many of a class's single images each part gets, int64 (P,): what it lacks, if there are enough."""
    remaining = np.maximum(target_counts - taken, 0)
    while remaining.sum() > single:  # groups took more than the target somewhere
        # From the part that lacks most; the last image of a part without the class is taken last.
        remaining[np.lexsort((taken > 0, remaining))[-1]] -= 1
    return remaining
