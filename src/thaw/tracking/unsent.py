"""What a store did not take: kept in the run's folder while the store is away, and replayed when it is back."""

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from thaw.console import say
from thaw.tracking.alive import write_json
from thaw.tracking.store import Store

FILE = "unsent.json"
# MLflow's limits: 1,000 at a time.
METRICS = 900
TAGS = 100


@dataclass(frozen=True)
class Unsent:
    """Metrics in their order, with their times, and tags of a run; `status` and `end_time` (ms) if it has ended."""

    run_id: str
    tracking_uri: str
    metrics: Sequence[Any] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    status: str | None = None
    end_time: int | None = None

    def write(self, folder: Path) -> None:
        """Write `unsent.json`, whole or not at all."""
        metrics = [[m.key, _text(m.value), m.timestamp, m.step] for m in self.metrics]
        write_json(folder / FILE, {**vars(self), "metrics": metrics})


def read(folder: Path) -> Unsent | None:
    """Return what `unsent.json` in a run's folder holds; None without one, or when somebody has spoilt it."""
    from mlflow.entities import Metric

    file = folder / FILE
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        metrics = [Metric(key, float(value), timestamp, step) for key, value, timestamp, step in found.pop("metrics")]
        return Unsent(metrics=metrics, **found)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        aside = file.replace(file.with_name(f"{FILE}.damaged"))
        say(f"{file} is not what thaw wrote ({error}); it is kept as {aside.name}, and nothing of it is sent")
        return None


def forget(folder: Path) -> None:
    """Remove `unsent.json`: all of it was sent."""
    with suppress(FileNotFoundError):
        (folder / FILE).unlink()


def replay(store: Store, folder: Path) -> Unsent | None:
    """Send what a run of this store left in its folder, and return it.

    Nothing is there twice, however often this is broken off: a store knows a metric by key, step, time and value.
    """
    found = read(folder)
    if found is None or found.tracking_uri != store.uri:
        return None
    for at in range(0, len(found.metrics), METRICS):
        store.client.log_batch(found.run_id, metrics=found.metrics[at : at + METRICS])
    for key, value in found.tags.items():
        store.client.set_tag(found.run_id, key, value)
    if found.status:
        store.client.set_terminated(found.run_id, found.status, found.end_time)
    forget(folder)
    say(f"run {found.run_id}: {len(found.metrics)} metrics are sent that its store did not take before")
    return found


def _text(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)  # JSON has no NaN and no infinity
