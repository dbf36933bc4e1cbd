"""What equal images say about the data: labels that contradict each other, and test images that were trained on."""

from collections import defaultdict
from collections.abc import Sequence

from thaw.common.console import printable
from thaw.data.catalog import TEST, TRAIN, VAL, Catalog

MAX_LISTED_PAIRS = 3  # pairs that a line names
LEAK_MESSAGES = {(TRAIN, TEST): "test images are also in train", (VAL, TEST): "test images are also in validation",
         (TRAIN, VAL): "validation images are also in train"}  # fmt: skip


def duplicate_warnings(catalog: Catalog, sha256: Sequence[str]) -> list[str]:
    """Return a line for each kind of trouble with images of equal content; none when all is well.

    sha256: of every image of the catalog; empty where it is not known. What the source gives is respected: nothing is
    taken out or moved.
    """
    same: dict[str, list[int]] = defaultdict(list)
    for index, digest in enumerate(sha256):
        if digest:
            same[digest].append(index)
    several = [indices for indices in same.values() if len(indices) > 1]
    lines = [_two_labels(catalog, several)]
    lines += [_leak(catalog, several, *sides) for sides in LEAK_MESSAGES]
    return [line for line in lines if line]


def _two_labels(catalog: Catalog, several: list[list[int]]) -> str:
    labels = catalog.labels
    pairs = []
    for indices in several:
        other = next((i for i in indices if labels[i] != labels[indices[0]]), None)
        if other is not None:
            pairs.append((indices[0], other))
    if not pairs:
        return ""
    return f"warning: {len(pairs):,} images have two labels or more: {_named(catalog, pairs)}. One of them is wrong"


def _leak(catalog: Catalog, several: list[list[int]], seen: int, held: int) -> str:
    pairs = []
    for indices in several:
        first = next((i for i in indices if catalog.assigned_splits[i] == seen), None)
        if first is not None:
            pairs += [(i, first) for i in indices if catalog.assigned_splits[i] == held]
    if not pairs:
        return ""
    what = LEAK_MESSAGES[seen, held]
    return f"warning: {len(pairs):,} {what}: {_named(catalog, pairs)}. Figures on them are too good; take them out"


def _named(catalog: Catalog, pairs: list[tuple[int, int]]) -> str:
    said = [" = ".join(printable(catalog.names[i]) for i in pair) for pair in pairs[:MAX_LISTED_PAIRS]]
    return ", ".join(said) + (", ..." if len(pairs) > MAX_LISTED_PAIRS else "")
