"""The MLflow store that runs are logged to: opened, or created once however many jobs start together."""

import os
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock

from thaw.common.errors import UserError
from thaw.common.quick_imports import collection_paused
from thaw.config import command_lines
from thaw.tracking import mlflow_limits, mlflow_page, store_schema
from thaw.tracking.retry import RetryingClient, StoreRefused, root_cause, suggest_remedy

# Set before mlflow is imported, unless the user has set them. CRITICAL, as errors reach thaw as exceptions anyway.
_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
    # MLflow would repeat a failed request 7 times in 4 minutes, whether it was stored or not; retry.py does better.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
}
# Only for the first request to a server.
_SHORT_TIMEOUT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}
_SQLITE = "sqlite:///"
_SERVERS = ("http://", "https://", "databricks")  # they choose where artifacts go
_DATABASES = ("postgresql", "mysql", "mssql")


@dataclass(frozen=True)
class MlflowStore:
    """An open store.

    uri: absolute. artifact_folder: None when a server chooses it. client: MLflow's, which waits while the store is
    locked or unreachable.
    """

    uri: str
    outputs: Path
    artifact_folder: Path | None
    client: RetryingClient

    def experiment_id(self, name: str) -> str:
        """Return the id of the experiment `name`, which is created if there is none.

        Raises:
            UserError: It was deleted, its name is too long, or its artifact folder is gone. MLflow stores that folder
                as an absolute path, and would create it again at the old path after `outputs` was moved.
        """
        experiment = self.client.get_experiment_by_name(name)
        if experiment is None:
            if len(name) > mlflow_limits.EXPERIMENT_LENGTH:
                raise UserError(
                    f"tracking.experiment={name} is {len(name)} characters long; stores take "
                    f"{mlflow_limits.EXPERIMENT_LENGTH}"
                )
            try:
                return str(self.client.create_experiment(name, self._new_artifacts(), mlflow_page.experiment_tags()))
            except StoreRefused:  # another job was faster
                experiment = self.client.get_experiment_by_name(name)
                if experiment is None:
                    raise
        if experiment.lifecycle_stage != "active":
            raise UserError(
                f"tracking.experiment={name} was deleted from {self.uri}. Choose another name, or restore it: "
                + command_lines.mlflow_command(
                    self.uri, f"experiments restore --experiment-id {experiment.experiment_id}"
                )
            )
        artifacts = local_path(experiment.artifact_location)
        if self.artifact_folder is not None and artifacts is not None and not artifacts.exists():
            raise UserError(
                f"tracking.experiment={name} in {self.uri} keeps its artifacts in {artifacts}, which does not exist. "
                f"Was the folder moved? Move it back, or choose another tracking.experiment."
            )
        self._set_kind(experiment)
        return str(experiment.experiment_id)

    def _set_kind(self, experiment: Any) -> None:
        """Set the tags of an experiment that has no kind: it is of an earlier version or another program."""
        if mlflow_page.has_kind(experiment.tags):
            return
        for key, value in mlflow_page.experiment_tags().items():
            with suppress(StoreRefused):  # a user who may not change the experiment may log to it all the same
                self.client.set_experiment_tag(experiment.experiment_id, key, value)

    def _new_artifacts(self) -> str | None:
        if self.artifact_folder is None:
            return None
        location = self.artifact_folder.as_uri()
        if self.uri.startswith(_DATABASES) and len(location) > mlflow_limits.ARTIFACT_URI_LENGTH:
            raise UserError(
                f"outputs={self.outputs} is too long a path for {self.uri}: with artifacts in it, it makes an address "
                f"of {len(location)} characters, and the database takes {mlflow_limits.ARTIFACT_URI_LENGTH}. "
                "Choose a shorter one"
            )
        self.artifact_folder.mkdir(parents=True, exist_ok=True)
        return location


def open_store(uri: str, outputs: Path) -> MlflowStore:
    """Open the store at `uri`; a missing SQLite file is created, once however many processes open it together.

    A relative `sqlite:///` path is resolved against the current folder. Artifacts go to `outputs/artifacts`, unless
    `uri` is a server.

    Raises:
        UserError: The store cannot be reached or used; raised within seconds.
    """
    outputs = Path(outputs).absolute()
    database = sqlite_path(uri)
    if database is not None:
        return _open_sqlite(database, outputs)
    if not uri.startswith(_SERVERS + _DATABASES):
        raise _unusable(uri, "no such kind of store")
    return MlflowStore(uri, outputs, outputs / "artifacts" if uri.startswith(_DATABASES) else None, _connect(uri))


def sqlite_path(uri: str) -> Path | None:
    """Return the absolute path of a `sqlite:///` URI's file, or None for another kind of store."""
    return Path(uri.removeprefix(_SQLITE)).absolute() if uri.startswith(_SQLITE) else None


def local_path(location: str) -> Path | None:
    """Return an artifact location as a path, or None when it is on a server."""
    quiet_mlflow()
    from mlflow.utils.file_utils import local_file_uri_to_path
    from mlflow.utils.uri import is_local_uri

    return Path(local_file_uri_to_path(location)) if is_local_uri(location) else None


def quiet_mlflow() -> None:
    """Turn off MLflow's telemetry, log lines, progress bars and retries; call it before every import of mlflow."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)


def _open_sqlite(database: Path, outputs: Path) -> MlflowStore:
    uri = _SQLITE + database.as_posix()
    artifacts = outputs / "artifacts"
    if set("%?") & set(uri):
        raise _unusable(uri, "a path with % or ? in it means another file to SQLAlchemy")
    quiet_mlflow()
    with collection_paused():
        from mlflow import MlflowClient
        from mlflow.store.tracking import sqlalchemy_store  # noqa: F401  # the client would import it

    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        if database.exists():
            store_schema.check_schema(database)
        else:
            with FileLock(database.with_name(database.name + ".lock")):
                if not database.exists():
                    _create_database(database, artifacts)
        database.open("r+b").close()  # fails at once where MLflow would try for 100 seconds
        return MlflowStore(uri, outputs, artifacts, RetryingClient(lambda: MlflowClient(uri), uri, (database,)))
    except StoreRefused as refused:
        raise _unusable(uri, refused.__cause__) from refused
    except store_schema.UnusableDatabase as unfit:
        raise UserError(f"tracking.uri={uri} cannot be used: {unfit}") from None
    except UserError:
        raise
    except Exception as error:  # of the file system, SQLAlchemy, alembic or MLflow
        raise _unusable(uri, error) from error


def _create_database(database: Path, artifacts: Path) -> None:
    # Created under another name: Ctrl-C during MLflow's migrations would leave a database that no later run can open.
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    temporary = database.with_name(database.name + ".new")
    temporary.unlink(missing_ok=True)
    SqlAlchemyStore(_SQLITE + temporary.as_posix(), artifacts.as_uri()).engine.dispose()
    temporary.replace(database)


def _connect(uri: str) -> RetryingClient:
    quiet_mlflow()
    with collection_paused():
        from mlflow import MlflowClient

    with _environment(_SHORT_TIMEOUT):
        try:
            client = MlflowClient(uri)
            client.search_experiments(max_results=1)
        except Exception as error:  # of MLflow, of a missing database driver, of a misspelt scheme
            raise _unusable(uri, error) from error
    return RetryingClient(lambda: client, uri)


def _unusable(uri: str, error: object) -> UserError:
    if isinstance(error, ModuleNotFoundError):  # SQLAlchemy imports the driver that the URI names
        return UserError(
            f"tracking.uri={uri} cannot be used: the database's driver is not installed (Python package "
            f"{error.name}). Install it, or name another in the URI, as in postgresql+psycopg://"
        )
    text = f"{getattr(error, 'error_code', '')} {error}"
    if "valid JSON format" in text or re.search(r"error code (30\d|40[45]|501)", text):
        return UserError(
            f"tracking.uri={uri} cannot be used: what answers there is no MLflow server. Is it the port of another "
            "program? A server is started with: mlflow server --host 127.0.0.1 --port PORT"
        )
    if "out-of-date database schema" in text:
        return UserError(
            f"tracking.uri={uri} cannot be used: its tables are of another version of MLflow than this one, "
            f"{version('mlflow')}. If they are older: make a copy, then mlflow db upgrade {shlex.quote(uri)}. "
            "If they are newer: install that MLflow here"
        )
    if advice := suggest_remedy(uri, error) if isinstance(error, BaseException) else "":
        return UserError(f"tracking.uri={uri} cannot be used: {root_cause(error)}. {advice}")
    if "too many" in text:
        return UserError(f"tracking.uri={uri} cannot be used: {root_cause(error)}. The server's own log says why")
    advice = (
        "Is it running?" if uri.startswith(_SERVERS + _DATABASES) else "Expected sqlite:///FILE or http://HOST:PORT."
    )
    return UserError(f"tracking.uri={uri} cannot be used: {root_cause(error)}. {advice}")


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Set environment variables in the block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
