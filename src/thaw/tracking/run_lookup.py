"""Runs read back: found by id, by the beginning of it, by their folder, or as the best of a sweep."""

import dataclasses
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from thaw.common.console import say
from thaw.common.errors import UserError, joined
from thaw.config import command_lines
from thaw.config.schema import BackboneConfig
from thaw.tracking import folder_owner, logged_model, run_lock
from thaw.tracking.mlflow_store import MlflowStore, local_path, open_store, sqlite_path
from thaw.tracking.orphaned_runs import SWEEP_TAG

# Tags.
PARENT_TAG = "mlflow.parentRunId"
OVERRIDES_TAG = "thaw.overrides"
BEST_RUN_TAG = "thaw.best_run"
_KEPT = "model/model.keras"  # where a run's folder has the network


@dataclass(frozen=True)
class StoredRun:
    """A run read back. `status` is RUNNING, FINISHED, FAILED or KILLED; `metrics` holds the last value of each."""

    id: str
    name: str
    status: str
    params: dict[str, str]
    tags: dict[str, str]
    metrics: dict[str, float]
    artifact_uri: str
    experiment_id: str
    _store: MlflowStore = field(repr=False, compare=False)

    def artifact_path(self, path: str = "") -> Path:
        """Return the local path of an artifact, or of all with no path; from a server it is fetched first."""
        return _fetch(self.artifact_uri, path, self._store, self.id)

    def metric_history(self, name: str) -> dict[int, float]:
        """Return a metric's values by step, the last logged of each."""
        points = self._store.client.get_metric_history(self.id, name)
        return {point.step: point.value for point in sorted(points, key=lambda point: (point.step, point.timestamp))}

    def log_artifact(self, path: Path) -> None:
        """Keep a copy of a file as an artifact of the run, which may have ended."""
        self._store.client.log_artifact(self.id, str(path))

    def set_tag(self, key: str, value: str) -> None:
        """Set a tag of the run, which may have ended."""
        self._store.client.set_tag(self.id, key, value)

    def model_file(self) -> Path:
        """Return the local `.keras` file of the network: the one in the store, or else the one in the run's folder."""
        logged = logged_model.newest_ready(self._store, self.experiment_id, self.id)
        if logged is not None:
            return _fetch(logged.artifact_location, logged_model.KERAS_FILE, self._store, self.id)
        folder = run_lock.local_folder(self.tags)
        if folder is not None and (folder / _KEPT).is_file():
            known = folder_owner.owner_of_folder(folder)
            if known is not None and known[0] == self.id:
                return folder / _KEPT
        raise UserError(
            f"run {self.id} ({self.name}, {self.status}) has no model in the store, and none in a folder on this "
            "machine. Was tracking.log_model=false, or tracking.complete=none?"
        )

    @property
    def is_sweep(self) -> bool:
        """Whether it is the parent of a sweep's runs."""
        return SWEEP_TAG in self.tags

    def child_runs(self, status: str) -> "list[StoredRun]":
        """Return a sweep's runs with this status, the best objective first."""
        found = self._store.client.search_runs(
            [self.experiment_id],
            f"tags.`{PARENT_TAG}` = '{self.id}' AND attributes.status = '{status}'",
            order_by=["metrics.objective DESC"],
        )
        return [from_mlflow(self._store, run) for run in found]


def find_run(uri: str, outputs: Path, run_id: str) -> StoredRun:
    """Look up a run by its id, or by the first 6 or more characters of it.

    Raises UserError when no run, or more than one, answers to it; the message lists the latest runs.
    """
    database = sqlite_path(uri)
    if database is not None and not database.exists():  # do not create a store to find nothing in it
        raise UserError(
            f"no run {run_id}: there is no store at {database} yet. Train first: "
            f"{command_lines.script_command('train')}"
        )
    store = open_store(uri, outputs)
    experiments = [e.experiment_id for e in store.client.search_experiments()]
    found = []
    if re.fullmatch("[0-9a-f]{6,32}", run_id):
        found = list(store.client.search_runs(experiments, f"attributes.run_id LIKE '{run_id}%'", max_results=2))
    if len(found) != 1:
        latest = store.client.search_runs(experiments, max_results=5, order_by=["attributes.start_time DESC"])
        names = joined(f"{run.info.run_id} ({run.info.run_name})" for run in latest) or "none"
        what = f"{run_id} is the beginning of more than one run" if found else f"no run {run_id}"
        raise UserError(f"{what} in {store.uri}. The latest runs: {names}.")
    return from_mlflow(store, found[0])


def find_run_of_folder(folder: Path, uri: str, outputs: Path) -> tuple[StoredRun, str] | None:
    """Look up the run, or the sweep, whose folder this is; also return its store. None when it is the folder of none.

    uri: of the store that is asked when the run's own, a SQLite file, is no longer where it was.
    """
    known = folder_owner.owner_of_folder(folder)
    if known is None:
        return None
    run_id, noted = known
    database = sqlite_path(noted)
    store = noted if database is None or database.exists() else uri  # moved with all outputs
    return find_run(store, outputs, run_id), store


def best_run(run: StoredRun, report: Callable[[str], None] = say) -> StoredRun:
    """Return the best run of a sweep, and say which; a run that is no sweep is returned as it is.

    Raises UserError when no run of the sweep has finished.
    """
    if not run.is_sweep:
        return run
    finished = [job for job in run.child_runs("FINISHED") if "objective" in job.metrics]
    noted = run.tags.get(BEST_RUN_TAG)
    best = next((job for job in finished if job.id == noted), finished[0] if finished else None)
    if best is None:
        raise UserError(f"run {run.id} is a sweep ({run.name}, {run.status}) of which no run has finished")
    report(
        f"{run.id} is a sweep: this is its best run, {best.id}, objective {best.metrics['objective']:.4f}: "
        f"{best.tags.get(OVERRIDES_TAG, '')}"
    )
    return best


def resolve_run_weights(backbone: BackboneConfig, uri: str, outputs: Path) -> BackboneConfig:
    """`backbone.weights=RUN_ID`, or a run's folder: put the weights file that the run kept in its place.

    Of a sweep it is the best run's. Anything else stays as it is.
    """
    weights = backbone.weights
    if weights in ("imagenet", "none") or Path(weights).expanduser().is_file():
        return backbone
    folder = Path(weights).expanduser()
    known = find_run_of_folder(folder, uri, outputs) if folder.is_dir() else None
    run = known[0] if known else find_run(uri, outputs, weights)
    return dataclasses.replace(backbone, weights=str(best_run(run).model_file()))


def from_mlflow(store: MlflowStore, run: Any) -> StoredRun:
    """Turn MLflow's run into ours."""
    return StoredRun(
        id=run.info.run_id,
        name=run.info.run_name,
        status=run.info.status,
        params=dict(run.data.params),
        tags=dict(run.data.tags),
        metrics=dict(run.data.metrics),
        artifact_uri=run.info.artifact_uri,
        experiment_id=run.info.experiment_id,
        _store=store,
    )


def _fetch(location: str, path: str, store: MlflowStore, run_id: str) -> Path:
    folder = local_path(location)
    if folder is None:
        from mlflow.artifacts import download_artifacts

        uri = f"{location}/{path}".rstrip("/")
        fetched = store.client.retry(lambda: download_artifacts(artifact_uri=uri, tracking_uri=store.uri), notice=False)
        return Path(fetched)
    if not (folder / path).exists():
        raise UserError(f"run {run_id} has no artifact {folder / path}. Was the outputs folder moved or cleared?")
    return folder / path
