"""A run that is reproduced, read from the store: config, overrides, manifest, fingerprint and outcome."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from thaw import tracking
from thaw.common.errors import UserError
from thaw.config import checks, stored_config
from thaw.config.schema import Config
from thaw.data import manifest
from thaw.reproduce.comparison import RunOutcome
from thaw.run_fingerprint import DATA_SHA256, WEIGHTS_SHA256, check_same_graph, with_stored_engine
from thaw.tracking import EPOCH_PREFIX, StoredRun

_FINAL_PREFIXES = ("val/", "test/")


@dataclass(frozen=True)
class OriginalRun:
    """A run to reproduce.

    store_uri: the store that it was found in. config: ready to be run today, with the engine and the precisions that
    the run chose. overrides: as typed. manifest: rows with the columns `manifest.COLUMNS`.
    """

    run: StoredRun
    store_uri: str
    config: Config
    overrides: list[str]
    manifest: list[dict[str, str]]

    @property
    def fingerprint(self) -> dict[str, str]:
        """The entries of the run's fingerprint."""
        return tracking.fingerprint_entries(self.run.tags)

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return self.run.status == "FINISHED"


def read_original(run: str, uri: str, outputs: Path) -> OriginalRun:
    """Return the run with this id, the first characters of it, or this folder; a sweep stands for its best run.

    Raises:
        UserError: There is no such run, it was trained as another network than would be built now, or it lacks what a
            rerun needs: the config, the data's manifest, or an epoch to compare.
    """
    named, store_uri = _find(run, uri, outputs)
    stored = tracking.best_run(named)
    if not stored.metric_history(f"{EPOCH_PREFIX}loss"):
        raise UserError(
            f"run {stored.id} ({stored.name}) is {stored.status} and has no epoch to compare with: "
            f"{failure_reason(stored)}. Train it instead, with the overrides in its tag thaw.overrides"
        )
    file = stored.artifact_path("config.yaml")
    config = stored_config.parse_stored_config(file.read_text(encoding="utf-8"), str(file))
    checks.check_config(config)
    check_same_graph(stored.tags, config.backbone)
    config = with_stored_engine(_with_absolute_paths(config, stored), stored.tags)
    overrides = stored.artifact_path("overrides.txt").read_text(encoding="utf-8").split("\n")
    return OriginalRun(
        stored,
        store_uri,
        dataclasses.replace(config, resume=None),
        [override for override in overrides if override],
        _read_manifest(stored.artifact_path("manifest.csv")),
    )


def failure_reason(run: StoredRun) -> str:
    """Return why a run did not finish, from the tag `thaw.reason`."""
    return run.tags.get(tracking.REASON_TAG, "it did not say why")


def read_outcome(run: StoredRun) -> RunOutcome:
    """Return a run's outcome from metrics and tags alone: a sweep's run may have no artifacts."""
    epochs: dict[int, dict[str, float]] = {}
    for name in ("learning_rate", "loss", "accuracy", "val_loss", "val_accuracy"):
        for epoch, value in run.metric_history(f"{EPOCH_PREFIX}{name}").items():
            epochs.setdefault(epoch, {})[name] = value
    fingerprint = tracking.fingerprint_entries(run.tags)
    return RunOutcome(
        data_sha256=fingerprint.get(DATA_SHA256),
        initial_sha256=fingerprint.get(WEIGHTS_SHA256),
        weights_sha256=run.tags.get(tracking.WEIGHTS_TAG) or _weights_sha256_of_result(run),
        epochs=epochs,
        final={name: value for name, value in run.metrics.items() if name.startswith(_FINAL_PREFIXES)},
        finished=run.status == "FINISHED",
    )


def _weights_sha256_of_result(run: StoredRun) -> str | None:
    """Return the hash of the final weights from result.json: early versions did not set the tag."""
    if run.status != "FINISHED":
        return None
    return str(json.loads(run.artifact_path("result.json").read_text(encoding="utf-8"))["weights_sha256"])


def _find(run: str, uri: str, outputs: Path) -> tuple[StoredRun, str]:
    folder = Path(run).expanduser()
    if not folder.is_dir():
        return tracking.find_run(uri, outputs, run), uri
    owner = tracking.find_run_of_folder(folder, uri, outputs)
    if owner is None:
        raise UserError(f"run={run} is a folder without a run.json that says which run it is: give the run's id")
    return owner


def _with_absolute_paths(config: Config, run: StoredRun) -> Config:
    """Resolve relative paths against the run's working directory; what is not there stays as it is."""
    cwd = Path(run.tags.get(tracking.CWD_TAG, "."))

    def absolute(path: str) -> str:
        resolved = cwd / Path(path).expanduser()
        return str(resolved.absolute()) if resolved.exists() else path

    dataset, backbone = config.dataset, config.backbone
    if dataset.path:
        dataset = dataclasses.replace(dataset, path=absolute(dataset.path))
    if backbone.weights not in ("imagenet", "none"):
        backbone = dataclasses.replace(backbone, weights=absolute(backbone.weights))
    cache = dataclasses.replace(config.cache, dir=str(cwd / Path(config.cache.dir).expanduser()))
    return dataclasses.replace(config, dataset=dataset, backbone=backbone, cache=cache)


def _read_manifest(file: Path) -> list[dict[str, str]]:
    rows = list(manifest.read_rows(file))
    missing = set(manifest.COLUMNS) - set(rows[0] if rows else manifest.COLUMNS)
    if missing:
        raise UserError(f"{file} is no manifest of this version of thaw: it has no column {min(missing)}")
    return rows
