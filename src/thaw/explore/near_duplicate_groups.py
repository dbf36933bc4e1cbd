"""The data set as a table in which near duplicates form groups: `dataset=csv` keeps each on one side of a split."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from thaw.data.catalog import SPLIT_NAMES, UNASSIGNED
from thaw.explore.neighbors import SimilarPair
from thaw.explore.scanned_images import ScannedImages

GROUP_COLUMNS = ("path", "label", "split", "group")


def group_rows(pictures: ScannedImages, pairs: Sequence[SimilarPair]) -> Iterator[tuple[str, str, str, str]]:
    """Yield path, label, split and group of every picture; exact duplicates need no group, a run ties them by itself.

    split: what the source gives, empty where a run splits. Pictures that it gives to different splits are not tied: no
    split could keep them together, and the findings name them. The source's own groups stay, and grow.
    """
    catalog, indices = pictures.pixels.catalog, pictures.pixels.indices
    given = catalog.assigned_splits[indices]
    own = [catalog.groups[i] for i in indices] if catalog.groups else [""] * len(indices)
    number = _connected(own, pairs)
    most = np.full(number.max() + 1, UNASSIGNED, given.dtype)
    np.maximum.at(most, number, given)
    side = np.where(given == UNASSIGNED, most[number], given)  # what the source leaves free goes where the others are
    names = [
        f"group {n} {SPLIT_NAMES[s]}" if s != UNASSIGNED else f"group {n}" for n, s in zip(number, side, strict=True)
    ]
    counts = Counter(names)
    for row, name in enumerate(names):
        split = SPLIT_NAMES[given[row]] if given[row] != UNASSIGNED else ""
        group = name if counts[name] > 1 or own[row] else ""
        yield os.path.abspath(pictures.path(row) or ""), pictures.class_name(row), split, group  # noqa: PTH100


def _connected(groups: Sequence[str], pairs: Sequence[SimilarPair]) -> np.ndarray:
    """A number for each picture, the same for those that pairs or groups tie together."""
    first: dict[str, int] = {}
    ties = [(pair.row, pair.other_row) for pair in pairs]
    ties += [(first.setdefault(group, row), row) for row, group in enumerate(groups) if group]
    one, other = np.array(ties, np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(len(ties), np.int8), (one, other)), shape=(len(groups), len(groups)))
    return np.asarray(connected_components(graph, directed=False)[1])
