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
from thaw.reproduce.comparison import EPOCH_PREFIX, RunOutcome
from thaw.run_record import check_same_graph, with_stored_engine
from thaw.tracking import StoredRun

FINGERPRINT_PREFIX = "fingerprint."
_FINAL = ("val/", "test/")


@dataclass(frozen=True)
class OriginalRun:
    """A run that is to be reproduced.

    store: the URI it was found in. config: with the engine and precisions that it chose, where these were left to the
    machine. overrides: as typed. manifest: rows of `manifest.COLUMNS`.
    """

    run: StoredRun
    store_uri: str
    config: Config
    overrides: list[str]
    manifest: list[dict[str, str]]

    @property
    def fingerprint(self) -> dict[str, str]:
        """The flat fingerprint, as `Fingerprint.flat` gave it."""
        tags = self.run.tags.items()
        return {
            key.removeprefix(FINGERPRINT_PREFIX): value for key, value in tags if key.startswith(FINGERPRINT_PREFIX)
        }

    @property
    def finished(self) -> bool:
        return self.run.status == "FINISHED"


def read_original(run: str, uri: str, outputs: Path) -> OriginalRun:
    """Look up a run by its id, by the first characters of it, or by its folder; of a sweep it is the best run.

    Raises UserError when it is not there, was trained as another network than is built now, or lacks what a rerun
    needs: the config, the data's manifest, or anything to be compared with.
    """
    found, store = _find(run, uri, outputs)
    info = tracking.best_run(found)
    if not info.metric_history(f"{EPOCH_PREFIX}loss"):
        raise UserError(
            f"run {info.id} ({info.name}) is {info.status} and has no epoch to compare with: {failure_reason(info)}. "
            "Train it instead, with the overrides in its tag thaw.overrides"
        )
    file = info.artifact_path("config.yaml")
    config = stored_config.parse_stored_config(file.read_text(encoding="utf-8"), str(file))
    checks.check_config(config)
    check_same_graph(info.tags, config.backbone)
    config = dataclasses.replace(with_stored_engine(_from_its_folder(config, info), info.tags), resume=None)
    overrides = info.artifact_path("overrides.txt").read_text(encoding="utf-8").split("\n")
    return OriginalRun(info, store, config, [o for o in overrides if o], _rows(info.artifact_path("manifest.csv")))


def failure_reason(info: StoredRun) -> str:
    """Why a run did not come to its end, as it said itself."""
    return info.tags.get(tracking.REASON_TAG, "it did not say why")


def read_outcome(info: StoredRun) -> RunOutcome:
    """What a run came to, from the store alone: a run of a sweep keeps figures when it keeps no artifacts."""
    epochs: dict[int, dict[str, float]] = {}
    for name in ("learning_rate", "loss", "accuracy", "val_loss", "val_accuracy"):
        for epoch, value in info.metric_history(f"{EPOCH_PREFIX}{name}").items():
            epochs.setdefault(epoch, {})[name] = value
    return RunOutcome(
        data_sha256=info.tags.get(f"{FINGERPRINT_PREFIX}data_sha256"),
        initial_sha256=info.tags.get(f"{FINGERPRINT_PREFIX}weights_sha256"),
        weights_sha256=info.tags.get(tracking.WEIGHTS_TAG) or _in_result(info),
        epochs=epochs,
        final={name: value for name, value in info.metrics.items() if name.startswith(_FINAL)},
        finished=info.status == "FINISHED",
    )


def _in_result(info: StoredRun) -> str | None:
    """The hash of the final weights of a run that was made before it was a tag."""
    if info.status != "FINISHED":
        return None
    return str(json.loads(info.artifact_path("result.json").read_text(encoding="utf-8"))["weights_sha256"])


def _find(run: str, uri: str, outputs: Path) -> tuple[StoredRun, str]:
    folder = Path(run).expanduser()
    if not folder.is_dir():
        return tracking.find_run(uri, outputs, run), uri
    known = tracking.find_run_of_folder(folder, uri, outputs)
    if known is None:
        raise UserError(f"run={run} is a folder without a run.json that says which run it is: give the run's id")
    return known


def _from_its_folder(config: Config, info: StoredRun) -> Config:
    """Relative paths are meant from the folder in which the run was started; what is not there stays as it is."""
    start = Path(info.tags.get(tracking.CWD_TAG, "."))

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
