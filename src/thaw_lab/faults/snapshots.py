"""What a training left, in its folder and in the store, and how that differs from what another one left."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thaw import tracking

SPEED_KEY = "images_per_second"  # of an epoch: the one figure that may differ


@dataclass(frozen=True)
class RunSnapshot:
    """A run's remains, without times, speeds and ids.

    status: in the store. history: one dict an epoch. metrics: the final ones. points: by name (step, value), as the
    store has them. models: the statuses of its logged models. others: runs of the store that are not FINISHED.
    files: names in the run folder, where checkpoints should be gone. beside: in the outputs folder, and what is half
    written.
    """

    status: str
    weights_sha256: str
    history: list[dict[str, Any]]
    metrics: dict[str, float]
    metric_history: dict[str, list[tuple[int, float]]]
    model_statuses: list[str]
    open_runs: list[str]
    run_files: list[str]
    outputs_files: list[str]


def run_id_and_store(folder: Path) -> tuple[str, str]:
    """The id and the store's URI of the run in a run folder."""
    found = json.loads((folder / "run.json").read_text())
    return found["run_id"], found["tracking_uri"]


def store_client(uri: str, outputs: Path) -> Any:
    """MLflow's client of the store."""
    return tracking.open_store(uri, outputs).client


def stored_run(folder: Path, outputs: Path) -> Any:
    """The run of a run folder as the store has it now."""
    run_id, uri = run_id_and_store(folder)
    return store_client(uri, outputs).get_run(run_id)


def read_snapshot(folder: Path, outputs: Path) -> RunSnapshot:
    """Read what the run in `folder` left. Raises OSError when it left no result."""
    run_id, uri = run_id_and_store(folder)
    store = store_client(uri, outputs)
    run = store.get_run(run_id)
    result = json.loads((folder / "result.json").read_text())
    experiments = [e.experiment_id for e in store.search_experiments()]
    models = store.search_logged_models(experiments, filter_string=f"source_run_id = '{run_id}'")
    return RunSnapshot(
        status=run.info.status,
        weights_sha256=result["weights_sha256"],
        history=[
            {key: value for key, value in entry.items() if key != SPEED_KEY}
            for entry in json.loads((folder / "report" / "history.json").read_text())
        ],
        metrics=result["metrics"],
        metric_history={
            name: [(point.step, point.value) for point in store.get_metric_history(run_id, name)]
            for name in run.data.metrics
        },
        model_statuses=[str(getattr(model.status, "value", model.status)) for model in models],
        open_runs=[f"{r.info.run_id} {r.info.status}" for r in store.search_runs(experiments) if _open(r, run_id)],
        run_files=sorted(str(file.relative_to(folder)) for file in folder.rglob("*")),
        outputs_files=sorted(
            {str(file.relative_to(outputs)) for name in ("*", "**/*.tmp") for file in outputs.glob(name)}
        ),
    )


def _open(run: Any, but: str) -> bool:
    return bool(run.info.run_id != but and run.info.status == "RUNNING")


def differences(snapshot: RunSnapshot, baseline: RunSnapshot) -> list[str]:
    """What is not as it would be without the fault, a line each."""
    found = [] if snapshot.status == "FINISHED" else [f"the run is {snapshot.status}"]
    for name in ("weights_sha256", "history", "metrics"):
        if not _same(getattr(snapshot, name), getattr(baseline, name)):
            found.append(f"{name} differs{_first_epoch(snapshot, baseline) if name == 'history' else ''}")
    found += _points(snapshot.metric_history, baseline.metric_history)
    if snapshot.model_statuses != ["READY"]:
        found.append(f"logged models: {', '.join(sorted(snapshot.model_statuses)) or 'none'}")
    found += [f"another run is open: {other}" for other in snapshot.open_runs]
    found += [f"left behind: {name}" for name in snapshot.run_files if name not in baseline.run_files]
    # Nothing is missing beside it: a trial may keep store or cache elsewhere.
    found += [
        f"left behind in outputs: {name}" for name in snapshot.outputs_files if name not in baseline.outputs_files
    ]
    found += [f"missing: {name}" for name in baseline.run_files if name not in snapshot.run_files]
    return found


def _first_epoch(ours: RunSnapshot, reference: RunSnapshot) -> str:
    for i, (mine, theirs) in enumerate(zip(ours.history, reference.history, strict=False)):
        if not _same(mine, theirs):
            return f" from epoch {i + 1} on"
    return f": {len(ours.history)} epochs, not {len(reference.history)}"


def _points(ours: dict[str, list[tuple[int, float]]], reference: dict[str, list[tuple[int, float]]]) -> list[str]:
    found = []
    for name in sorted({*ours, *reference}):
        mine, theirs = ours.get(name, []), reference.get(name, [])
        steps = [step for step, _ in mine]
        if sorted(steps) != sorted(step for step, _ in theirs):
            found.append(f"{name} has points at steps {_counted(steps)}")
        elif SPEED_KEY not in name and not _same(sorted(mine), sorted(theirs)):
            found.append(f"{name} differs in the store")
    return found


def _counted(steps: Sequence[int]) -> str:
    texts = [f"{step}{'' if steps.count(step) == 1 else f' ({steps.count(step)} times)'}" for step in sorted({*steps})]
    return ", ".join(texts) or "none"


def _same(a: object, b: object) -> bool:
    """Bit for bit, as JSON writes them; NaN is the same as NaN."""
    return json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)
