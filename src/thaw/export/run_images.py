"""The images that an export is compared and calibrated on: those of the network's run, by its manifest."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from thaw import tracking
from thaw.common.console import printable, say
from thaw.common.errors import UserError
from thaw.config import stored_config
from thaw.config.schema import DatasetConfig
from thaw.data import dataset_cache, dataset_table, manifest, pixels
from thaw.data.decode import DecodeOptions
from thaw.data.pixels import Pixels
from thaw.data.scan import scan_catalog
from thaw.frozen.quantization import MAX_IMAGES, Calibration
from thaw.models.saved_model import CONFIG_FILE, SavedNetwork
from thaw.tracking import StoredRun

# Of the images that are wanted. With fewer test images the figures would be of a chosen part; ranges of activations are
# measured as well on half of the training images.
MIN_SHARE = {"test": 0.95, "training": 0.5}


@dataclass(frozen=True, eq=False)
class RunImages:
    """Images of a run that are still there with the content that they had.

    test: int64 (N,), catalog indices. labels: int32 (N,), the network's output for the class of each. calibration: of
    training images; None where none were asked for. test_total: test images that the run had.
    """

    pixels: Pixels
    test: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int32]
    test_total: int
    calibration: Calibration | None

    @property
    def names(self) -> list[str]:
        """The test images' names in the data set, N of them."""
        return [self.pixels.catalog.names[i] for i in self.test]

    def paths(self) -> list[str]:
        """Return the test images' files, or their names where the data set has no files."""
        paths = self.pixels.catalog.paths
        return self.names if paths is None else [paths[i] for i in self.test]


def find_network_run(model: str, saved: SavedNetwork, uri: str, outputs: Path) -> StoredRun | None:
    """Return the run of a network; None of a folder that belongs to no run of a store that can be read."""
    path = Path(model).expanduser()
    if path in (saved.folder, saved.folder.parent):
        path = saved.folder.absolute().parent
    try:
        if not path.is_dir():
            return tracking.best_run(tracking.find_run(uri, outputs, model), lambda line: None)
        found = tracking.find_run_of_folder(path, uri, outputs)
        return tracking.best_run(found[0], lambda line: None) if found else None
    except UserError:
        return None


def read_run_images(
    saved: SavedNetwork, run: StoredRun | None, data: str | None, *, images: int, seed: int, calibrate: bool
) -> RunImages:
    """Return test images of a network's run, and training images for int8.

    Args:
        saved: The network.
        run: Its run, if it is known.
        data: The folder or table where the run's data set lies now; None: where the run read it.
        images: So many test images at most, drawn by `seed`.
        seed: Of the draw.
        calibrate: Whether training images are needed.

    Raises:
        UserError: The manifest or the data set is gone, or too many of the images have other content now.
    """
    rows = [row for row in _manifest_rows(saved, run) if row.get("split")]
    test = [row for row in rows if row["split"] == "test"]
    if not test:
        raise UserError("the network's run has no test images: an export could not be compared with it")
    order = np.random.default_rng(seed).permutation(len(test))[:images]
    wanted = {test[i]["path"]: test[i] for i in np.sort(order)}
    train = _calibration_rows(rows) if calibrate else {}
    dataset = _dataset(saved, run, data)
    found = _read(dataset, {**wanted, **train}, saved.image_size())
    kept = _check_enough(found, wanted, "test", dataset)
    labels = np.array([int(wanted[found.catalog.names[i]]["class"]) for i in kept], np.int32)
    calibration = Calibration(found, _check_enough(found, train, "training", dataset)) if calibrate else None
    return RunImages(found, kept, labels, len(test), calibration)


def _manifest_rows(saved: SavedNetwork, run: StoredRun | None) -> list[dict[str, str]]:
    files = [saved.folder.absolute().parent / "manifest.csv"]
    if run is not None:
        try:
            files.insert(0, run.artifact_path("manifest.csv"))
        except UserError:
            files.append(Path(run.tags.get(tracking.FOLDER_TAG, "")) / "manifest.csv")
    for file in files:
        if file.is_file():
            return list(manifest.read_rows(file))
    raise UserError(
        f"no manifest.csv belongs to the network in {saved.folder}: which images its run was tested on is not known, "
        "and an export could not be compared with it. Give the run's id, or its whole folder"
    )


def _calibration_rows(rows: Iterable[Mapping[str, str]]) -> dict[str, Mapping[str, str]]:
    """Return training images by path: those whose hashes come first, each content once, as a run in int8 does."""
    by_content = {row["sha256"]: row for row in rows if row["split"] == "train"}
    chosen = sorted(by_content, key=lambda digest: hashlib.sha256(f"calibration {digest}".encode()).digest())
    return {by_content[digest]["path"]: by_content[digest] for digest in chosen[:MAX_IMAGES]}


def _dataset(saved: SavedNetwork, run: StoredRun | None, data: str | None) -> DatasetConfig:
    """Return the run's data set where it lies now."""
    file = saved.folder / CONFIG_FILE
    dataset = stored_config.parse_stored_config(file.read_text(encoding="utf-8"), str(file)).dataset
    if data is not None:
        return replace(dataset, path=str(Path(data).expanduser().absolute()))
    if dataset.path is None:
        return dataset
    cwd = Path(run.tags.get(tracking.CWD_TAG, ".")) if run is not None else Path()
    path = cwd / Path(dataset.path).expanduser()
    if not path.exists():
        raise UserError(
            f"the data set of the network's run is no longer at {path}. An export is compared with the network on the "
            "run's test images: give the place where they are now as data=FOLDER"
        )
    return replace(dataset, path=str(path))


def _read(dataset: DatasetConfig, wanted: Mapping[str, Mapping[str, str]], image_size: int) -> Pixels:
    """Return the pixels of the images whose content is still that of the manifest's row, by name."""
    catalog = dataset_table.load_named_catalog(dataset)
    rows = np.array([i for i, name in enumerate(catalog.names) if name in wanted], np.int64)
    listed = catalog.subset(rows)
    spaces = dataset_cache.plan_spaces(
        None, image_size, len(listed), options=DecodeOptions(dataset.bits, dataset.resize)
    )
    scan = scan_catalog(listed, spaces)
    names_and_hashes = zip(scan.catalog.names, scan.sha256, strict=True)
    same = [i for i, (name, sha256) in enumerate(names_and_hashes) if wanted[name]["sha256"] == sha256]
    if not same:
        raise UserError(_gone(f"all {len(wanted):,}", next(iter(wanted)), dataset))
    return pixels.of_scan(scan, np.array(same, np.int64), spaces)


def _check_enough(
    found: Pixels, wanted: Mapping[str, Mapping[str, str]], kind: str, dataset: DatasetConfig
) -> npt.NDArray[np.int64]:
    """Return the catalog indices of the wanted images; raise UserError if there are too few (`MIN_SHARE`)."""
    kept = [i for i in found.indices.tolist() if found.catalog.names[i] in wanted]
    there = {found.catalog.names[i] for i in kept}
    gone = [name for name in wanted if name not in there]
    missing = len(gone)
    if not kept or len(kept) < MIN_SHARE[kind] * len(wanted):
        raise UserError(_gone(f"{missing:,} of {len(wanted):,} {kind}", gone[0], dataset))
    if missing:
        say(f"note: {missing:,} of {len(wanted):,} {kind} images of the run are gone or have other content now")
    return np.array(kept, np.int64)


def _gone(images: str, example: str, dataset: DatasetConfig) -> str:
    where = printable(dataset.path or dataset.name)
    return (
        f"{images} images of the network's run are no longer in {where}, or have other content now, such as "
        f"{printable(example)}, and an export is compared with the network on them. "
        "Give the place where they are now as data=FOLDER"
    )
