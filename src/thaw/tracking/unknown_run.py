"""Why a run that somebody asked for is not found, and what may have been meant."""

from difflib import get_close_matches

from thaw.common.errors import joined
from thaw.config import command_lines
from thaw.tracking import evaluation_runs, model_registry
from thaw.tracking.mlflow_store import MlflowStore
from thaw.tracking.retry import StoreRefused


def explain(store: MlflowStore, asked: str, run_id: str, experiments: list[str], *, several: bool) -> str:
    """Return the message for a run that is not found.

    Args:
        store: where it was looked for.
        asked: as somebody wrote it, for example `clothes@champion`.
        run_id: the id, or its beginning, that `asked` stands for.
        experiments: ids of all experiments, but for deleted ones.
        several: more than one run's id begins so.
    """
    if not several and _is_deleted(store, run_id):
        restore = command_lines.mlflow_command(store.uri, f"runs restore --run-id {run_id}")
        which = f"run {run_id}" if asked == run_id else f"{asked} is run {run_id}, which"
        return f"{which} is deleted in {store.uri}. This brings it back: {restore}"
    if not several and model_registry.is_registered(store, asked):
        return (
            f"no run {asked} in {store.uri}, but a model is registered under this name: write models:/{asked} for its "
            f"newest version, or {asked}@{model_registry.CHAMPION}"
        )
    recent = store.client.search_runs(experiments, max_results=50, order_by=["attributes.start_time DESC"])
    latest = [run for run in recent if not evaluation_runs.is_evaluation(run.data.tags)][:5]
    names = joined(f"{run.info.run_id} ({run.info.run_name})" for run in latest) or "none"
    problem = f"{run_id} is the beginning of more than one run" if several else f"no run {run_id}"
    meant = "" if several else _did_you_mean(run_id, {run.info.run_id: run.info.run_name for run in recent})
    return f"{problem} in {store.uri}.{meant} The latest runs: {names}."


def _is_deleted(store: MlflowStore, run_id: str) -> bool:
    if len(run_id) != 32:
        return False
    try:
        return bool(store.client.get_run(run_id).info.lifecycle_stage != "active")
    except StoreRefused:
        return False


def _did_you_mean(written: str, names: dict[str, str]) -> str:
    """Return a hint at the run whose id begins almost so, or whose name is almost this; names: by id."""
    beginnings = {run_id[: len(written)]: run_id for run_id in names} | {name: i for i, name in names.items()}
    # Ids are random hexadecimal digits, of which any two have much in common: hence the high cutoff.
    closest = get_close_matches(written, beginnings, n=1, cutoff=0.8)
    return f" Did you mean '{beginnings[closest[0]]}' ({names[beginnings[closest[0]]]})?" if closest else ""
