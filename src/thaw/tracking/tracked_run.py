"""A run while it is tracked: started before the work, logged to during it, closed with its status in any case."""

import getpass
import json
import shutil
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from thaw.common.console import say
from thaw.common.errors import UserError
from thaw.config import command_lines
from thaw.config.job import Pruned
from thaw.config.schema import TrackingConfig
from thaw.tracking import (
    folder_owner,
    logged_model,
    mlflow_limits,
    model_registry,
    orphaned_runs,
    reopen,
    retry,
    run_lock,
    unsent_file,
)
from thaw.tracking.mlflow_store import MlflowStore, local_path, open_store
from thaw.tracking.pyfunc_flavor import PyfuncParts
from thaw.tracking.reopen import REASON_TAG, LoggedState
from thaw.tracking.retry import StoreRefused, StoreUnreachable
from thaw.tracking.run_lookup import PARENT_TAG
from thaw.tracking.write_queue import WriteQueue

NAME_TAG, NOTE_TAG = "mlflow.runName", "mlflow.note.content"  # MLflow's own
OBJECTIVE_TAG = "thaw.objective"
PRUNED_TAG = "thaw.pruned"  # of a run that its sweep stopped because it fell behind
WEIGHTS_TAG = "thaw.weights_sha256"  # of the final network


class RunNotClosed(UserError):
    """The work is done, and its run could not be closed in the store."""


class TrackedRun:
    """A run that is being logged.

    Metrics and tags are sent by a thread, within a second and when the run is closed; the other methods return when
    the store has what they log. They wait, and print a line, while the store is locked or unreachable.

    Before the first `flush` all methods raise StoreRefused and StoreUnreachable. After it the work has begun, and they
    do not: what the store does not take is spooled to `unsent.json` in the folder, and the run's end reports it.

    name: in the store. resumed_tags: the tags that a resumed run had before; empty for a new run.
    """

    def __init__(
        self,
        store: MlflowStore,
        experiment_id: str,
        run_id: str,
        folder: Path,
        logged: LoggedState | None = None,
        *,
        name: str = "",
    ) -> None:
        self.id, self.experiment_id, self.folder = run_id, experiment_id, folder
        self.name = logged.tags.get(NAME_TAG, name) if logged else name
        self.resumed_tags: Mapping[str, str] = logged.tags if logged else {}
        self._store, self._client = store, store.client
        self._logged = logged
        self._queue = WriteQueue(store, run_id, folder)

    def log_params(self, params: Mapping[str, object]) -> None:
        """Log flat parameters; a value is cut at 6,000 characters, MLflow's limit.

        Those that a resumed run has logged before stay as they are: MLflow does not let a param change.
        """
        from mlflow.entities import Param

        names = mlflow_limits.shorten_keys(params)
        entries = [
            Param(names[key], mlflow_limits.shorten_value(value, mlflow_limits.PARAM_LENGTH))
            for key, value in params.items()
            if self._logged is None or names[key] not in self._logged.params
        ]
        for start in range(0, len(entries), mlflow_limits.ENTRIES_PER_BATCH):
            batch = entries[start : start + mlflow_limits.ENTRIES_PER_BATCH]
            self._queue.call_or_spool(partial(self._client.log_batch, self.id, params=batch))

    def set_tags(self, tags: Mapping[str, object]) -> None:
        """Set tags, which may be set again; a value is cut at 8,000 characters, MLflow's limit."""
        self._queue.add([], _fitting_tags(tags))

    def set_note(self, text: str) -> None:
        """Set the note that MLflow's page shows above the run, as Markdown; it replaces an earlier one."""
        self.set_tags({NOTE_TAG: text})

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Log numbers at a step: the epoch, counted over all stages, or 0 for metrics of the whole run.

        A resumed run repeats the epochs after its checkpoint: metrics that it has logged before are left out.
        """
        from mlflow.entities import Metric

        now, names = int(time.time() * 1000), mlflow_limits.shorten_keys(metrics)
        entries = [Metric(names[key], float(value), now, step) for key, value in metrics.items()]
        if self._logged is not None:
            entries = [entry for entry in entries if not self._logged.has_metric(entry.key, entry.step, entry.value)]
        self._queue.add(entries, {})

    def command_line(self, script: str, key: str) -> str:
        """Return the command for this run: `python scripts/reproduce.py run=RUN_ID`."""
        return command_lines.run_id_command(script, key, self.id, self.folder, self._store.uri)

    def flush(self) -> None:
        """Wait until all metrics and tags are sent; the first time, the work begins with it."""
        self._queue.flush()

    def log_objective(self, name: str, value: float) -> None:
        """Log what a sweep compares: the metric `objective`, and its name as the tag `thaw.objective`."""
        self.log_metrics({"objective": value})
        self.set_tags({OBJECTIVE_TAG: name})
        self.flush()

    def log_text(self, text: str, artifact_file: str) -> None:
        """Log `text` as the artifact `artifact_file`, such as `git/diff.txt`."""

        def spooled_file() -> tuple[str, str | None]:
            file = self.folder / Path(artifact_file).name
            file.write_text(text, encoding="utf-8")
            return file.name, Path(artifact_file).parent.as_posix().removeprefix(".") or None

        self._queue.call_or_spool(partial(self._client.log_text, self.id, text, artifact_file), spooled_file)

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Log a file, or a folder's contents, to the artifact folder `folder`."""
        path = Path(path).absolute()
        relative = path.relative_to(self.folder) if path.is_relative_to(self.folder) else path
        upload = partial(unsent_file.upload, self._store, self.id, path, folder)
        self._queue.call_or_spool(upload, lambda: (relative.as_posix(), folder))

    def log_dataset(
        self,
        name: str,
        digest: str,
        source: str,
        *,
        profile: Mapping[str, object] | None = None,
        context: str = "training",
    ) -> None:
        """Log the data set as the run's input, under thaw's digest: MLflow's covers only the first 10,000 elements.

        `digest` is a sha256: MLflow gets its first 36 characters, the limit, and all 64 in the profile. `profile` has
        counts (images, classes, ...) and names; names that are too many for a database are left out.
        """
        content = json.dumps({**(profile or {}), "sha256": digest})
        if len(content) > mlflow_limits.DATASET_PROFILE_LENGTH:  # 21,000 class names; network/classes.json has them
            counts = {key: value for key, value in (profile or {}).items() if isinstance(value, int | float)}
            content = json.dumps({**counts, "sha256": digest})
        entry = {
            "name": mlflow_limits.shorten_title(name, mlflow_limits.DATASET_NAME_LENGTH),
            "digest": digest[: mlflow_limits.DATASET_DIGEST_LENGTH],
            "source_type": "local",
            "source": json.dumps({"uri": source}),
            "profile": content,
            "context": context,
        }
        log = partial(self._client.log_inputs, self.id, [unsent_file.dataset_input(entry)])
        self._queue.call_or_spool(log, dataset=entry)

    def log_model(
        self, model: Any, *, metadata: Mapping[str, object] | None = None, parts: PyfuncParts | None = None
    ) -> Path | None:
        """Log a built Keras model as the run's model `model`, for `mlflow.keras.load_model("runs:/RUN_ID/model")`.

        The signature has the model's own inputs and outputs with a free batch (-1), the requirements are this
        environment's exact versions. The optimizer's state is left out: Adam's would triple the file. `metadata` must
        be JSON, as class names are. With `parts` it is a Python model that takes pictures, by these.

        Returns:
            The local `.keras` file. None when a server has it, and when the store does not take it: then
            `StoredRun.model_file` finds the one in the run's folder.
        """
        files: list[Path | None] = []
        self._queue.call_or_spool(lambda: files.append(self._log_model(model, metadata, parts)))
        return files[0] if files else None

    def register_model(self, name: str, candidate: model_registry.Candidate) -> str:
        """Register the run's logged model, as `model_registry.register`, and return what was done.

        Raises:
            UserError: The store has no model of the run, does not answer, or refuses.
        """
        return model_registry.register(self._store, self.experiment_id, self.id, name, candidate)

    def _log_model(self, model: Any, metadata: Mapping[str, object] | None, parts: PyfuncParts | None) -> Path | None:
        from mlflow.entities import LoggedModelOutput

        # As mlflow.keras.log_model(name="model"), which would write to the process-wide tracking URI.
        logged = self._client.create_logged_model(self.experiment_id, name="model", source_run_id=self.id)
        temporary = self.folder / ".model"  # the system's temporary folder may be too small for a network
        try:
            shutil.rmtree(temporary, ignore_errors=True)  # a killed run may have left it
            logged_model.write_model(model, logged, self.id, temporary, metadata, parts)
            self._client.log_model_artifacts(logged.model_id, str(temporary))
            self._client.retry(
                lambda: self._client.mlflow_client.log_outputs(self.id, [LoggedModelOutput(logged.model_id, step=0)]),
                lambda: logged_model.is_run_output(self._store, self.id, logged.model_id),
            )
            self._client.finalize_logged_model(logged.model_id, "READY")
        except BaseException as error:
            if not isinstance(error, StoreUnreachable):  # it would not answer this call either
                with suppress(StoreRefused):
                    self._client.finalize_logged_model(logged.model_id, "FAILED")
            raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
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
    """Start or resume a run, and close it when the block ends.

    The run ends as FINISHED, as FAILED after an Exception, or as KILLED after Ctrl-C, SystemExit and the like. SIGTERM
    ends a process without closing its run, unless the caller's handler raises SystemExit. The tag `thaw.reason` says
    why a run did not finish, and an error that is not the user's is logged as the artifact `traceback.txt`.

    `folder` is the run's own: it is locked while the run lives, and `run.json` in it names the run. `parent` is the id
    of a sweep. `resume` is the full id of a run that did not finish; what it has logged is not logged again.

    Raises:
        UserError: The run to resume has finished or is running, or another run has written to the folder.
    """
    folder = Path(folder).absolute()
    lock = run_lock.lock_run_folder(folder, f"run {resume}" if resume else "a run")
    try:
        folder_owner.check_run_folder(folder, run_id=resume)  # checked again, as jobs of a sweep may share a folder
        store = open_store(tracking.uri, outputs)
        refused = unsent_file.replay_unsent(store, folder)
        if refused is not None:
            say(f"not all of {folder / unsent_file.UNSENT_FILE} can be sent yet: {refused}")
        if parent is None:  # else open_sweep has done it
            orphaned_runs.close_orphaned_runs(store, tracking.experiment)
        tags = {**(tags or {}), **({PARENT_TAG: parent} if parent else {})}
        if resume:
            logged = reopen.reopen_run(store, resume, folder)
            run = TrackedRun(store, logged.experiment_id, resume, folder, logged, name=name)
            run.set_tags({**tags, **run_lock.location_tags(folder)})
        else:
            run = create_run(store, tracking.experiment, name, folder, tags)
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
    """Create a run that is RUNNING until it is closed; most callers want `start_run`.

    The caller must hold the lock of `folder`, without which other processes take the run for a dead one.
    """
    source = {"mlflow.user": _user(), "mlflow.source.name": Path(sys.argv[0]).name, "mlflow.source.type": "LOCAL"}
    experiment_id = store.experiment_id(experiment)
    began = int(time.time() * 1000)
    all_tags = _fitting_tags({**source, **tags, **run_lock.location_tags(folder)})
    name = mlflow_limits.shorten_title(name, mlflow_limits.RUN_NAME_LENGTH)

    def create() -> Any:
        return store.client.mlflow_client.create_run(experiment_id, start_time=began, tags=all_tags, run_name=name)

    def find_earlier() -> Any:
        runs = store.client.mlflow_client.search_runs([experiment_id], f"attributes.start_time = {began}")
        return next((run for run in runs if run.data.tags.get(folder_tag) == all_tags[folder_tag]), None)

    folder_tag = run_lock.FOLDER_TAG
    created = store.client.retry(create, find_earlier)
    return TrackedRun(store, experiment_id, created.info.run_id, folder, name=name)


def _close(run: TrackedRun, error: BaseException | None) -> None:
    """Set the run's status; what the store does not take is spooled, for a later start to send."""
    status = "FINISHED" if error is None else "FAILED" if isinstance(error, Exception) else "KILLED"
    tags = {REASON_TAG: _reason(error)} if error is not None else {}
    if isinstance(error, Pruned):
        tags[PRUNED_TAG] = "True"
    ended = int(time.time() * 1000)
    try:
        if isinstance(error, StoreUnreachable):
            raise error  # the store was waited for already
        _end(run, status, ended, tags)
        if error is not None and status == "FAILED" and not isinstance(error, UserError):
            run.log_text("".join(traceback.format_exception(error)), "traceback.txt")
    except BaseException as failure:
        _end_without_store(run, status, ended, tags, failure, error)


def _end(run: TrackedRun, status: str, ended: int, tags: Mapping[str, str]) -> None:
    try:
        run.set_tags(tags)
        run.flush()
    except StoreUnreachable:
        raise
    except Exception:  # the store refused before the work began, and may still take the end
        run._client.set_terminated(run.id, status, ended)
        raise
    if run._queue.store_failure is not None:  # the end is spooled with the rest, for the next start to send
        raise run._queue.store_failure
    run._client.set_terminated(run.id, status, ended)


def _end_without_store(
    run: TrackedRun,
    status: str,
    ended: int,
    tags: Mapping[str, str],
    failure: BaseException,
    error: BaseException | None,
) -> None:
    """Spool what is left of a run that the store could not close; `error` is the run's own."""
    advice = ""
    if isinstance(failure, StoreUnreachable) or run._queue.work_started or not isinstance(failure, Exception):
        advice = _spool_end(run, status, ended, tags)
        if isinstance(failure, StoreRefused) and _replay_succeeds(run):
            return
    remedy = failure.remedy.replace("RUN_ID", run.id) if isinstance(failure, StoreRefused) else ""
    why = f"{retry.root_cause(failure)}. {f'{remedy} ' if remedy else ''}{advice}"
    message = f"run {run.id} could not be closed as {status} in {run._store.uri}: {why}"
    if error is None and isinstance(failure, Exception):
        raise RunNotClosed(message) from failure
    say(message)  # the run's own error is printed after this line
    if not isinstance(failure, Exception):
        raise failure


def _replay_succeeds(run: TrackedRun) -> bool:
    """Try once more to send everything: what was refused may be allowed by now."""
    try:
        return (run.folder / unsent_file.UNSENT_FILE).exists() and unsent_file.replay_unsent(
            run._store, run.folder
        ) is None
    except StoreUnreachable:
        return False


def _spool_end(run: TrackedRun, status: str, ended: int, tags: Mapping[str, str]) -> str:
    try:
        file = run._queue.spool_all(status, ended, tags)
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


def _fitting_tags(tags: Mapping[str, object]) -> dict[str, str]:
    names = mlflow_limits.shorten_keys(tags)
    return {names[key]: mlflow_limits.shorten_value(value, mlflow_limits.TAG_LENGTH) for key, value in tags.items()}


def _user() -> str:
    try:
        return mlflow_limits.shorten_value(getpass.getuser(), mlflow_limits.USER_LENGTH)
    except (KeyError, OSError):  # a container's user without a name
        return "unknown"
