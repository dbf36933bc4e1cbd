"""The images that a trained network is evaluated on: which of a data set, and which output is the class of each."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from thaw.cache import DiskCache
from thaw.common.console import display_path, printable, say
from thaw.common.errors import UserError, joined
from thaw.config import run_names
from thaw.config.schema import DatasetConfig
from thaw.data import dataset_table, exact_duplicates, manifest, pixels, prepare, quarantine, splits
from thaw.data.catalog import SPLIT_NAMES, TEST, Catalog
from thaw.data.class_name_spelling import normalize_name
from thaw.data.pixels import Pixels
from thaw.data.scan import ScanResult
from thaw.data.splits import Splits

MAX_NAMED_CLASSES = 10  # that a printed line names
ALL_IMAGES = "all"


@dataclass(frozen=True, eq=False)
class EvaluatedImages:
    """N images of a data set, by their index in `pixels.catalog`.

    title: the data set's name. indices: int64 (N,), ascending. outputs: int64 (D,), the network's output of each class
    of the data, -1 of a class that the network does not know. covers: which images these are, as "the test images".
    unknown_classes: images of each class of the data that the network does not know, which are left out.
    """

    title: str
    pixels: Pixels
    indices: npt.NDArray[np.int64]
    outputs: npt.NDArray[np.int64]
    covers: str
    unknown_classes: dict[str, int]
    bad_files: int

    @property
    def labels(self) -> npt.NDArray[np.int32]:
        """The network's output for the class of each image, int32 (N,)."""
        return self.outputs[self.pixels.catalog.labels[self.indices]].astype(np.int32)

    @property
    def names(self) -> list[str]:
        """The images' names in the data set, N of them."""
        return [self.pixels.catalog.names[i] for i in self.indices]

    @property
    def sha256(self) -> list[str]:
        """The hash of each image's file, N of them."""
        return self.pixels.digests(self.indices)

    def data_sha256(self) -> str:
        """Return one hash over the name, content and class of every image."""
        nothing = self.indices[:0]
        return manifest.data_sha256(self.pixels, Splits(nothing, nothing, self.indices))

    def only(self, wanted: npt.NDArray[np.bool_], covers: str) -> "EvaluatedImages":
        """Return the images where `wanted`, bool (N,), is true."""
        return replace(self, indices=self.indices[wanted], covers=covers)

    def missing_classes(self, class_names: Sequence[str]) -> list[str]:
        """Return the network's classes that no image is of."""
        counts = np.bincount(self.labels, minlength=len(class_names))
        return [class_names[i] for i in np.flatnonzero(counts == 0).tolist()]


@dataclass(frozen=True, eq=False)
class ListedImages:
    """Images that are listed and not read: `catalog` has only those to be evaluated. See `EvaluatedImages`."""

    catalog: Catalog
    split: str
    outputs: npt.NDArray[np.int64]
    unknown_classes: dict[str, int]


def list_images(dataset: DatasetConfig, split: str | None, class_names: Sequence[str]) -> ListedImages:
    """List the labelled images of a split whose class the network knows; no file is read.

    Args:
        dataset: Which data set.
        split: train, val, test or all; None: test where the data set says which images are test, else all.
        class_names: The network's, in the order of its outputs.

    Raises:
        UserError: The data set cannot be listed, assigns no image to the split, or has no class of the network.
    """
    catalog = dataset_table.load_named_catalog(dataset, min_classes=1)
    if split is None:
        split = SPLIT_NAMES[TEST] if (catalog.assigned_splits == TEST).any() else ALL_IMAGES
    rows = np.arange(len(catalog))
    if split != ALL_IMAGES:
        rows = np.flatnonzero(catalog.assigned_splits == SPLIT_NAMES.index(split))
        if not len(rows):
            raise UserError(_no_such_split(catalog, split))
    outputs = match_classes(catalog.class_names, class_names)
    counts = np.bincount(catalog.labels[rows], minlength=len(outputs))
    unknown = {catalog.class_names[i]: int(counts[i]) for i in np.flatnonzero((outputs < 0) & (counts > 0))}
    rows = rows[outputs[catalog.labels[rows]] >= 0]
    if not len(rows):
        raise UserError(_no_common_class(dataset, catalog, counts, class_names))
    return ListedImages(catalog.subset(rows), split, outputs, unknown)


def match_classes(data_classes: Sequence[str], network_classes: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return the index in `network_classes` of each class of the data, int64 (D,); -1 where the network has none.

    Names are compared as they are, and then without case, outer spaces and Unicode form: macOS writes an accent of a
    folder's name as a character of its own.
    """
    exact = {name: i for i, name in enumerate(network_classes)}
    spelled: dict[str, int] = {}
    for i, name in enumerate(network_classes):  # of two that are the same in this form, none is meant
        spelled[normalize_name(name)] = -1 if normalize_name(name) in spelled else i
    return np.array([exact.get(name, spelled.get(normalize_name(name), -1)) for name in data_classes], np.int64)


def read_images(
    listed: ListedImages, dataset: DatasetConfig, cache: DiskCache, image_size: int, seed: int, folder: Path
) -> EvaluatedImages:
    """Scan listed images as a run does, and print what they are; files that cannot be used end it or are left out.

    Args:
        listed: The images.
        dataset: Their data set, with `bits` as the network's run had them.
        cache: Of decoded pixels.
        image_size: The side of the network's square input in pixels.
        seed: With `dataset.limit_per_class` a run with this seed takes the same test images.
        folder: bad_files.csv is written to it.

    Raises:
        UserError: No image can be used, or some cannot and `dataset.on_bad` does not allow for it.
    """
    scan, spaces = prepare.scan_listed(listed.catalog, dataset, cache, image_size)
    if scan.bad_files:
        _quarantine(scan, dataset, folder)
    catalog = scan.catalog
    if not len(catalog):
        raise UserError(f"of {len(scan.bad_files)} images none can be used")
    split = SPLIT_NAMES.index(listed.split) if listed.split in SPLIT_NAMES else TEST
    indices = splits.limit_images(
        np.arange(len(catalog)), catalog.labels, catalog.class_names, dataset.limit_per_class, split=split, seed=seed
    )
    data = EvaluatedImages(
        run_names.dataset_name(dataset),
        pixels.of_scan(scan, indices, spaces),
        indices,
        listed.outputs,
        _covers(listed, len(indices), limited=len(indices) < len(catalog)),
        listed.unknown_classes,
        len(scan.bad_files),
    )
    say(f"data: {data.title} · {data.covers} · sha256 {data.data_sha256()[:12]}")
    remarks = quarantine.data_remarks(scan, dataset.bits)
    for line in (*remarks, *exact_duplicates.duplicate_warnings(catalog, scan.sha256)):
        say(f"  {line}")
    return data


def class_lines(data: EvaluatedImages, class_names: Sequence[str]) -> list[str]:
    """Return a line on the classes that the network does not know, and one on those that have no image."""
    lines = []
    if data.unknown_classes:
        images = sum(data.unknown_classes.values())
        named = _named([f"{name} ({count:,})" for name, count in data.unknown_classes.items()])
        lines.append(f"classes that the network does not know: {named}. Their {images:,} images are left out")
    if missing := data.missing_classes(class_names):
        lines.append(
            f"classes of the network without images: {_named(missing)}. How well they are found is not known; an image "
            "may be taken for one, which counts in macro F1 as 0 for that class"
        )
    return lines


def _quarantine(scan: ScanResult, dataset: DatasetConfig, folder: Path) -> None:
    file = folder / quarantine.BAD_FILES_CSV
    file.write_text(quarantine.bad_files_csv(scan), encoding="utf-8", errors="surrogateescape", newline="")
    say(quarantine.quarantine_or_raise(scan, dataset.on_bad, dataset.max_bad_fraction, str(display_path(file))))


def _covers(listed: ListedImages, images: int, *, limited: bool) -> str:
    what = "images" if listed.split == ALL_IMAGES else f"{listed.split} images"
    what += " of classes that it knows" if listed.unknown_classes else ""
    return f"{images:,} of the {what}" if limited else f"all {images:,} {what}"


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_NAMED_CLASSES:,} more" if len(names) > MAX_NAMED_CLASSES else ""
    return joined(map(printable, names[:MAX_NAMED_CLASSES])) + more


def _no_such_split(catalog: Catalog, split: str) -> str:
    assigned = [name for i, name in enumerate(SPLIT_NAMES) if (catalog.assigned_splits == i).any()]
    has = f"it has {joined(assigned)}" if assigned else "it has no splits"
    return f"split={split}: the data set does not say which images these are, {has}. split=all evaluates all of them"


def _no_common_class(
    dataset: DatasetConfig, catalog: Catalog, counts: npt.NDArray[np.int64], class_names: Sequence[str]
) -> str:
    of_data = [catalog.class_names[i] for i in np.flatnonzero(counts)]
    return (
        f"no class of {run_names.dataset_name(dataset)} is a class of the network; they are matched by name.\n"
        f"  the data set: {_named(of_data)}\n  the network: {_named(class_names)}\n"
        "Name the folders or labels as the network's classes"
    )
