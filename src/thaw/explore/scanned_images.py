"""Scans and splits a data set as a run would, without stopping at files that cannot be used."""

import os
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thaw.cache import DiskCache
from thaw.common.errors import UserError
from thaw.config.schema import SplitConfig
from thaw.config.tool_schemas import ExploreConfig
from thaw.data import pixels, prepare, quarantine, splits
from thaw.data.catalog import SPLIT_NAMES, UNASSIGNED
from thaw.data.pixels import Pixels
from thaw.data.scan import BadFile, ScanResult
from thaw.models import backbone_table


@dataclass(frozen=True, eq=False)
class ScannedImages:
    """N usable images by row, 0 to N - 1, in the catalog's order; and the files that cannot be used."""

    pixels: Pixels
    splits: tuple[str, ...]  # N: train, val or test; "" where the images cannot be split
    formats: tuple[str, ...]  # N, by content: JPEG, PNG, ...; "" for images that are not files
    modes: tuple[str, ...]  # N, Pillow's: RGB, L, P, RGBA, CMYK, ...
    notes: tuple[str, ...]  # N: what is left out of the file, such as "first of 12 frames"; mostly ""
    max_values: tuple[int | None, ...]  # N, of 16 bits a channel; None for others, and with dataset.bits
    file_sizes: npt.NDArray[np.int64]  # (N,): bytes; 0 for images that are not files
    bad_files: tuple[BadFile, ...]
    remarks: tuple[str, ...]  # on the data set: what was ignored, and why a run would stop or warn

    def __len__(self) -> int:
        return len(self.splits)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names by label."""
        return self.pixels.catalog.class_names

    @property
    def labels(self) -> npt.NDArray[np.int32]:
        """Indices into class_names, int32 (N,)."""
        return self.pixels.catalog.labels[self.pixels.indices]

    def name(self, row: int) -> str:
        """Return the file's name relative to the dataset's folder."""
        return self.pixels.catalog.names[self.pixels.indices[row]]

    def class_name(self, row: int) -> str:
        """Return the name of the image's class."""
        return self.class_names[self.labels[row]]

    def path(self, row: int) -> str | None:
        """Return the file's absolute path; None for an image that is not a file."""
        paths = self.pixels.catalog.paths
        return None if paths is None else paths[self.pixels.indices[row]]


def scan_images(config: ExploreConfig, cache: DiskCache) -> ScannedImages:
    """List, scan and split the images as a run does; files that cannot be used are findings, not errors.

    Raises:
        UserError: The source cannot be listed, or fewer than two images can be used.
    """
    scan, spaces = prepare.scan_dataset(config.dataset, cache, backbone_table.input_size(config.backbone))
    usable, total = len(scan.catalog), len(scan.catalog) + len(scan.bad_files)
    if usable < 2:
        raise UserError(f"of {total} pictures {usable} can be used: there is nothing to compare")
    split_names, split_remarks = _split_names(config, scan)
    rows, paths, bits = sorted(split_names), scan.catalog.paths, config.dataset.bits
    return ScannedImages(
        pixels.of_scan(scan, np.array(rows, np.int64), spaces),
        tuple(split_names[i] for i in rows),
        tuple(scan.formats[i] for i in rows),
        tuple(scan.modes[i] for i in rows),
        tuple(scan.notes[i] for i in rows),
        tuple(scan.max_values[i] if bits is None else None for i in rows),
        np.array([os.stat(paths[i]).st_size if paths else 0 for i in rows], np.int64),  # noqa: PTH116 - 60,000 of them
        scan.bad_files,
        (*quarantine.data_remarks(scan, bits), *split_remarks),
    )


def _split_names(config: ExploreConfig, scan: ScanResult) -> tuple[dict[int, str], list[str]]:
    """Return the split of every image that is used, by its index, and what a run would warn of or stop for.

    If a run would stop, the splits are those that the source assigns: exploring is how a user finds out what is wrong.
    """
    catalog = scan.catalog
    try:
        chosen = prepare.split_dataset(scan, config.dataset, SplitConfig(), config.seed)
    except UserError as error:
        assigned = catalog.assigned_splits.tolist()
        names = ["" if number == UNASSIGNED else SPLIT_NAMES[number] for number in assigned]
        return dict(enumerate(names)), [f"a run would stop: {error}"]
    split_names = {index: name for name, indices in chosen.by_name().items() for index in indices.tolist()}
    return split_names, splits.missing_class_warnings(chosen, catalog.labels, catalog.class_names)
