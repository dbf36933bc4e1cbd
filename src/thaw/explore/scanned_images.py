"""The pictures of a data set as a run would take them, and the files among them that cannot be used."""

import os
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thaw.cache import DiskCache
from thaw.common.errors import UserError
from thaw.config.tool_schemas import ExploreConfig
from thaw.data import cache_spaces, pixels, quarantine, sources, splits
from thaw.data.bit_depth import DecodeOptions
from thaw.data.catalog import UNASSIGNED, Catalog
from thaw.data.pixels import Pixels
from thaw.data.scan import BadFile, ScanResult, scan_catalog
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


def scan_images(config: ExploreConfig, store: DiskCache) -> ScannedImages:
    """List, scan and split the pictures as a run does; files that cannot be used are set aside and do not stop it.

    Raises UserError as the source does, and when fewer than two pictures can be used.
    """
    own = config.dataset
    catalog = sources.load_catalog(own)
    limit = own.limit_per_class
    size, rules = backbone_table.image_size(config.backbone), DecodeOptions(own.bits)
    spaces = cache_spaces.plan_spaces(store, size, len(catalog), catalog.max_usable_images(limit), options=rules)
    found = scan_catalog(catalog, spaces, with_pixels=limit is None)
    if len(found.catalog) < 2:
        raise UserError(f"of {len(catalog)} pictures {len(found.catalog)} can be used: there is nothing to compare")
    split_of, why = _splits(config, found)
    rows = sorted(split_of)
    return ScannedImages(
        pixels.from_scan(found, np.array(rows, np.int64), spaces),
        tuple(split_of[i] for i in rows),
        tuple(found.formats[i] for i in rows),
        tuple(found.modes[i] for i in rows),
        tuple(found.notes[i] for i in rows),
        tuple(found.max_values[i] if own.bits is None else None for i in rows),
        _bytes(found.catalog, rows),
        found.bad_files,
        (*quarantine.data_remarks(found, own.bits), *why),
    )


def _splits(config: ExploreConfig, found: ScanResult) -> tuple[dict[int, str], list[str]]:
    """The split of every image that is used, by its index; and why a run would stop here or warn, if it would.

    If it stops, the splits are those that the source gives: to look at the pictures is the way to find out what is
    wrong.
    """
    own, catalog = config.dataset, found.catalog
    try:
        chosen = splits.make_splits(
            catalog.labels, catalog.assigned_splits, catalog.class_names, val_fraction=own.val_fraction,
            test_fraction=own.test_fraction, limit_per_class=own.limit_per_class, seed=config.seed,
            groups=splits.group_ids(found.sha256, catalog.groups),
        )  # fmt: skip
    except UserError as error:
        given = [
            splits.SPLIT_NAMES[number] if number != UNASSIGNED else "" for number in catalog.assigned_splits.tolist()
        ]
        return dict(enumerate(given)), [f"a run would stop: {error}"]
    split_of = {index: name for name, indices in chosen.by_name().items() for index in indices.tolist()}
    return split_of, splits.missing_class_warnings(chosen, catalog.labels, catalog.class_names)


def _bytes(catalog: Catalog, rows: list[int]) -> npt.NDArray[np.int64]:
    paths = catalog.paths
    if paths is None:
        return np.zeros(len(rows), np.int64)
    return np.array([os.stat(paths[i]).st_size for i in rows], np.int64)  # noqa: PTH116 - 60,000 of them
