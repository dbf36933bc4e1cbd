"""Writes that the store has not taken: spooled to `unsent.json` in the run's folder, and replayed later."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from thaw.common.console import say
from thaw.common.files import write_json
from thaw.tracking.mlflow_store import MlflowStore
from thaw.tracking.retry import StoreRefused

UNSENT_FILE = "unsent.json"
# MLflow takes at most 1,000 entries of a run at a time.
METRICS_PER_BATCH = 900
TAGS_PER_BATCH = 100


@dataclass(frozen=True)
class UnsentWrites:
    """What `unsent.json` holds of a run; the names of the fields are its keys.

    metrics: MLflow's, in their order and with their times. status, end_time: set once the run has ended, the time in
    milliseconds. files: each a file or folder, relative to the run's folder if it is in it, with the artifact folder
    that it goes to. datasets: what `dataset_input` takes.
    """

    run_id: str
    tracking_uri: str
    metrics: Sequence[Any] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    status: str | None = None
    end_time: int | None = None
    files: Sequence[tuple[str, str | None]] = ()
    datasets: Sequence[Mapping[str, str]] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left to send but the run's end."""
        return not (self.metrics or self.tags or self.files or self.datasets)

    def write(self, folder: Path) -> None:
        """Write `unsent.json` to a run's folder atomically."""
        metrics = [[m.key, _json_number(m.value), m.timestamp, m.step] for m in self.metrics]
        write_json({**vars(self), "metrics": metrics}, folder / UNSENT_FILE)


def read_unsent(folder: Path) -> UnsentWrites | None:
    """Return what `unsent.json` in a run's folder holds; None without one, and when it is corrupt.

    A corrupt file is renamed, and a line says so.
    """
    from mlflow.entities import Metric

    file = folder / UNSENT_FILE
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        metrics = [Metric(key, float(value), timestamp, step) for key, value, timestamp, step in content.pop("metrics")]
        files = [(path, artifact_folder) for path, artifact_folder in content.pop("files", ())]
        return UnsentWrites(metrics=metrics, files=files, **content)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        renamed = file.replace(file.with_name(f"{UNSENT_FILE}.damaged"))
        say(f"{file} is not what thaw wrote ({error}); it is kept as {renamed.name}, and nothing of it is sent")
        return None


def replay_unsent(store: MlflowStore, folder: Path) -> StoreRefused | None:
    """Send what a run of this store left in its folder; return the first refusal of the store, if any.

    An interrupted replay may be repeated: a store has a metric once by key, step, time and value. What is refused
    stays in the folder, the run's end included.
    """
    unsent = read_unsent(folder)
    if unsent is None or unsent.tracking_uri != store.uri:
        return None
    rest, refusals = _send(store, folder, unsent)
    if rest.is_empty and rest.status is None:
        (folder / UNSENT_FILE).unlink(missing_ok=True)
        say(f"run {unsent.run_id}: what its store did not take before is sent, {len(unsent.metrics)} metrics among it")
        return None
    rest.write(folder)
    return refusals[0]


def dataset_input(entry: Mapping[str, str]) -> Any:
    """Return MLflow's `DatasetInput` for name, digest, source_type, source, profile and context of a data set."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = {key: value for key, value in entry.items() if key != "context"}
    return DatasetInput(Dataset(**dataset), [InputTag("mlflow.data.context", entry["context"])])


def upload(store: MlflowStore, run_id: str, path: Path, artifact_folder: str | None) -> None:
    """Copy a file, or a folder's contents, to an artifact folder of the run."""
    log = store.client.log_artifacts if path.is_dir() else store.client.log_artifact
    log(run_id, str(path), artifact_folder)


def _send(store: MlflowStore, folder: Path, unsent: UnsentWrites) -> tuple[UnsentWrites, list[StoreRefused]]:
    """Send one piece after the other; return the refused ones and the refusals."""
    run_id, client, refusals = unsent.run_id, store.client, list[StoreRefused]()

    def is_refused(send: Callable[[], object]) -> bool:
        try:
            send()
        except StoreRefused as refused:
            refusals.append(refused)
            return True
        return False

    metrics: list[Any] = []
    for start in range(0, len(unsent.metrics), METRICS_PER_BATCH):
        batch = unsent.metrics[start : start + METRICS_PER_BATCH]
        metrics += batch if is_refused(partial(client.log_batch, run_id, metrics=batch)) else []
    tags = {key: value for key, value in unsent.tags.items() if is_refused(partial(client.set_tag, run_id, key, value))}
    datasets = [e for e in unsent.datasets if is_refused(partial(client.log_inputs, run_id, [dataset_input(e)]))]
    files = [
        (path, artifact_folder)
        for path, artifact_folder in unsent.files
        if (folder / path).exists() and is_refused(partial(upload, store, run_id, folder / path, artifact_folder))
    ]
    rest = replace(unsent, metrics=metrics, tags=tags, datasets=datasets, files=files)
    if unsent.status and not is_refused(partial(client.set_terminated, run_id, unsent.status, unsent.end_time)):
        rest = replace(rest, status=None)
    return rest, refusals


def _json_number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)  # JSON has no NaN and no infinity
