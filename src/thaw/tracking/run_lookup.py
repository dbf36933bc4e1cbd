"""Runs read from the store: looked up by id, by its first characters, by folder, or as the best run of a sweep."""

import dataclasses
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from thaw.common.console import say
from thaw.common.errors import UserError
from thaw.config import command_lines
from thaw.config.registered_names import is_reference
from thaw.config.schema import BackboneConfig
from thaw.tracking import evaluation_runs, folder_owner, logged_model, model_registry, run_lock, unknown_run
from thaw.tracking.mlflow_store import MlflowStore, local_path, open_store, sqlite_path
from thaw.tracking.orphaned_runs import SWEEP_TAG

PARENT_TAG = "mlflow.parentRunId"
OVERRIDES_TAG = "thaw.overrides"
BEST_RUN_TAG = "thaw.best_run"
DRAFT_TAG = "thaw.draft"  # of a run with precision=draft
KEPT_TAG, HEAD = "thaw.kept", "head"  # of a run that ended with the head alone, as what was thawed made it worse
REPEATS_DRAFT_TAG = "thaw.repeats_draft"  # of a run in full precision: the id of the draft that it repeats
REUSED_BY = "thaw.reused_by."  # and the id of a sweep: tag of a run that the sweep took over
_MODEL_FILE = "model/model.keras"  # in a run's folder
_RUN_ID = re.compile("[0-9a-f]{6,32}")  # whole, or its beginning
_ARTIFACT = re.compile("runs:/([0-9a-f]{32})(?:/|$)")  # MLflow's name of what a run logged


@dataclass(frozen=True)
class StoredRun:
    """A run as the store has it.

    status: RUNNING, FINISHED, FAILED or KILLED. metrics: the last value of each. started, ended: milliseconds since the
    epoch. deleted: in MLflow, which keeps a deleted run until `mlflow gc`.
    """

    id: str
    name: str
    status: str
    params: dict[str, str]
    tags: dict[str, str]
    metrics: dict[str, float]
    artifact_uri: str
    experiment_id: str
    _store: MlflowStore = field(repr=False, compare=False)
    started: int | None = None
    ended: int | None = None
    deleted: bool = False

    def artifact_path(self, path: str = "") -> Path:
        """Return the local path of an artifact, or of all with no path; a server's are downloaded."""
        return _fetch(self.artifact_uri, path, self._store, self.id)

    def metric_history(self, name: str) -> dict[int, float]:
        """Return a metric's values by step; of several at one step the last."""
        points = self._store.client.get_metric_history(self.id, name)
        return {point.step: point.value for point in sorted(points, key=lambda point: (point.step, point.timestamp))}

    def experiment_name(self) -> str:
        """Return the name of the experiment that the run is in."""
        return str(self._store.client.get_experiment(self.experiment_id).name)

    def log_artifact(self, path: Path) -> None:
        """Log a file as an artifact of the run, which may have ended."""
        self._store.client.log_artifact(self.id, str(path))

    def set_tag(self, key: str, value: str) -> None:
        """Set a tag of the run, which may have ended."""
        self._store.client.set_tag(self.id, key, value)

    def model_file(self) -> Path:
        """Return the local `.keras` file of the network, from the store or else from the run's folder.

        Raises:
            UserError: Neither has one.
        """
        logged = logged_model.newest_complete_model(self._store, self.experiment_id, self.id)
        if logged is not None:
            return _fetch(logged.artifact_location, logged_model.KERAS_FILE, self._store, self.id)
        folder = run_lock.local_folder(self.tags)
        if folder is not None and (folder / _MODEL_FILE).is_file():
            owner = folder_owner.owner_of_folder(folder)
            if owner is not None and owner[0] == self.id:
                return folder / _MODEL_FILE
        if self.is_draft:
            raise UserError(
                f"run {self.id} ({self.name}) is a draft, of which no network is kept: train it with precision=auto"
            )
        raise UserError(
            f"run {self.id} ({self.name}, {self.status}) has no model in the store, and none in a folder on this "
            "machine. Was tracking.log_model=false, or tracking.complete=none?"
        )

    @property
    def is_sweep(self) -> bool:
        """Whether the run is a sweep, the parent of its runs."""
        return SWEEP_TAG in self.tags

    @property
    def is_evaluation(self) -> bool:
        """Whether the run is an evaluation of another run's network, and trained nothing."""
        return evaluation_runs.is_evaluation(self.tags)

    @property
    def is_draft(self) -> bool:
        """Whether the run was made in draft precision, to be compared with others."""
        return self.tags.get(DRAFT_TAG) == "True"

    @property
    def is_head_alone(self) -> bool:
        """Whether the run left out what it had thawed, and its network is that of its stage *head*."""
        return self.tags.get(KEPT_TAG) == HEAD

    @property
    def repeats_draft(self) -> bool:
        """Whether the run trained a sweep's best draft again in full precision, and so is the sweep's result."""
        return REPEATS_DRAFT_TAG in self.tags and self.status == "FINISHED"

    @property
    def overrides(self) -> str:
        """The overrides as typed, from the tag `thaw.overrides`."""
        return self.tags.get(OVERRIDES_TAG, "")

    @property
    def objective(self) -> float | None:
        """What a sweep compares, None unless logged."""
        return self.metrics.get("objective")

    def child_runs(self, status: str) -> "list[StoredRun]":
        """Return a sweep's runs with this status, those that it took over among them, highest objective first."""
        from thaw.tracking.run_search import iterate_runs  # which imports this module

        own = f"tags.`{PARENT_TAG}` = '{self.id}' AND attributes.status = '{status}'"
        taken_over = f"tags.`{REUSED_BY}{self.id}` = 'True' AND attributes.status = '{status}'"
        found = [run for each in (own, taken_over) for run in iterate_runs(self._store, each)]
        runs = {run.id: run for run in found}
        return sorted(
            runs.values(), key=lambda run: -math.inf if run.objective is None else run.objective, reverse=True
        )


def find_run(uri: str, outputs: Path, run_id: str) -> StoredRun:
    """Return the run with this id, or whose id begins with these 6 or more characters.

    `run_id` may be a registered model too, as `is_reference` says: it stands for its version's run. So does
    `runs:/RUN_ID/...`, which is MLflow's name of a run's artifact.

    Raises:
        UserError: There is no such run, it is deleted, or there is more than one; see `unknown_run.explain`.
    """
    database = sqlite_path(uri)
    if database is not None and not database.exists():  # opening would create it
        raise UserError(
            f"no run {run_id}: there is no store at {database} yet. Train first: "
            f"{command_lines.script_command('train')}"
        )
    store = open_store(uri, outputs)
    asked = run_id
    if is_reference(run_id):
        run_id = model_registry.run_id_of(store, run_id)
    elif of_run := _ARTIFACT.match(run_id):
        run_id = of_run[1]
    experiments = [e.experiment_id for e in store.client.search_experiments()]
    matches = []
    if re.fullmatch("[0-9a-f]{6,32}", run_id):
        matches = list(store.client.search_runs(experiments, f"attributes.run_id LIKE '{run_id}%'", max_results=2))
    if len(matches) != 1:
        raise UserError(unknown_run.explain(store, asked, run_id, experiments, several=bool(matches)))
    return stored_run_of_mlflow(store, matches[0])


def find_run_of_folder(folder: Path, uri: str, outputs: Path) -> tuple[StoredRun, str] | None:
    """Return the run or sweep that a folder belongs to, and its store's URI; None when it belongs to no run.

    `uri` is the store to use when the SQLite file that run.json names was moved together with all outputs.
    """
    owner = folder_owner.owner_of_folder(folder)
    if owner is None:
        return None
    run_id, original_uri = owner
    database = sqlite_path(original_uri)
    store_uri = original_uri if database is None or database.exists() else uri
    return find_run(store_uri, outputs, run_id), store_uri


def best_run(run: StoredRun, report: Callable[[str], None] = say) -> StoredRun:
    """Return the best run of a sweep, and report which it is; return any other run that trained as it is.

    Runs that repeat a draft in full precision come first, and drafts, which keep no network, last.

    Raises:
        UserError: No run of the sweep has finished, or the run is an evaluation.
    """
    evaluation_runs.refuse_evaluation(run.id, run.name, run.tags)
    if not run.is_sweep:
        return run
    finished = [child for child in run.child_runs("FINISHED") if child.objective is not None]
    best_id = run.tags.get(BEST_RUN_TAG)
    # The highest objective is first already; the sweep itself knows whether it is the best.
    finished.sort(key=lambda child: (not child.repeats_draft, child.is_draft, child.id != best_id))
    if not finished:
        raise UserError(f"run {run.id} is a sweep ({run.name}, {run.status}) of which no run has finished")
    best = finished[0]
    report(f"{run.id} is a sweep: this is its best run, {best.id}, objective {best.objective:.4f}: {best.overrides}")
    return best


def resolve_run_weights(backbone: BackboneConfig, uri: str, outputs: Path) -> BackboneConfig:
    """Return the config with `weights` replaced by a run's model file, when it is a run's id or folder.

    A sweep stands for its best run. Any other `weights` stays as it is.
    """
    weights = backbone.weights
    if weights in ("imagenet", "none") or Path(weights).expanduser().is_file():
        return backbone
    folder = Path(weights).expanduser()
    owner = find_run_of_folder(folder, uri, outputs) if folder.is_dir() else None
    run = owner[0] if owner else find_run(uri, outputs, weights)
    return dataclasses.replace(backbone, weights=str(best_run(run).model_file()))


def pin_run_weights(backbone: BackboneConfig, uri: str, outputs: Path) -> BackboneConfig:
    """Return the config with `weights` replaced by a run's id, when it is a registered model, or a sweep's id.

    An alias moves, and so does a sweep's best run until it ends: a run that is reproduced next year begins with the
    network that it began with, and is not taken for one that began with another.
    """
    weights = backbone.weights
    if Path(weights).expanduser().exists() or not (is_reference(weights) or _RUN_ID.fullmatch(weights)):
        return backbone
    run = find_run(uri, outputs, weights)
    if not (run.is_sweep or is_reference(weights)):
        return backbone
    best = best_run(run, report=lambda line: None)
    say(f"backbone.weights={weights} is run {best.id} ({best.name})")
    return dataclasses.replace(backbone, weights=best.id)


def stored_run_of_mlflow(store: MlflowStore, run: Any) -> StoredRun:
    """Return MLflow's run as a StoredRun."""
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
        started=run.info.start_time,
        ended=run.info.end_time,
        deleted=run.info.lifecycle_stage != "active",
    )


def _fetch(location: str, path: str, store: MlflowStore, run_id: str) -> Path:
    folder = local_path(location)
    if folder is None:
        from mlflow.artifacts import download_artifacts

        uri = f"{location}/{path}".rstrip("/")
        return Path(store.client.retry(partial(download_artifacts, uri, tracking_uri=store.uri), notice=False))
    if not (folder / path).exists():
        raise UserError(f"run {run_id} has no artifact {folder / path}. Was the outputs folder moved or cleared?")
    return folder / path
