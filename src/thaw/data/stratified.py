"""Deals images into parts, class by class, in the numbers that are wanted, and keeps groups of images whole."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thaw.data.split_versions import SplitRule

MAX_ATTEMPTS = 20  # orders in which groups are placed, before it is given up that every class comes into every part

Ints = npt.NDArray[np.int64]


class InfeasibleSplit(Exception):
    """No way was found to bring the class of this number into every part."""

    def __init__(self, label: int) -> None:
        super().__init__(label)
        self.label = label


@dataclass(frozen=True, eq=False)
class ImageGroup:
    """A group of two images or more."""

    members: Ints  # positions of its images
    classes: Ints  # those of its images, each once
    class_counts: Ints  # images of each of these
    preferred_part: int  # the part that its first image was drawn for


def allocate_stratified(
    labels: npt.NDArray[np.int32], groups: Ints | None, target_counts: Ints, rule: SplitRule
) -> list[Ints]:
    """Return the positions of each part's images, P times int64 (n,): by class, and in it as they were drawn.

    labels: int32 (M,). groups: int64 (M,); images of one number stay together. wanted: int64 (C, P), images of each
    class in each part; a row sums to the class's images, which are in as many groups or more as it has parts above 0.
    Every class draws from its own random numbers, those of `rule`. An image alone goes where it is drawn; a group of
    several goes where its first image is drawn, if it fits there, and otherwise where its classes lack most; images
    alone then fill up what is left. So the numbers are exact where no group is in the way, and few groups move few
    images. Every class comes into every part that wants it; raises Stuck when no way was found.
    """
    orders = [rule.class_rng("split", c).permutation(np.flatnonzero(labels == c)) for c in range(len(target_counts))]
    drawn = np.empty(len(labels), np.int64)
    for order, row in zip(orders, target_counts, strict=True):
        drawn[order] = _in_turn(row)
    parts, tied = drawn, _tied(labels, groups, drawn)
    if tied:
        parts, taken = _place(labels, tied, target_counts, rule)
        for order, row, had in zip(orders, target_counts, taken, strict=True):
            alone = order[parts[order] < 0]
            parts[alone] = _in_turn(_room(row, had, len(alone)))
    by_class = np.concatenate(orders)
    return [by_class[parts[by_class] == part] for part in range(target_counts.shape[1])]


def _in_turn(counts: Ints) -> Ints:
    return np.repeat(np.arange(len(counts)), counts)


def _tied(labels: npt.NDArray[np.int32], groups: Ints | None, drawn: Ints) -> list[ImageGroup]:
    """Return the groups of several images, by their first image: their numbers do not matter."""
    if groups is None:
        return []
    order = np.argsort(groups, kind="stable")
    runs = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    several = sorted((run for run in runs if len(run) > 1), key=lambda run: int(run[0]))
    return [_group(run, labels, drawn) for run in several]


def _group(members: Ints, labels: npt.NDArray[np.int32], drawn: Ints) -> ImageGroup:
    classes, counts = np.unique(labels[members], return_counts=True)
    return ImageGroup(members, classes.astype(np.int64), counts, int(drawn[members[0]]))


def _place(labels: npt.NDArray[np.int32], tied: list[ImageGroup], wanted: Ints, rule: SplitRule) -> tuple[Ints, Ints]:
    """Return the part of each image, -1 for those alone, and int64 (C, P), what each part took of each class.

    Large groups come first, since small ones fill what they leave; when that gets stuck, groups of rare classes do.
    Drawing by name, classes that no group ties together are placed by themselves, whatever becomes of others.
    """
    parts = np.full(len(labels), -1, np.int64)
    bound = np.concatenate([group.members for group in tied])
    units = np.bincount(labels, minlength=len(wanted)) - np.bincount(labels[bound], minlength=len(wanted))
    for group in tied:
        units[group.classes] += 1
    taken = np.zeros_like(wanted)
    for own in _apart(tied, len(wanted)) if rule.keyed_by_name else [tied]:
        order, places, took = _place_somehow(own, labels, wanted, units, rule)
        taken += took
        for i, part in zip(order, places, strict=True):
            parts[own[i].members] = part
    return parts, taken


def _apart(tied: list[ImageGroup], classes: int) -> list[list[ImageGroup]]:
    """Divide groups so that those of one class, and whatever these join, are in one list; each in its order."""
    from scipy.sparse import coo_array  # half a second
    from scipy.sparse.csgraph import connected_components

    rows = np.repeat([group.classes[0] for group in tied], [len(group.classes) for group in tied])
    columns = np.concatenate([group.classes for group in tied])
    ties = coo_array((np.ones(len(rows)), (rows, columns)), (classes, classes))
    _, number = connected_components(ties, directed=False)
    lists: dict[int, list[ImageGroup]] = {}
    for group in tied:
        lists.setdefault(int(number[group.classes[0]]), []).append(group)
    return list(lists.values())


def _place_somehow(
    tied: list[ImageGroup], labels: npt.NDArray[np.int32], wanted: Ints, units: Ints, rule: SplitRule
) -> tuple[Ints, list[int], Ints]:
    """Return an order of groups that does not get stuck, the part of each in this order, and what each part took."""
    large = [-len(group.members) for group in tied]
    rare = [int(units[group.classes].min()) for group in tied]
    for attempt in range(MAX_ATTEMPTS):
        mixed = _mixed(tied, labels, attempt, rule)
        order = mixed[np.argsort(np.array(rare if attempt else large)[mixed], kind="stable")]
        try:
            return order, *_place_in([tied[i] for i in order], wanted, units)
        except InfeasibleSplit:
            if attempt == MAX_ATTEMPTS - 1:
                raise
    raise AssertionError


def _mixed(tied: list[ImageGroup], labels: npt.NDArray[np.int32], attempt: int, rule: SplitRule) -> Ints:
    """Return the groups in an order that is drawn: each by its first image, among those of that image's class."""
    if not rule.keyed_by_name:
        return rule.shared_rng("group", attempt).permutation(len(tied))
    firsts = np.array([group.members[0] for group in tied])
    drawn = np.empty(len(tied))
    for label in np.unique(labels[firsts]).tolist():
        own = labels[firsts] == label
        images = np.flatnonzero(labels == label)
        drawn[own] = rule.class_rng("group", label, attempt).random(len(images))[np.searchsorted(images, firsts[own])]
    return np.argsort(drawn, kind="stable")


def _place_in(tied: list[ImageGroup], wanted: Ints, units: Ints) -> tuple[list[int], Ints]:
    """Place groups in this order. units: int64 (C,), groups and single images that hold a class."""
    taken = np.zeros_like(wanted)
    left = units.copy()
    weight = 1 / np.maximum(wanted.sum(axis=1), 1)  # an image of a rare class weighs more
    places = []
    for group in tied:
        classes, counts = group.classes, group.class_counts[:, None]
        left[classes] -= 1
        bare = (taken[classes] == 0) & (wanted[classes] > 0)
        # A class of which no more is left than parts without it goes to one of these.
        must = bare.sum(axis=1) > left[classes]
        allowed = bare[must].all(axis=0)
        if not allowed.any():
            raise InfeasibleSplit(int(classes[must][0]))
        need = wanted[classes] - taken[classes]
        if allowed[group.preferred_part] and (need[:, group.preferred_part] >= group.class_counts).all():
            part = group.preferred_part
        else:
            gain = (weight[classes, None] * counts * need).sum(axis=0)
            part = int(np.where(allowed, gain, -np.inf).argmax())
        taken[classes, part] += group.class_counts
        places.append(part)
    return places, taken


def _room(wanted: Ints, taken: Ints, alone: int) -> Ints:
    """How many of a class's single images each part gets, int64 (P,): what it lacks; where all lack more, less."""
    room = np.maximum(wanted - taken, 0)
    while room.sum() > alone:  # groups took more than was wanted somewhere
        # From the fullest; the last image of a part that would be without the class is taken last.
        room[np.lexsort((taken > 0, room))[-1]] -= 1
    return room
