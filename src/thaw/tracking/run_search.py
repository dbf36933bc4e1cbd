"""Runs of a store searched by MLflow's filter, page by page, in one experiment or in all."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from thaw.common.errors import UserError, did_you_mean, joined
from thaw.config import command_lines
from thaw.tracking.mlflow_store import MlflowStore, open_store, sqlite_path
from thaw.tracking.retry import StoreRefused, root_cause
from thaw.tracking.run_lookup import PARENT_TAG, StoredRun, stored_run_of_mlflow

_PAGE = 200  # runs
# In single quotes, as a shell takes backticks in double ones for a command.
_EXAMPLE = """'filter=metrics.`test/accuracy` > 0.9 and params.recipe = "finetune"'"""


def open_existing_store(uri: str, outputs: Path) -> MlflowStore:
    """Open a store to read it.

    Raises:
        UserError: The store cannot be reached, or its file does not exist, which opening would create.
    """
    database = sqlite_path(uri)
    if database is not None and not database.exists():
        raise UserError(
            f"there is no store at {database}: nothing was trained with these outputs yet, or they are elsewhere "
            f"(outputs=FOLDER, tracking_uri=STORE). A first run: {command_lines.script_command('train')}"
        )
    return open_store(uri, outputs)


def search_runs(uri: str, outputs: Path, experiment: str, run_filter: str) -> list[StoredRun]:
    """Return the trainings of an experiment that fulfil the filter, oldest first; evaluations and sweeps are none.

    Raises:
        UserError: There is no store or no such experiment, or the filter cannot be read.
    """
    found = list(iterate_runs(open_existing_store(uri, outputs), run_filter, experiment))
    return [run for run in reversed(found) if not (run.is_sweep or run.is_evaluation)]


def iterate_runs(
    store: MlflowStore, run_filter: str | None = None, experiment: str | None = None, *, deleted: bool = False
) -> Iterator[StoredRun]:
    """Yield the runs of all experiments, or of one, newest first; pages of them are read as they are asked for.

    deleted: also those that were deleted, and those of deleted experiments.

    Raises:
        UserError: There is no such experiment, or the filter cannot be read.
    """
    from mlflow.entities import ViewType

    view = ViewType.ALL if deleted else ViewType.ACTIVE_ONLY
    experiments = _experiment_ids(store, experiment, view)
    token: str | None = None
    while experiments:
        try:
            page = store.client.search_runs(
                experiments, run_filter or "", view, _PAGE, ["attributes.start_time DESC"], token
            )
        except StoreRefused as refused:
            raise _explained(run_filter, refused) from refused
        for run in page:
            yield stored_run_of_mlflow(store, run)
        token = page.token
        if not token:
            return


def children_of(store: MlflowStore, sweep: StoredRun) -> list[StoredRun]:
    """Return all runs of a sweep."""
    wanted, runs, token = f"tags.`{PARENT_TAG}` = '{sweep.id}'", list[StoredRun](), None
    while True:
        page = store.client.search_runs([sweep.experiment_id], wanted, max_results=_PAGE, page_token=token)
        runs += [stored_run_of_mlflow(store, run) for run in page]
        token = page.token
        if not token:
            return runs


def get_run(store: MlflowStore, run_id: str) -> StoredRun | None:
    """Return the run with this id, deleted ones too; None when the store has none."""
    try:
        return stored_run_of_mlflow(store, store.client.get_run(run_id))
    except StoreRefused as refused:
        if refused.code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise


def _experiment_ids(store: MlflowStore, name: str | None, view: int) -> list[str]:
    experiments: list[Any] = []
    token: str | None = None
    while True:
        page = store.client.search_experiments(view_type=view, page_token=token)
        experiments += page
        token = page.token
        if not token:
            break
    if name is None:
        return [experiment.experiment_id for experiment in experiments]
    chosen = [experiment.experiment_id for experiment in experiments if experiment.name == name]
    if not chosen:
        names = sorted(experiment.name for experiment in experiments)
        hint = did_you_mean(name, names)
        raise UserError(f"tracking_experiment={name} is no experiment of {store.uri}.{hint} There are: {joined(names)}")
    return chosen


def _explained(run_filter: str | None, refused: StoreRefused) -> UserError:
    if not run_filter or refused.code != "INVALID_PARAMETER_VALUE":
        return refused
    hint = ""
    if "/" in run_filter and not {"`", '"'} & set(run_filter):
        hint = " A name with a slash stands in backticks: metrics.`val/accuracy`."
    return UserError(
        f"filter={run_filter} cannot be read: {root_cause(refused)}.{hint} Expected MLflow's filter, as in {_EXAMPLE}: "
        "metrics.NAME are compared with numbers, params.NAME, tags.NAME and attributes.status with texts in quotes, "
        "and conditions are joined by and"
    )
