"""Snapshots of what a training left in its folder and in the store, and how two of them differ."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thaw import tracking
from thaw.training import head_snapshot

SPEED_KEY = "images_per_second"  # of an epoch: the one figure that may differ
MetricHistory = dict[str, list[tuple[int, float]]]  # name: points (step, value)


@dataclass(frozen=True)
class RunSnapshot:
    """What a run left, without times, speeds and ids.

    Attributes:
        status: in the store.
        history: one dict per epoch.
        metrics: the final ones.
        metric_history: all points that the store has.
        model_statuses: of the run's logged models.
        open_runs: other runs of the store that are RUNNING.
        run_files: names in the run folder, where no checkpoint should be left.
        outputs_files: names in the outputs folder, and what is half written anywhere below it.
        head_alone: sha256 of what the head alone predicted; empty without.
    """

    status: str
    weights_sha256: str
    history: list[dict[str, Any]]
    metrics: dict[str, float]
    metric_history: MetricHistory
    model_statuses: list[str]
    open_runs: list[str]
    run_files: list[str]
    outputs_files: list[str]
    head_alone: str = ""


def run_id_and_store(run_dir: Path) -> tuple[str, str]:
    """Return the id of the run in a run folder, and its store's URI."""
    record = json.loads((run_dir / "run.json").read_text())
    return record["run_id"], record["tracking_uri"]


def stored_run(run_dir: Path, outputs: Path) -> Any:
    """Return the run of a run folder as the store has it now, an MLflow run."""
    run_id, uri = run_id_and_store(run_dir)
    return tracking.open_store(uri, outputs).client.get_run(run_id)


def read_snapshot(run_dir: Path, outputs: Path) -> RunSnapshot:
    """Read what a run left. Raises OSError when it left no result."""
    run_id, uri = run_id_and_store(run_dir)
    client = tracking.open_store(uri, outputs).client
    run = client.get_run(run_id)
    result = json.loads((run_dir / "result.json").read_text())
    history = json.loads((run_dir / "report" / "history.json").read_text())
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    models = client.search_logged_models(experiments, filter_string=f"source_run_id = '{run_id}'")
    others = [other.info for other in client.search_runs(experiments) if other.info.run_id != run_id]
    written = [file for pattern in ("*", "**/*.tmp") for file in outputs.glob(pattern)]
    return RunSnapshot(
        status=run.info.status,
        weights_sha256=result["weights_sha256"],
        history=[{key: value for key, value in epoch.items() if key != SPEED_KEY} for epoch in history],
        metrics=result["metrics"],
        metric_history={
            name: [(point.step, point.value) for point in client.get_metric_history(run_id, name)]
            for name in run.data.metrics
        },
        model_statuses=[str(getattr(model.status, "value", model.status)) for model in models],
        open_runs=[f"{info.run_id} {info.status}" for info in others if info.status == "RUNNING"],
        run_files=sorted(str(file.relative_to(run_dir)) for file in run_dir.rglob("*")),
        outputs_files=sorted({str(file.relative_to(outputs)) for file in written}),
        head_alone=_head_alone_sha256(run_dir, run_id),
    )


def _head_alone_sha256(run_dir: Path, run_id: str) -> str:
    """Return the hash of the predictions and features in the file, whose bytes hold the run's id too."""
    probabilities = head_snapshot.load_head_alone(run_dir, run_id)
    if probabilities is None:
        return ""
    features = head_snapshot.load_head_features(run_dir, run_id)
    parts = [array.tobytes() for array in probabilities.values()]
    if features is not None:
        parts += [features.rows.tobytes(), features.features.tobytes()]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def differences(snapshot: RunSnapshot, baseline: RunSnapshot) -> list[str]:
    """Return how a run differs from the baseline run, a line each."""
    lines = [] if snapshot.status == "FINISHED" else [f"the run is {snapshot.status}"]
    for name in ("weights_sha256", "head_alone", "history", "metrics"):
        if not _equal(getattr(snapshot, name), getattr(baseline, name)):
            lines.append(f"{name} differs{_first_epoch(snapshot, baseline) if name == 'history' else ''}")
    lines += _metric_differences(snapshot.metric_history, baseline.metric_history)
    if snapshot.model_statuses != ["READY"]:
        lines.append(f"logged models: {', '.join(sorted(snapshot.model_statuses)) or 'none'}")
    lines += [f"another run is open: {run}" for run in snapshot.open_runs]
    extra = [file for file in snapshot.outputs_files if file not in baseline.outputs_files]
    lines += [f"left behind: {name}" for name in snapshot.run_files if name not in baseline.run_files]
    # Nothing is missing in the outputs folder: a trial may have store or cache elsewhere.
    lines += [f"left behind in outputs: {name}" for name in extra]
    lines += [f"missing: {name}" for name in baseline.run_files if name not in snapshot.run_files]
    return lines


def _first_epoch(snapshot: RunSnapshot, baseline: RunSnapshot) -> str:
    for i, (epoch, expected) in enumerate(zip(snapshot.history, baseline.history, strict=False)):
        if not _equal(epoch, expected):
            return f" from epoch {i + 1} on"
    return f": {len(snapshot.history)} epochs, not {len(baseline.history)}"


def _metric_differences(history: MetricHistory, baseline: MetricHistory) -> list[str]:
    lines = []
    for name in sorted({*history, *baseline}):
        points, expected = sorted(history.get(name, [])), sorted(baseline.get(name, []))
        steps = [step for step, _ in points]
        if steps != [step for step, _ in expected]:
            lines.append(f"{name} has points at steps {_counted(steps)}")
        elif SPEED_KEY not in name and not _equal(points, expected):
            lines.append(f"{name} differs in the store")
    return lines


def _counted(steps: Sequence[int]) -> str:
    texts = [f"{step}{'' if steps.count(step) == 1 else f' ({steps.count(step)} times)'}" for step in sorted({*steps})]
    return ", ".join(texts) or "none"


def _equal(a: object, b: object) -> bool:
    """Compare bit for bit, as JSON writes them; NaN is equal to NaN."""
    return json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)
