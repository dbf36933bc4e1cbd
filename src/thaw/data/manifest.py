"""The manifest of a run: every image that it used or refused, and one hash over the data."""

import csv
import hashlib
from collections.abc import Iterator
from pathlib import Path

from thaw.common.csv_text import csv_text
from thaw.data.pixels import Pixels
from thaw.data.scan import ScanResult
from thaw.data.splits import Splits

COLUMNS = ("path", "sha256", "width", "height", "mode", "label", "class", "split", "verdict", "note")
VERDICT_OK = "ok"


def manifest_rows(scanned: ScanResult, splits: Splits) -> Iterator[tuple[str | int, ...]]:
    """Yield a row of `COLUMNS` for every image that is used, in the catalog's order, then for every bad file.

    - path: relative to the dataset's folder
    - sha256: of the file's bytes
    - width, height: upright, in pixels of the file; empty of bad files, as mode and split
    - mode: Pillow's, of the file's pixels
    - label, class: the class's name, and its number, which is the index of the network's output
    - split: train, val or test
    - verdict: ok, or a key of `corrupt_files.KINDS`
    - note: what was left out, such as later frames, or why the file is bad
    """
    catalog = scanned.catalog
    split_of = {int(index): name for name, indices in splits.by_name().items() for index in indices}
    for index, split in sorted(split_of.items()):
        label = int(catalog.labels[index])
        width, height = scanned.sizes[index].tolist()
        file = catalog.names[index], scanned.sha256[index], width, height, scanned.modes[index]
        yield *file, catalog.class_names[label], label, split, VERDICT_OK, scanned.notes[index]
    for bad in scanned.bad_files:
        label = catalog.class_names.index(bad.label)
        yield bad.name, bad.sha256, "", "", "", bad.label, label, "", bad.kind, bad.reason


def manifest_csv(scanned: ScanResult, splits: Splits) -> str:
    """Return the manifest as CSV, to be written with `encoding="utf-8", errors="surrogateescape", newline=""`."""
    return csv_text(COLUMNS, manifest_rows(scanned, splits))


def read_rows(file: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of a manifest by column; early versions had fewer columns. Raises OSError without a file."""
    with file.open(encoding="utf-8", errors="surrogateescape", newline="") as lines:
        yield from csv.DictReader(lines)


def split_sha256(pixels: Pixels, splits: Splits, split: str) -> str:
    """Return one hash over the sha256 and class name of every image of a split, whatever their names and order."""
    catalog, indices = pixels.catalog, splits.by_name()[split]
    labels = [catalog.class_names[label] for label in catalog.labels[indices]]
    rows = sorted(zip(pixels.digests(indices), labels, strict=True))
    text = "".join(f"{sha256}\0{label}\0" for sha256, label in rows)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def data_sha256(pixels: Pixels, splits: Splits) -> str:
    """Return one hash over the name, sha256, class name and split of every image that is used.

    It does not depend on the data set's folder, the order of its listing, or files that are bad or unused.
    """
    catalog = pixels.catalog
    used = []
    for split, indices in splits.by_name().items():
        for index, sha256 in zip(indices.tolist(), pixels.digests(indices), strict=True):
            used.append((catalog.names[index], sha256, catalog.class_names[catalog.labels[index]], split))
    digest = hashlib.sha256()
    for row in sorted(used):
        digest.update("\0".join((*row, "")).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
