"""A run that is taken up again: what it logged before it ended, so that nothing is in the store twice."""

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
    """What a run had in the store when it was taken up. points: the values of a metric's key at a step."""

    experiment_id: str
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metric_values: Mapping[tuple[str, int], set[float]]

    def has_metric(self, key: str, step: int, value: float) -> bool:
        """Whether a metric is there already: an epoch's at this step, whatever its value, any other's with this one."""
        values = self.metric_values.get((key, step), set())
        return bool(values) if key.startswith(EPOCH_PREFIX) else _stored(value) in values


def reopen_run(store: MlflowStore, run_id: str, folder: Path) -> LoggedState:
    """Set an ended run to RUNNING and return what it has; its end time stays, as MLflow's client cannot clear it.

    Tag `thaw.resumed` counts how often, and `thaw.reason`, of the end before, goes. folder: from which it goes on.
    Raises UserError for a run that has finished, was deleted, is not there, or lives in another folder, of which this
    one is a copy.
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
        raise UserError(f"resume={run_id}: the run has finished; there is nothing to go on with. Start a new one.")
    other = run_lock.local_folder(run.data.tags)
    if other is not None and other != folder:
        run_lock.acquire(other, f"run {run_id}").release()
    before = LoggedState(run.info.experiment_id, dict(run.data.tags), dict(run.data.params), _points(store, run))
    store.client.update_run(run_id, status="RUNNING")
    store.client.set_tag(run_id, RESUMED_TAG, str(int(before.tags.get(RESUMED_TAG, "0")) + 1))
    if REASON_TAG in before.tags:
        store.client.retry(
            lambda: store.client.mlflow_client.delete_tag(run_id, REASON_TAG),
            lambda: REASON_TAG not in store.client.mlflow_client.get_run(run_id).data.tags or None,
        )
    return before


def _points(store: MlflowStore, run: Any) -> dict[tuple[str, int], set[float]]:
    points: dict[tuple[str, int], set[float]] = {}
    for key in run.data.metrics:
        for metric in store.client.get_metric_history(run.info.run_id, key):
            points.setdefault((key, metric.step), set()).add(_stored(metric.value))
    return points


def _stored(value: float) -> float:
    """A value as a database gives it back and a set can compare it: infinities are the largest numbers, NaN is one."""
    if math.isnan(value):
        return math.inf
    return max(-sys.float_info.max, min(sys.float_info.max, value))
