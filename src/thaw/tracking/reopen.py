"""Reopening of a resumed run: what it has logged is read back, so that nothing is logged twice."""

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thaw.common.errors import UserError
from thaw.tracking import run_lock
from thaw.tracking.mlflow_store import MlflowStore
from thaw.tracking.retry import StoreRefused

RESUMED_TAG = "thaw.resumed"
REASON_TAG = "thaw.reason"
EPOCH_PREFIX = "epoch/"


@dataclass(frozen=True)
class LoggedState:
    """What a run had logged when it was reopened. metric_values: all values of a metric at a step."""

    experiment_id: str
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metric_values: Mapping[tuple[str, int], set[float]]

    def has_metric(self, key: str, step: int, value: float) -> bool:
        """Return whether a metric is logged: an epoch's with any value at this step, others with this value."""
        values = self.metric_values.get((key, step), set())
        return bool(values) if key.startswith(EPOCH_PREFIX) else _as_stored(value) in values


def reopen_run(store: MlflowStore, run_id: str, folder: Path) -> LoggedState:
    """Set an ended run to RUNNING and return what it has logged.

    The tag `thaw.resumed` counts how often that happened, and `thaw.reason`, of the earlier end, is deleted. The end
    time stays, as MLflow's client cannot clear it.

    Raises:
        UserError: The run is unknown, deleted or finished, or is running in another folder and `folder` is a copy.
    """
    try:
        run = store.client.get_run(run_id)
    except StoreRefused as error:
        if error.code != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise UserError(f"resume={run_id}: there is no such run in {store.uri}") from None
    if run.info.lifecycle_stage != "active":
        raise UserError(f"resume={run_id}: the run was deleted from {store.uri}. Start a new one.")
    if run.info.status == "FINISHED":
        raise UserError(f"resume={run_id}: the run has finished; there is nothing to resume. Start a new one.")
    original_folder = run_lock.local_folder(run.data.tags)
    if original_folder is not None and original_folder != folder:
        run_lock.lock_run_folder(original_folder, f"run {run_id}").release()
    logged = LoggedState(run.info.experiment_id, dict(run.data.tags), dict(run.data.params), _metric_values(store, run))
    store.client.update_run(run_id, status="RUNNING")
    store.client.set_tag(run_id, RESUMED_TAG, str(int(logged.tags.get(RESUMED_TAG, "0")) + 1))
    if REASON_TAG in logged.tags:
        store.client.retry(
            lambda: store.client.mlflow_client.delete_tag(run_id, REASON_TAG),
            lambda: REASON_TAG not in store.client.mlflow_client.get_run(run_id).data.tags or None,
        )
    return logged


def _metric_values(store: MlflowStore, run: Any) -> dict[tuple[str, int], set[float]]:
    values: dict[tuple[str, int], set[float]] = {}
    for key in run.data.metrics:
        for metric in store.client.get_metric_history(run.info.run_id, key):
            values.setdefault((key, metric.step), set()).add(_as_stored(metric.value))
    return values


def _as_stored(value: float) -> float:
    """Return a value as a database returns it, infinities as the largest numbers; NaN, to compare it, as infinity."""
    if math.isnan(value):
        return math.inf
    return max(-sys.float_info.max, min(sys.float_info.max, value))
