"""One run: opened before the work, fed while it goes on, closed with the right status whatever happens."""

import getpass
import json
import shutil
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from thaw.common.console import say
from thaw.common.errors import UserError
from thaw.config import command_lines
from thaw.config.schema import TrackingConfig
from thaw.tracking import folder_owner, logged_model, mlflow_limits, orphaned_runs, reopen, retry, run_lock, spool
from thaw.tracking.mlflow_store import MlflowStore, local_path, open_store
from thaw.tracking.reopen import REASON_TAG, LoggedState
from thaw.tracking.retry import StoreRefused, StoreUnreachable
from thaw.tracking.run_lookup import PARENT_TAG
from thaw.tracking.write_queue import WriteQueue

OBJECTIVE_TAG = "thaw.objective"
WEIGHTS_TAG = "thaw.weights_sha256"  # of the final network


class RunNotClosed(UserError):
    """The work was done, and its run could not be closed in the store."""


class TrackedRun:
    """A run that is being written.

    Metrics and tags are in the store after a second, and when the run is closed; what the other methods log is there
    before they return. While the store is locked or away these wait, with patience and a line that says so; metrics
    and tags are kept until it is back.

    Before the first `flush` all methods raise Refused and Unanswered. After it the work has begun, and none does: what
    the store does not take waits in the folder's `unsent.json`, and the run's end says so.
    """

    def __init__(
        self, store: MlflowStore, experiment_id: str, run_id: str, folder: Path, before: LoggedState | None = None
    ) -> None:
        self.id, self.experiment_id, self.folder = run_id, experiment_id, folder
        self.resumed_tags: Mapping[str, str] = before.tags if before else {}  # the tags of a resumed run, as they were
        self._store, self._client = store, store.client
        self._before = before
        self._outbox = WriteQueue(store, run_id, folder)

    def log_params(self, params: Mapping[str, object]) -> None:
        """Log flat parameters: the config, the fingerprint. A value is cut at 6,000 characters, MLflow's limit.

        What a resumed run has logged before stays as it is: MLflow allows no param to change.
        """
        from mlflow.entities import Param

        own = mlflow_limits.fit_keys(params)
        entries = [
            Param(own[key], mlflow_limits.fit_value(value, mlflow_limits.PARAM_LENGTH)) for key, value in params.items()
        ]
        if self._before is not None:
            entries = [entry for entry in entries if entry.key not in self._before.params]
        for batch in _chunks(entries, mlflow_limits.ENTRIES_PER_BATCH):
            self._outbox.call_or_spool(lambda batch=batch: self._client.log_batch(self.id, params=batch), lambda: None)  # type: ignore[misc]

    def set_tags(self, tags: Mapping[str, object]) -> None:
        """Set tags; a value is cut at 8,000 characters, MLflow's limit. Tags may be set again, params may not."""
        self._outbox.add([], _tags(tags))

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Log numbers at `step`: the epoch, counted on over all stages, or 0 for figures of the whole run.

        A resumed run trains the epochs after its checkpoint again: what is in the store from before is not repeated.
        """
        from mlflow.entities import Metric

        now, own = int(time.time() * 1000), mlflow_limits.fit_keys(metrics)
        entries = [Metric(own[key], float(value), now, step) for key, value in metrics.items()]
        if self._before is not None:
            entries = [entry for entry in entries if not self._before.has_metric(entry.key, entry.step, entry.value)]
        self._outbox.add(entries, {})

    def command_line(self, script: str, key: str) -> str:
        """Return the command that names this run: `python scripts/reproduce.py run=RUN_ID`."""
        return command_lines.run_command(script, key, self.id, self.folder, self._store.uri)

    def flush(self) -> None:
        """Send the metrics and tags that wait."""
        self._outbox.flush()

    def log_objective(self, name: str, value: float) -> None:
        """Log what a sweep compares: metric `objective`, and its name as the tag `thaw.objective`."""
        self.log_metrics({"objective": value})
        self.set_tags({OBJECTIVE_TAG: name})
        self.flush()

    def log_text(self, text: str, artifact_file: str) -> None:
        """Keep `text` as the artifact `artifact_file`, such as `git/diff.txt`."""

        def in_folder() -> tuple[str, str | None]:
            file = self.folder / Path(artifact_file).name
            file.write_text(text, encoding="utf-8")
            return file.name, Path(artifact_file).parent.as_posix().removeprefix(".") or None

        self._outbox.call_or_spool(lambda: self._client.log_text(self.id, text, artifact_file), in_folder)

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Keep a copy of a file, or of a folder's contents, in the artifact folder `folder`."""
        path = Path(path).absolute()
        place = path.relative_to(self.folder) if path.is_relative_to(self.folder) else path
        self._outbox.call_or_spool(
            lambda: spool.upload(self._store, self.id, path, folder), lambda: (place.as_posix(), folder)
        )

    def log_dataset(
        self,
        name: str,
        digest: str,
        source: str,
        *,
        profile: Mapping[str, object] | None = None,
        context: str = "training",
    ) -> None:
        """Log the data set as the run's input, under our own digest: MLflow's reads only the first 10,000 elements.

        MLflow takes 36 characters: of a sha256 the first 36 are the digest, and all 64 are in the profile.
        `profile` holds counts (images, classes, ...) and names; names that are too many for a database are left out.
        """
        content = json.dumps({**(profile or {}), "sha256": digest})
        if (
            len(content) > mlflow_limits.DATASET_PROFILE_LENGTH
        ):  # names of 21,000 classes; they are in network/classes.json too
            counts = {key: value for key, value in (profile or {}).items() if isinstance(value, int | float)}
            content = json.dumps({**counts, "sha256": digest})
        entry = {
            "name": mlflow_limits.fit_title(name, mlflow_limits.DATASET_NAME_LENGTH),
            "digest": digest[: mlflow_limits.DATASET_DIGEST_LENGTH],
            "source_type": "local",
            "source": json.dumps({"uri": source}),
            "profile": content,
            "context": context,
        }
        if not self._outbox.call_or_spool(
            lambda: self._client.log_inputs(self.id, [spool.dataset_input(entry)]), lambda: None
        ):
            self._outbox.spool_dataset(entry)

    def log_model(self, model: Any, *, metadata: Mapping[str, object] | None = None) -> Path | None:
        """Keep a built Keras model as the run's logged model `model`; return its `.keras` file.

        Returns None on a server, and when the store does not take it: then `RunInfo.model` finds the run folder's own.

        The signature is the model's own inputs and outputs with a free batch (-1); requirements are this
        environment's exact versions, so nothing is inferred. The optimizer's state is left out: with Adam it would
        make the file three times as large. `metadata` must be JSON: class names, say.
        `mlflow.keras.load_model("runs:/RUN_ID/model")` loads it.
        """
        made: list[Path | None] = []
        self._outbox.call_or_spool(lambda: made.append(self._log_model(model, metadata)), lambda: None)
        return made[0] if made else None

    def _log_model(self, model: Any, metadata: Mapping[str, object] | None) -> Path | None:
        from mlflow.entities import LoggedModelOutput

        # As log_model(name="model") does, but with our client: log_model writes to the process-wide tracking URI.
        logged = self._client.create_logged_model(self.experiment_id, name="model", source_run_id=self.id)
        aside = self.folder / ".model"  # the system's temporary folder may be too small for a network
        try:
            shutil.rmtree(aside, ignore_errors=True)  # a kill may have left it
            logged_model.write_model(model, logged, self.id, aside, metadata)
            self._client.log_model_artifacts(logged.model_id, str(aside))
            self._client.retry(
                lambda: self._client.mlflow_client.log_outputs(self.id, [LoggedModelOutput(logged.model_id, step=0)]),
                lambda: logged_model.is_run_output(self._store, self.id, logged.model_id),
            )
            self._client.finalize_logged_model(logged.model_id, "READY")
        except BaseException as error:
            if not isinstance(error, StoreUnreachable):  # it would not answer this either
                with suppress(StoreRefused):
                    self._client.finalize_logged_model(logged.model_id, "FAILED")
            raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        logged_model.remove_other_models(self._store, self.experiment_id, self.id, logged.model_id)
        folder = local_path(logged.artifact_location)
        return folder / logged_model.KERAS_FILE if folder else None


@contextmanager
def start_run(
    tracking: TrackingConfig,
    outputs: Path,
    *,
    name: str,
    folder: Path,
    tags: Mapping[str, object] | None = None,
    parent: str | None = None,
    resume: str | None = None,
) -> Iterator[TrackedRun]:
    """Open a run, and close it when the block ends: FINISHED, FAILED after an error, KILLED after Ctrl-C or SystemExit.

    A run that did not finish says why in the tag `thaw.reason`; an error that is not the user's leaves its traceback
    as the artifact `traceback.txt`. `parent` is a sweep's run. SIGTERM ends a process without a word, unless the
    caller's handler turns it into an exception; one that is no `Exception`, such as SystemExit(143), gives KILLED.

    `folder` is the run's own: it is locked while the run lives, and `run.json` in it says which run it is. `resume` is
    the full id of a run that did not finish; it goes on in the store, and what it has logged is not logged again.
    Raises UserError for a run that has finished, or that another process is at work on, and for a folder that holds
    what another run has written.
    """
    folder = Path(folder).absolute()
    lock = run_lock.acquire(folder, f"run {resume}" if resume else "a run")
    try:
        folder_owner.check_run_folder(folder, run_id=resume)  # once more: jobs of a sweep may share one
        store = open_store(tracking.uri, outputs)
        refused = spool.replay_unsent(store, folder)
        if refused is not None:
            say(f"not all of {folder / spool.UNSENT_FILE} can be sent yet: {refused}")
        if parent is None:  # a sweep's start has looked
            orphaned_runs.close_orphaned_runs(store, tracking.experiment)
        own = {**(tags or {}), **({PARENT_TAG: parent} if parent else {})}
        run = (
            _take_up(store, resume, folder, own)
            if resume
            else create_run(store, tracking.experiment, name, folder, own)
        )
        error: BaseException | None = None
        try:
            run_lock.write_run_file(folder, run.id, store.uri)
            yield run
        except BaseException as raised:
            error = raised
            raise
        finally:
            _close(run, error)
    finally:
        lock.release()


def create_run(store: MlflowStore, experiment: str, name: str, folder: Path, tags: Mapping[str, object]) -> TrackedRun:
    """Create a run that is RUNNING until somebody closes it; `start` is what most callers want.

    The caller holds the lock of `folder`, or other processes will take the run for a dead one.
    """
    source = {"mlflow.user": _user(), "mlflow.source.name": Path(sys.argv[0]).name, "mlflow.source.type": "LOCAL"}
    experiment_id = store.experiment_id(experiment)
    began = int(time.time() * 1000)
    entries = _tags({**source, **tags, **run_lock.location_tags(folder)})
    name = mlflow_limits.fit_title(name, mlflow_limits.RUN_NAME_LENGTH)

    def earlier() -> Any:
        """The run of an attempt whose answer was lost."""
        found = store.client.mlflow_client.search_runs([experiment_id], f"attributes.start_time = {began}")
        return next(
            (run for run in found if run.data.tags.get(run_lock.FOLDER_TAG) == entries[run_lock.FOLDER_TAG]), None
        )

    created = store.client.retry(
        lambda: store.client.mlflow_client.create_run(experiment_id, start_time=began, tags=entries, run_name=name),
        earlier,
    )
    return TrackedRun(store, experiment_id, created.info.run_id, folder)


def _take_up(store: MlflowStore, run_id: str, folder: Path, tags: Mapping[str, object]) -> TrackedRun:
    before = reopen.reopen_run(store, run_id, folder)
    run = TrackedRun(store, before.experiment_id, run_id, folder, before)
    run.set_tags({**tags, **run_lock.location_tags(folder)})
    return run


def _close(run: TrackedRun, error: BaseException | None) -> None:
    """Set the run's status; what the store does not take now is left in the folder, for a later start to send."""
    status = "FINISHED" if error is None else "FAILED" if isinstance(error, Exception) else "KILLED"
    tags = {REASON_TAG: _reason(error)} if error is not None else {}
    ended = int(time.time() * 1000)
    try:
        if isinstance(error, StoreUnreachable):
            raise error  # it has been waited for
        _end(run, status, ended, tags)
        if error is not None and status == "FAILED" and not isinstance(error, UserError):
            run.log_text("".join(traceback.format_exception(error)), "traceback.txt")
    except BaseException as lost:
        _not_closed(run, status, ended, tags, lost, error)


def _end(run: TrackedRun, status: str, ended: int, tags: Mapping[str, str]) -> None:
    try:
        run.set_tags(tags)
        run.flush()
    except StoreUnreachable:
        raise
    except Exception:  # refused before the work began; it ends all the same
        run._client.set_terminated(run.id, status, ended)
        raise
    if run._outbox.store_failure is not None:  # the end waits with the rest, so that the next start finds it
        raise run._outbox.store_failure
    run._client.set_terminated(run.id, status, ended)


def _not_closed(
    run: TrackedRun, status: str, ended: int, tags: Mapping[str, str], lost: BaseException, error: BaseException | None
) -> None:
    left = ""
    if isinstance(lost, StoreUnreachable) or run._outbox.work_started or not isinstance(lost, Exception):
        left = _leave(run, status, ended, tags)
        if isinstance(lost, StoreRefused) and _replayed(run):
            return
    remedy = f"{lost.remedy} ".replace("RUN_ID", run.id) if isinstance(lost, StoreRefused) and lost.remedy else ""
    why = f"{retry.root_cause(lost)}. {remedy}{left}"
    told = f"run {run.id} could not be closed as {status} in {run._store.uri}: {why}"
    if error is None and isinstance(lost, Exception):
        raise RunNotClosed(told) from lost
    say(told)  # the run's own error comes after this line
    if not isinstance(lost, Exception):
        raise lost


def _replayed(run: TrackedRun) -> bool:
    """Whether a last attempt sent everything: what was refused may be allowed by now."""
    try:
        return (run.folder / spool.UNSENT_FILE).exists() and spool.replay_unsent(run._store, run.folder) is None
    except StoreUnreachable:
        return False


def _leave(run: TrackedRun, status: str, ended: int, tags: Mapping[str, str]) -> str:
    try:
        file = run._outbox.spool_all(status, ended, tags)
    except OSError as error:
        return f"What was not sent is lost, as {run.folder} cannot be written: {error.strerror}."
    return (
        f"What was not sent is in {file}: the next start of train.py with that tracking.uri and experiment sends it. "
        f"Results are in {run.folder}."
    )


def _reason(error: BaseException) -> str:
    text = str(error).strip()
    if isinstance(error, UserError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _tags(tags: Mapping[str, object]) -> dict[str, str]:
    own = mlflow_limits.fit_keys(tags)
    return {own[key]: mlflow_limits.fit_value(value, mlflow_limits.TAG_LENGTH) for key, value in tags.items()}


def _chunks(entries: list[Any], size: int) -> Iterator[list[Any]]:
    for at in range(0, len(entries), size):
        yield entries[at : at + size]


def _user() -> str:
    try:
        return mlflow_limits.fit_value(getpass.getuser(), mlflow_limits.USER_LENGTH)
    except (KeyError, OSError):  # a container's user without a name
        return "unknown"
