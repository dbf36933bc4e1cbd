"""MLflow's model registry: a run's network under a name that people know, and which version is the champion."""

import json
import math
import re
from dataclasses import asdict, dataclass
from typing import Any

from filelock import FileLock

from thaw.common.errors import UserError, did_you_mean, joined
from thaw.config.registered_names import REFERENCE, SHORT, name_problem
from thaw.tracking import logged_model
from thaw.tracking.mlflow_store import MlflowStore
from thaw.tracking.retry import StoreRefused

CHAMPION = "champion"
TEST_TAG, ACCURACY_TAG, LOSS_TAG = "thaw.test_sha256", "thaw.test_accuracy", "thaw.test_loss"  # of a version
DESCRIPTION_LENGTH = 5000  # of MLflow's column

_PAGE = 1000  # versions of one answer
_LOGGED = re.compile(r"models:/(m-[0-9a-f]{32})")


@dataclass(frozen=True)
class Candidate:
    """A run's network for the registry.

    test_sha256: of its test images and their classes; two networks with the same one can be compared. accuracy, loss:
    on these images. test_images: how many. description: Markdown.
    """

    test_sha256: str
    accuracy: float
    loss: float
    test_images: int
    description: str

    def to_json(self) -> str:
        """Return the fields as JSON."""
        return json.dumps(asdict(self), indent=2) + "\n"


def run_id_of(store: MlflowStore, reference: str) -> str:
    """Return the id of the run whose network is registered under a reference; without a version the newest.

    Raises:
        UserError: there is no such model, version or alias, or it is of no run.
    """
    if logged := _LOGGED.fullmatch(reference):
        return _run_id(_found(store, "get_logged_model", logged[1], what=reference).source_run_id, reference)
    match = REFERENCE.fullmatch(reference) or SHORT.fullmatch(reference)
    if match is None:
        raise UserError(f"{reference} names no registered model: models:/NAME, models:/NAME/3 or models:/NAME@champion")
    parts = match.groupdict()
    name, version, alias = parts["name"], parts.get("version"), parts["alias"]
    if alias is None and version in (None, "latest"):
        versions = _versions(store, name)
        if not versions:
            raise UserError(_unknown(store, name))
        return _run_id(max(versions, key=lambda found: int(found.version)).run_id, reference)
    if alias is not None and alias != "latest":
        return _run_id(_found(store, "get_model_version_by_alias", name, alias, what=reference).run_id, reference)
    return _run_id(_found(store, "get_model_version", name, version, what=reference).run_id, reference)


def is_registered(store: MlflowStore, name: str) -> bool:
    """Return whether a model is registered under a name."""
    if name_problem(name):
        return False
    try:
        store.client.get_registered_model(name)
    except StoreRefused:
        return False
    return True


def registered_runs(store: MlflowStore) -> dict[str, str]:
    """Return the registered versions by the id of their run, as `NAME version 3`; of several of a run one."""
    runs, token = dict[str, str](), None
    while True:
        page = store.client.search_model_versions(max_results=_PAGE, page_token=token)
        runs |= {version.run_id: f"{version.name} version {version.version}" for version in page if version.run_id}
        token = page.token
        if not token:
            return runs


def register(store: MlflowStore, experiment_id: str, run_id: str, name: str, candidate: Candidate) -> str:
    """Register a run's network, once, and make it the champion where it is better than it; return what was done.

    It is better with a higher accuracy on the same test images, and with the same accuracy if its loss is lower.

    Raises:
        UserError: the run has no network in the store, or the store refuses.
    """
    model = logged_model.newest_complete_model(store, experiment_id, run_id)
    if model is None:
        raise UserError(f"run {run_id} has no network in the store")
    with FileLock(store.outputs / "registry.lock"):  # jobs of a sweep may end at once
        _create_name(store, name)
        version = _create_version(store, name, run_id, model, candidate)
        return f"registered as {name} version {version} · {_promote(store, name, version, candidate)}"


def _create_name(store: MlflowStore, name: str) -> None:
    try:
        store.client.create_registered_model(name)
    except StoreRefused as refused:
        if refused.code != "RESOURCE_ALREADY_EXISTS":
            raise


def _create_version(store: MlflowStore, name: str, run_id: str, model: Any, candidate: Candidate) -> str:
    """Return the run's version of a registered model, which is created if there is none."""

    def find_earlier() -> Any:
        return next((version for version in _versions(store, name) if version.run_id == run_id), None)

    def create() -> Any:
        return store.client.mlflow_client.create_model_version(
            name,
            model.artifact_location,  # not models:/m-...: MLflow would look that up in the process-wide store
            run_id=run_id,
            tags={
                TEST_TAG: candidate.test_sha256,
                ACCURACY_TAG: repr(candidate.accuracy),
                LOSS_TAG: repr(candidate.loss),
            },
            description=candidate.description[:DESCRIPTION_LENGTH],
            model_id=model.model_id,
        )

    return str((find_earlier() or store.client.retry(create, find_earlier)).version)


def _promote(store: MlflowStore, name: str, version: str, candidate: Candidate) -> str:
    """Move the alias to a version where that is right, and return what was done and why."""
    champion = _champion(store, name)
    if champion is not None and str(champion.version) == version:
        return f"it is the {CHAMPION}"
    if champion is None:
        store.client.set_registered_model_alias(name, CHAMPION, version)
        return f"{CHAMPION}: there was none"
    tags, was = champion.tags, f"version {champion.version}"
    if _run_is_deleted(store, champion):  # its network cannot be used, however good it was
        store.client.set_registered_model_alias(name, CHAMPION, version)
        return f"{CHAMPION} instead of {was}, whose run is deleted"
    if tags.get(TEST_TAG) != candidate.test_sha256:
        return f"{CHAMPION} stays {was}: it was tested on other images, so the two cannot be compared"
    accuracy, loss = float(tags[ACCURACY_TAG]), float(tags[LOSS_TAG])
    images = f"on the same {candidate.test_images:,} test images"
    figures = f"accuracy {candidate.accuracy:.4f} against {accuracy:.4f}"
    if candidate.accuracy == accuracy:
        figures += f", loss {candidate.loss:.4f} against {loss:.4f}"
    if _rank(candidate.accuracy, candidate.loss) > _rank(accuracy, loss):
        store.client.set_registered_model_alias(name, CHAMPION, version)
        return f"{CHAMPION} instead of {was}: {figures} {images}"
    return f"{CHAMPION} stays {was}: {figures} {images}"


def _run_is_deleted(store: MlflowStore, version: Any) -> bool:
    """Return whether a version's run was deleted in MLflow, or removed by `mlflow gc` after that."""
    if not version.run_id:
        return False
    try:
        return bool(store.client.get_run(version.run_id).info.lifecycle_stage != "active")
    except StoreRefused as refused:
        if refused.code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return TEST_TAG in version.tags  # else it was registered by hand, and its run may be of another store


def _rank(accuracy: float, loss: float) -> tuple[float, float]:
    return accuracy, -loss if math.isfinite(loss) else -math.inf


def _champion(store: MlflowStore, name: str) -> Any | None:
    version = store.client.get_registered_model(name).aliases.get(CHAMPION)
    return None if version is None else store.client.get_model_version(name, str(version))


def _versions(store: MlflowStore, name: str) -> list[Any]:
    quoted = name.replace("'", "''")
    return list(store.client.search_model_versions(f"name='{quoted}'"))


def _found(store: MlflowStore, method: str, *arguments: object, what: str) -> Any:
    try:
        return getattr(store.client, method)(*arguments)
    except StoreRefused as refused:
        if refused.code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        name = str(arguments[0])
        versions = sorted((int(version.version) for version in _versions(store, name)), reverse=True)
        if not versions:
            raise UserError(_unknown(store, name)) from None
        aliases = joined(sorted(store.client.get_registered_model(name).aliases)) or "none"
        raise UserError(
            f"{what} is not in {store.uri}: {name} has the versions {joined(versions[:10])}, and aliases: {aliases}"
        ) from None


def _unknown(store: MlflowStore, name: str) -> str:
    names = [model.name for model in store.client.search_registered_models(max_results=100)]
    known = f"There are: {joined(names)}" if names else "None is: train with tracking.register=NAME"
    return f"no model {name} is registered in {store.uri}.{did_you_mean(name, names)} {known}"


def _run_id(run_id: str | None, reference: str) -> str:
    if not run_id:
        raise UserError(f"{reference} is of no run, so thaw knows neither its config nor its classes")
    return run_id
