"""Prepares a run's data set, and logs what it is: bad files, manifest, counts, warnings."""

import dataclasses
from pathlib import Path

from thaw import run_fingerprint, tracking
from thaw.cache import DiskCache
from thaw.common.console import display_path, say
from thaw.config import run_names
from thaw.config.schema import Config
from thaw.data import exact_duplicates, manifest, picture_sizes, pixels, prepare, quarantine, splits
from thaw.data.dataset import Dataset
from thaw.data.dataset_cache import DatasetCache
from thaw.data.scan import ScanResult
from thaw.models import backbone_table
from thaw.run_context import RunContext
from thaw.training import recipes


def with_pinned_backbone(config: Config) -> Config:
    """Return a new run's config with what its backbone takes from elsewhere, as the run's stored config has it.

    That is the side of the input, by the size of the pictures (small ones are enlarged less than to the backbone's own
    size), and the run behind `weights` (see `tracking.pin_run_weights`): a rerun is not changed by new pictures,
    another champion or a later rule.

    Raises:
        UserError: the run of the weights is not found.
    """
    backbone = config.backbone
    if backbone.image_size is None and backbone.name in backbone_table.BACKBONES:
        side = picture_sizes.typical_side(config.dataset)
        size = backbone_table.size_for_pictures(backbone.name, side)
        backbone = dataclasses.replace(backbone, image_size=size)
    backbone = tracking.pin_run_weights(backbone, config.tracking.uri, Path(config.outputs))
    return dataclasses.replace(config, backbone=backbone)


def load_run_data(context: RunContext) -> Dataset:
    """Scan all images, leave out bad ones, and split the rest; pixels are decoded when they are first needed.

    Raises:
        UserError: The data cannot be used, or a resumed run finds other data than it began with.
    """
    config = context.config
    with context.clock("scan"):
        scan, spaces = _scan(config, context.cache)
        _quarantine(context, scan)
        data = _split(config, scan, spaces)
        _log_data(context, scan, data)
    return data


def current_data_sha256(config: Config, cache: DiskCache) -> str:
    """Return the hash of the data that a run of this config would log; files that the cache knows are not read again.

    Raises:
        UserError: The data cannot be used.
    """
    scan, spaces = _scan(config, cache)
    data = _split(config, scan, spaces)
    return manifest.data_sha256(data.pixels, data.splits)


def _scan(config: Config, cache: DiskCache) -> tuple[ScanResult, DatasetCache]:
    return prepare.scan_dataset(
        config.dataset,
        cache,
        backbone_table.input_size(config.backbone),
        pixels_every_epoch=recipes.runs_images_every_epoch(config),
    )


def _split(config: Config, scan: ScanResult, spaces: DatasetCache) -> Dataset:
    chosen = prepare.split_dataset(scan, config.dataset, config.split, config.seed)
    return Dataset(pixels.of_scan(scan, chosen.all_indices(), spaces), chosen, config.augment, config.seed)


def _quarantine(context: RunContext, scan: ScanResult) -> None:
    """List bad files, in the store too, before they may end the run."""
    if not scan.bad_files:
        return
    resumed = run_fingerprint.has_entry(context.tracked, run_fingerprint.DATA_SHA256)
    name = f"resumed_{quarantine.BAD_FILES_CSV}" if resumed else quarantine.BAD_FILES_CSV  # the first list stays
    file = context.folder / name
    _log_file(context, quarantine.bad_files_csv(scan), file)
    dataset = context.config.dataset
    say(quarantine.quarantine_or_raise(scan, dataset.on_bad, dataset.max_bad_fraction, str(display_path(file))))


def _log_data(context: RunContext, scan: ScanResult, data: Dataset) -> None:
    config, tracked, catalog = context.config, context.tracked, scan.catalog
    name, classes = run_names.dataset_name(config.dataset), catalog.class_names
    sha256 = manifest.data_sha256(data.pixels, data.splits)
    run_fingerprint.check_same_hash(tracked, run_fingerprint.DATA_SHA256, sha256, "the data")
    counts = {split: len(indices) for split, indices in data.splits.by_name().items()}
    profile = {
        "images": sum(counts.values()),
        "classes": len(classes),
        **counts,
        "bad": len(scan.bad_files),
        "class_names": list(classes),  # in the order of the network's outputs
    }
    if not run_fingerprint.has_entry(tracked, run_fingerprint.DATA_SHA256):
        _log_file(context, manifest.manifest_csv(scan, data.splits), context.folder / "manifest.csv")
        source = config.dataset.path or config.dataset.name
        tracked.log_dataset(name, sha256, source, profile=profile)
        run_fingerprint.log_entry(tracked, run_fingerprint.DATA_SHA256, sha256)  # last: it stands for the two above
    for line in data_lines(config, scan, data, sha256):
        say(line)


def data_lines(config: Config, scan: ScanResult, data: Dataset, sha256: str) -> list[str]:
    """Return the printed lines on a data set: its counts, what is remarkable of it, and the fold.

    sha256: of the data, see `manifest.data_sha256`.
    """
    catalog = scan.catalog
    name, classes = run_names.dataset_name(config.dataset), catalog.class_names
    counts = {split: len(indices) for split, indices in data.splits.by_name().items()}
    remarks = quarantine.data_remarks(scan, config.dataset.bits)
    absent = splits.missing_class_warnings(data.splits, catalog.labels, classes)
    duplicates = exact_duplicates.duplicate_warnings(catalog, scan.sha256)
    of_run = (splits.describe_fold(config.split.folds, config.split.fold), data.describe_imbalance(config.train))
    return [
        f"data: {name} · {len(classes)} classes · train {counts['train']:,} · val {counts['val']:,} · "
        f"test {counts['test']:,} · sha256 {sha256[:12]}",
        *(f"  {line}" for line in (*remarks, *absent, *duplicates)),
        *filter(None, of_run),
    ]


def _log_file(context: RunContext, text: str, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8", errors="surrogateescape", newline="")
    context.tracked.log_artifact(file)
