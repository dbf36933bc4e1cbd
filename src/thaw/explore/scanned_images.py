"""The pictures of a data set as a run would take them, and the files among them that cannot be used."""

import os
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thaw.cache import DiskCache
from thaw.common.errors import UserError
from thaw.config.schema import SplitConfig
from thaw.config.tool_schemas import ExploreConfig
from thaw.data import pixels, prepare, quarantine, splits
from thaw.data.catalog import SPLIT_NAMES, UNASSIGNED, Catalog
from thaw.data.pixels import Pixels
from thaw.data.scan import BadFile, ScanResult
from thaw.models import backbone_table


@dataclass(frozen=True, eq=False)
class ScannedImages:
    """N sound pictures by their row, 0 to N - 1, in the catalog's order; and the files that are none."""

    pixels: Pixels
    splits: tuple[str, ...]  # N: train, val or test; "" where the pictures cannot be split
    formats: tuple[str, ...]  # N, by content: JPEG, PNG, ...; "" of pictures that are no files
    modes: tuple[str, ...]  # N, Pillow's: RGB, L, P, RGBA, CMYK, ...
    notes: tuple[str, ...]  # N: what of the file is left out, such as "first of 12 frames"; mostly ""
    highest_values: tuple[
        int | None, ...
    ]  # N: of 16 bits a channel the highest value; None of others, and with dataset.bits
    file_sizes: npt.NDArray[np.int64]  # (N,): of the file; 0 of pictures that are no files
    bad_files: tuple[BadFile, ...]
    remarks: tuple[str, ...]  # on the whole: what was passed over

    def __len__(self) -> int:
        return len(self.splits)

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.pixels.catalog.class_names

    @property
    def labels(self) -> npt.NDArray[np.int32]:
        """Indices into class_names, int32 (N,)."""
        return self.pixels.catalog.labels[self.pixels.indices]

    def name(self, row: int) -> str:
        """The file's name relative to the dataset's folder."""
        return self.pixels.catalog.names[self.pixels.indices[row]]

    def class_name(self, row: int) -> str:
        """The name of its class."""
        return self.class_names[self.labels[row]]

    def path(self, row: int) -> str | None:
        """The file's place; None for a picture that is no file."""
        paths = self.pixels.catalog.paths
        return None if paths is None else paths[self.pixels.indices[row]]


def scan_images(config: ExploreConfig, cache: DiskCache) -> ScannedImages:
    """List, scan and split the images as a run does; bad files are set aside and do not stop it.

    Raises UserError as the source does, and when fewer than two images can be used.
    """
    scan, spaces = prepare.scan_dataset(config.dataset, cache, backbone_table.image_size(config.backbone))
    usable, total = len(scan.catalog), len(scan.catalog) + len(scan.bad_files)
    if usable < 2:
        raise UserError(f"of {total} pictures {usable} can be used: there is nothing to compare")
    split_names, warnings = _split_names(config, scan)
    rows, bits = sorted(split_names), config.dataset.bits
    return ScannedImages(
        pixels.from_scan(scan, np.array(rows, np.int64), spaces),
        tuple(split_names[i] for i in rows),
        tuple(scan.formats[i] for i in rows),
        tuple(scan.modes[i] for i in rows),
        tuple(scan.notes[i] for i in rows),
        tuple(scan.max_values[i] if bits is None else None for i in rows),
        _file_bytes(scan.catalog, rows),
        scan.bad_files,
        (*quarantine.data_remarks(scan, bits), *warnings),
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


def _file_bytes(catalog: Catalog, rows: list[int]) -> npt.NDArray[np.int64]:
    paths = catalog.paths
    if paths is None:
        return np.zeros(len(rows), np.int64)
    return np.array([os.stat(paths[i]).st_size for i in rows], np.int64)  # noqa: PTH116 - 60,000 of them
