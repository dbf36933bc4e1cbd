"""Prepares a data set: lists and scans its images, and splits them into training, validation and test."""

from thaw.cache import DiskCache
from thaw.common.parallel import ShardWorkers
from thaw.config.schema import DatasetConfig, SplitConfig
from thaw.data import dataset_cache, dataset_table, splits
from thaw.data.catalog import Catalog
from thaw.data.dataset_cache import DatasetCache
from thaw.data.decode import DecodeOptions
from thaw.data.scan import ScanResult, scan_catalog
from thaw.data.splits import SplitOptions, Splits


def scan_dataset(
    dataset: DatasetConfig,
    cache: DiskCache,
    image_size: int,
    *,
    pixels_every_epoch: bool = True,
    workers: ShardWorkers | None = None,
) -> tuple[ScanResult, DatasetCache]:
    """List, hash and check all images of the data set; bad files are part of the result and stop nothing.

    Args:
        dataset: which data set, and which of its images.
        cache: holds what earlier scans learned of files, and decoded pixels.
        image_size: side of the network's square input in pixels.
        pixels_every_epoch: training reads pixels in every epoch. Otherwise frozen activations replace them after the
            first one, and half of the cache's room is left to these.
        workers: processes that read and decode the files; None: this one does.

    Returns:
        The scan, and the cache spaces that its images are decoded into.

    Raises:
        UserError: The data set is unknown, missing, or not laid out as it should be.
    """
    catalog = dataset_table.load_named_catalog(dataset)
    return scan_listed(catalog, dataset, cache, image_size, pixels_every_epoch=pixels_every_epoch, workers=workers)


def scan_listed(
    catalog: Catalog,
    dataset: DatasetConfig,
    cache: DiskCache,
    image_size: int,
    *,
    pixels_every_epoch: bool = True,
    workers: ShardWorkers | None = None,
) -> tuple[ScanResult, DatasetCache]:
    """Hash and check the images of a catalog, which may be a part of the data set, as `scan_dataset` does."""
    limit = dataset.limit_per_class
    spaces = dataset_cache.plan_spaces(
        cache,
        image_size,
        len(catalog),
        catalog.max_usable_images(limit),
        pixel_share=1.0 if pixels_every_epoch else 0.5,
        options=DecodeOptions(dataset.bits, dataset.resize),
    )
    return scan_catalog(catalog, spaces, with_pixels=limit is None, workers=workers), spaces


def split_dataset(scan: ScanResult, dataset: DatasetConfig, split: SplitConfig, seed: int) -> Splits:
    """Split the usable images as configured; images of equal content or of one group stay on one side.

    Raises:
        UserError: A class is too small for its splits, or the fractions leave nothing for training.
    """
    catalog, groups = scan.catalog, splits.group_ids(scan.sha256, scan.catalog.groups)
    options = SplitOptions(
        dataset.val_fraction,
        dataset.test_fraction,
        seed,
        limit_per_class=dataset.limit_per_class,
        folds=split.folds,
        fold=split.fold,
        version=split.version,
    )
    return splits.make_splits(catalog.labels, catalog.assigned_splits, catalog.class_names, groups, options)
