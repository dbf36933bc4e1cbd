"""Runs of the store by MLflow's filter, such as `metrics.objective > 0.8 and params.recipe = 'finetune'`."""

from pathlib import Path

from thaw.common.errors import UserError, did_you_mean, joined
from thaw.config import command_lines
from thaw.tracking.mlflow_store import open_store, sqlite_path
from thaw.tracking.retry import StoreRefused
from thaw.tracking.run_lookup import StoredRun, stored_run_of_mlflow


def search_runs(uri: str, outputs: Path, experiment: str, run_filter: str) -> list[StoredRun]:
    """Return the trainings of an experiment that fulfil the filter, oldest first; evaluations and sweeps are none.

    Raises:
        UserError: There is no store or no such experiment, or the filter cannot be read.
    """
    database = sqlite_path(uri)
    if database is not None and not database.exists():  # opening would create it
        train = command_lines.script_command("train")
        raise UserError(f"filter={run_filter}: there is no store at {database} yet. Train first: {train}")
    store = open_store(uri, outputs)
    found = store.client.get_experiment_by_name(experiment)
    if found is None:
        names = [entry.name for entry in store.client.search_experiments()]
        raise UserError(
            f"tracking_experiment={experiment} is no experiment of {store.uri}.{did_you_mean(experiment, names)} "
            f"There are: {joined(names)}"
        )
    runs: list[StoredRun] = []
    token = None
    while True:
        try:
            page = store.client.search_runs(
                [found.experiment_id], run_filter, order_by=["attributes.start_time ASC"], page_token=token
            )
        except StoreRefused as refused:
            raise UserError(
                f"filter={run_filter} cannot be read: {refused.__cause__}. Expected MLflow's filter, as in "
                "filter=\"metrics.objective > 0.8 and params.recipe = 'finetune'\""
            ) from refused
        runs += [stored_run_of_mlflow(store, run) for run in page]
        token = page.token
        if not token:
            return [run for run in runs if not (run.is_sweep or run.is_evaluation)]
