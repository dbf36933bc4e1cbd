"""What the store knows of a run: its config as it can be run today, its data, its fingerprint and its figures."""

import csv
import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from thaw import tracking
from thaw.common.errors import UserError
from thaw.config import checks, stored_config
from thaw.config.schema import Config
from thaw.data import manifest
from thaw.reproduce.comparison import EPOCH, Figures
from thaw.run_record import as_chosen, must_build_alike
from thaw.tracking import RunInfo

FINGERPRINT = "fingerprint."
_FINAL = ("val/", "test/")


@dataclass(frozen=True)
class Recorded:
    """A run that is to be reproduced.

    store: the URI it was found in. config: with the engine and precisions that it chose, where these were left to the
    machine. overrides: as typed. manifest: rows of `manifest.COLUMNS`.
    """

    info: RunInfo
    store: str
    config: Config
    overrides: list[str]
    manifest: list[dict[str, str]]

    @property
    def fingerprint(self) -> dict[str, str]:
        """The flat fingerprint, as `Fingerprint.flat` gave it."""
        tags = self.info.tags.items()
        return {key.removeprefix(FINGERPRINT): value for key, value in tags if key.startswith(FINGERPRINT)}

    @property
    def finished(self) -> bool:
        return self.info.status == "FINISHED"


def read(run: str, uri: str, outputs: Path) -> Recorded:
    """Look up a run by its id, by the first characters of it, or by its folder; of a sweep it is the best run.

    Raises UserError when it is not there, was trained as another network than is built now, or lacks what a rerun
    needs: the config, the data's manifest, or anything to be compared with.
    """
    found, store = _find(run, uri, outputs)
    info = tracking.best_of(found)
    if not info.history(f"{EPOCH}loss"):
        raise UserError(
            f"run {info.id} ({info.name}) is {info.status} and has no epoch to compare with: {reason(info)}. "
            "Train it instead, with the overrides in its tag thaw.overrides"
        )
    file = info.artifact("config.yaml")
    config = stored_config.read(file.read_text(encoding="utf-8"), str(file))
    checks.check(config)
    must_build_alike(info.tags, config.backbone)
    config = dataclasses.replace(as_chosen(_from_its_folder(config, info), info.tags), resume=None)
    overrides = info.artifact("overrides.txt").read_text(encoding="utf-8").split("\n")
    return Recorded(info, store, config, [o for o in overrides if o], _rows(info.artifact("manifest.csv")))


def reason(info: RunInfo) -> str:
    """Why a run did not come to its end, as it said itself."""
    return info.tags.get(tracking.REASON, "it did not say why")


def figures(info: RunInfo) -> Figures:
    """What a run came to, from the store alone: a run of a sweep keeps figures when it keeps no artifacts."""
    epochs: dict[int, dict[str, float]] = {}
    for name in ("learning_rate", "loss", "accuracy", "val_loss", "val_accuracy"):
        for epoch, value in info.history(f"{EPOCH}{name}").items():
            epochs.setdefault(epoch, {})[name] = value
    return Figures(
        data_sha256=info.tags.get(f"{FINGERPRINT}data_sha256"),
        initial_sha256=info.tags.get(f"{FINGERPRINT}weights_sha256"),
        weights_sha256=info.tags.get(tracking.WEIGHTS) or _in_result(info),
        epochs=epochs,
        final={name: value for name, value in info.metrics.items() if name.startswith(_FINAL)},
        finished=info.status == "FINISHED",
    )


def _in_result(info: RunInfo) -> str | None:
    """The hash of the final weights of a run that was made before it was a tag."""
    if info.status != "FINISHED":
        return None
    return str(json.loads(info.artifact("result.json").read_text(encoding="utf-8"))["weights_sha256"])


def _find(run: str, uri: str, outputs: Path) -> tuple[RunInfo, str]:
    folder = Path(run).expanduser()
    if not folder.is_dir():
        return tracking.find_run(uri, outputs, run), uri
    known = tracking.of_folder(folder, uri, outputs)
    if known is None:
        raise UserError(f"run={run} is a folder without a run.json that says which run it is: give the run's id")
    return known


def _from_its_folder(config: Config, info: RunInfo) -> Config:
    """Relative paths are meant from the folder in which the run was started; what is not there stays as it is."""
    start = Path(info.tags.get(tracking.CWD, "."))

    def absolute(path: str) -> str:
        there = start / Path(path).expanduser()
        return str(there.absolute()) if there.exists() else path

    dataset, backbone = config.dataset, config.backbone
    if dataset.path:
        dataset = dataclasses.replace(dataset, path=absolute(dataset.path))
    if backbone.weights not in ("imagenet", "none"):
        backbone = dataclasses.replace(backbone, weights=absolute(backbone.weights))
    cache = dataclasses.replace(config.cache, dir=str(start / Path(config.cache.dir).expanduser()))
    return dataclasses.replace(config, dataset=dataset, backbone=backbone, cache=cache)


def _rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", errors="surrogateescape", newline="") as lines:
        rows = list(csv.DictReader(lines))
    lacking = set(manifest.COLUMNS) - set(rows[0] if rows else manifest.COLUMNS)
    if lacking:
        raise UserError(f"{file} is no manifest of this version of thaw: it has no column {min(lacking)}")
    return rows
