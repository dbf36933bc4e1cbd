"""What a store did not take: kept in the run's folder while the store is away or refuses it, and replayed later."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from thaw.common.console import say
from thaw.tracking.mlflow_store import MlflowStore
from thaw.tracking.retry import StoreRefused
from thaw.tracking.run_lock import write_json

UNSENT_FILE = "unsent.json"
# MLflow's limits: 1,000 at a time.
METRICS_PER_BATCH = 900
TAGS_PER_BATCH = 100


@dataclass(frozen=True)
class UnsentWrites:
    """Metrics in their order, with their times, and tags of a run; `status` and `end_time` (ms) if it has ended.

    files: a file or folder, relative to the run's folder if it is in it, and the artifact folder that it goes to.
    datasets: what `data_set` takes.
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
        """Whether nothing waits but the run's end."""
        return not (self.metrics or self.tags or self.files or self.datasets)

    def write(self, folder: Path) -> None:
        """Write `unsent.json`, whole or not at all."""
        metrics = [[m.key, _text(m.value), m.timestamp, m.step] for m in self.metrics]
        write_json(folder / UNSENT_FILE, {**vars(self), "metrics": metrics})


def read_unsent(folder: Path) -> UnsentWrites | None:
    """Return what `unsent.json` in a run's folder holds; None without one, or when somebody has spoilt it."""
    from mlflow.entities import Metric

    file = folder / UNSENT_FILE
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        metrics = [Metric(key, float(value), timestamp, step) for key, value, timestamp, step in found.pop("metrics")]
        files = [(path, place) for path, place in found.pop("files", ())]
        return UnsentWrites(metrics=metrics, files=files, **found)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        aside = file.replace(file.with_name(f"{UNSENT_FILE}.damaged"))
        say(f"{file} is not what thaw wrote ({error}); it is kept as {aside.name}, and nothing of it is sent")
        return None


def remove_unsent(folder: Path) -> None:
    """Remove `unsent.json`: all of it was sent."""
    with suppress(FileNotFoundError):
        (folder / UNSENT_FILE).unlink()


def replay_unsent(store: MlflowStore, folder: Path) -> StoreRefused | None:
    """Send what a run of this store left in its folder; return what the store refuses, if it does.

    Nothing is there twice, however often this is broken off: a store knows a metric by key, step, time and value.
    What is refused stays in the folder, and so does the run's end while the store does not take that either.
    """
    found = read_unsent(folder)
    if found is None or found.tracking_uri != store.uri:
        return None
    rest, refusals = _send(store, folder, found)
    if rest.is_empty and rest.status is None:
        remove_unsent(folder)
        say(f"run {found.run_id}: what its store did not take before is sent, {len(found.metrics)} metrics among it")
        return None
    rest.write(folder)
    return refusals[0]


def dataset_input(entry: Mapping[str, str]) -> Any:
    """Return MLflow's input of a run: name, digest, source_type, source and profile of a data set, and its context."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    own = {key: value for key, value in entry.items() if key != "context"}
    return DatasetInput(Dataset(**own), [InputTag("mlflow.data.context", entry["context"])])


def upload(store: MlflowStore, run_id: str, path: Path, place: str | None) -> None:
    """Copy a file, or a folder's contents, into the artifact folder `place`."""
    send = store.client.log_artifacts if path.is_dir() else store.client.log_artifact
    send(run_id, str(path), place)


def _send(store: MlflowStore, folder: Path, found: UnsentWrites) -> tuple[UnsentWrites, list[StoreRefused]]:
    """Send piece by piece; what is left, and why."""
    run_id, client, refusals = found.run_id, store.client, list[StoreRefused]()

    def went(send: Callable[[], object]) -> bool:
        try:
            send()
        except StoreRefused as refused:
            refusals.append(refused)
            return False
        return True

    metrics: list[Any] = []
    for at in range(0, len(found.metrics), METRICS_PER_BATCH):
        batch = found.metrics[at : at + METRICS_PER_BATCH]
        if not went(lambda batch=batch: client.log_batch(run_id, metrics=batch)):  # type: ignore[misc]
            metrics += batch
    tags = {
        key: value
        for key, value in found.tags.items()
        if not went(lambda key=key, value=value: client.set_tag(run_id, key, value))  # type: ignore[misc]
    }
    datasets = [
        entry
        for entry in found.datasets
        if not went(lambda entry=entry: client.log_inputs(run_id, [dataset_input(entry)]))  # type: ignore[misc]
    ]
    files = [
        (path, place)
        for path, place in found.files
        if (folder / path).exists()
        and not went(lambda path=path, place=place: upload(store, run_id, folder / path, place))  # type: ignore[misc]
    ]
    rest = replace(found, metrics=metrics, tags=tags, datasets=datasets, files=files)
    if found.status and went(lambda: client.set_terminated(run_id, found.status, found.end_time)):
        rest = replace(rest, status=None)
    return rest, refusals


def _text(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)  # JSON has no NaN and no infinity
