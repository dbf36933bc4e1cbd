"""The data set as a table in which near duplicates form groups: `dataset=csv` keeps each on one side of a split."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from thaw.data.catalog import FREE
from thaw.data.splits import NAMES
from thaw.explore.neighbors import Pair
from thaw.explore.scanned_images import Pictures

COLUMNS = ("path", "label", "split", "group")


def rows(pictures: Pictures, pairs: Sequence[Pair]) -> Iterator[tuple[str, str, str, str]]:
    """Yield path, label, split and group of every picture; exact duplicates need no group, a run ties them by itself.

    split: what the source gives, empty where a run splits. Pictures that it gives to different splits are not tied: no
    split could keep them together, and the findings name them. The source's own groups stay, and grow.
    """
    catalog, indices = pictures.pixels.catalog, pictures.pixels.indices
    given = catalog.given[indices]
    own = [catalog.groups[i] for i in indices] if catalog.groups else [""] * len(indices)
    number = _connected(own, pairs)
    most = np.full(number.max() + 1, FREE, given.dtype)
    np.maximum.at(most, number, given)
    side = np.where(given == FREE, most[number], given)  # what the source leaves free goes where the others are
    names = [f"group {n} {NAMES[s]}" if s != FREE else f"group {n}" for n, s in zip(number, side, strict=True)]
    counts = Counter(names)
    for row, name in enumerate(names):
        split = NAMES[given[row]] if given[row] != FREE else ""
        group = name if counts[name] > 1 or own[row] else ""
        yield os.path.abspath(pictures.path(row) or ""), pictures.label(row), split, group  # noqa: PTH100


def _connected(groups: Sequence[str], pairs: Sequence[Pair]) -> np.ndarray:
    """A number for each picture, the same for those that pairs or groups tie together."""
    first: dict[str, int] = {}
    ties = [(pair.row, pair.other) for pair in pairs]
    ties += [(first.setdefault(group, row), row) for row, group in enumerate(groups) if group]
    one, other = np.array(ties, np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(len(ties), np.int8), (one, other)), shape=(len(groups), len(groups)))
    return np.asarray(connected_components(graph, directed=False)[1])
