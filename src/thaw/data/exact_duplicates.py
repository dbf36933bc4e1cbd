"""Warnings about images of equal content: contradicting labels, and test images that are in train."""

from collections import defaultdict
from collections.abc import Sequence

from thaw.common.console import printable
from thaw.data.catalog import TEST, TRAIN, VAL, Catalog

MAX_LISTED_PAIRS = 3  # pairs that a warning names
LEAK_MESSAGES = {
    (TRAIN, TEST): "test images are also in train",
    (VAL, TEST): "test images are also in validation",
    (TRAIN, VAL): "validation images are also in train",
}


def duplicate_warnings(catalog: Catalog, sha256: Sequence[str]) -> list[str]:
    """Return a line for each kind of problem with images of equal content; nothing is removed or moved.

    sha256: of every image of the catalog; empty where it is not known.
    """
    by_digest: dict[str, list[int]] = defaultdict(list)
    for index, digest in enumerate(sha256):
        if digest:
            by_digest[digest].append(index)
    copies = [indices for indices in by_digest.values() if len(indices) > 1]
    labels, splits = catalog.labels.tolist(), catalog.assigned_splits.tolist()
    pairs = [(i[0], next((other for other in i if labels[other] != labels[i[0]]), i[0])) for i in copies]
    lines = []
    if pairs := [(first, other) for first, other in pairs if first != other]:
        listing = _pair_listing(catalog, pairs)
        lines.append(f"warning: {len(pairs):,} images have two labels or more: {listing}. One of them is wrong")
    for (seen, held_out), message in LEAK_MESSAGES.items():
        pairs = []
        for indices in copies:
            first = next((i for i in indices if splits[i] == seen), None)
            pairs += [(i, first) for i in indices if first is not None and splits[i] == held_out]
        if pairs:
            listing = _pair_listing(catalog, pairs)
            lines.append(f"warning: {len(pairs):,} {message}: {listing}. Figures on them are too good; take them out")
    return lines


def _pair_listing(catalog: Catalog, pairs: list[tuple[int, int]]) -> str:
    texts = [" = ".join(printable(catalog.names[i]) for i in pair) for pair in pairs[:MAX_LISTED_PAIRS]]
    return ", ".join(texts) + (", ..." if len(pairs) > MAX_LISTED_PAIRS else "")
