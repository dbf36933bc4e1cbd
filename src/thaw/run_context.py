"""What every step of a run shares, and how a run is opened and closed."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from thaw import run_fingerprint, tracking
from thaw.cache import DiskCache
from thaw.config import run_names
from thaw.config.job import Job, Pruned
from thaw.config.schema import Config
from thaw.tracking import RunNotClosed, TrackedRun
from thaw.training import checkpoint
from thaw.training.checkpoint import CheckpointDir


class StepTimer:
    """Measures a run's seconds by step: `with clock("train"): ...` adds to them."""

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.seconds: dict[str, float] = {"scan": 0.0, "extract": 0.0, "train": 0.0, "evaluate": 0.0, "report": 0.0}

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        """Add the seconds of the block to those of the step."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[step] += time.perf_counter() - started

    def total(self) -> float:
        """Return the seconds since the run began, those before it was stopped and resumed among them."""
        return time.perf_counter() - self.started

    def all(self) -> dict[str, float]:
        """Return the seconds of the whole run and of each step, by name."""
        return {"total": self.total(), **self.seconds}


@dataclass(frozen=True)
class RunContext:
    """What every step of a run shares.

    config: as resolved. job: how the run was started, and its folder. tracked: the run in the MLflow store. cache: of
    decoded pixels and frozen activations. checkpoints: this run's.
    """

    config: Config
    job: Job
    tracked: TrackedRun
    cache: DiskCache
    checkpoints: CheckpointDir
    clock: StepTimer

    @property
    def folder(self) -> Path:
        """The run's own output folder."""
        return self.job.folder


@contextmanager
def open_run(config: Config, job: Job) -> Iterator[RunContext]:
    """Open the run that `job` starts or resumes, and close it in the store when the block ends.

    Config and fingerprint are logged before the block runs. Checkpoints are removed once it has ended without error.
    """
    name = job.name or run_names.run_name(config, job.overrides)
    tags = {tracking.OVERRIDES_TAG: " ".join(job.overrides), "thaw.recipe": config.recipe, **job.tags}
    clock, outputs = StepTimer(), Path(config.outputs)
    with (
        remove_checkpoints_at_end(config, job),
        tracking.start_run(
            config.tracking, outputs, name=name, folder=job.folder, tags=tags, parent=job.parent_run_id,
            resume=job.resumed_run_id,
        ) as tracked,
    ):  # fmt: skip
        checkpoints = _checkpoints(config, job, tracked.id)
        with run_fingerprint.resumable_run(tracked, config, job, checkpoints.has_checkpoints):
            yield RunContext(config, job, tracked, open_cache(config), checkpoints, clock)


def open_cache(config: Config) -> DiskCache:
    """Return the cache that a run of this config uses."""
    folder = Path(config.cache.dir).expanduser().absolute()
    return DiskCache(folder, config.cache.max_gb * 1e9, outputs=Path(config.outputs).expanduser().absolute())


@contextmanager
def remove_checkpoints_at_end(config: Config, job: Job) -> Iterator[None]:
    """Remove the checkpoints when the block has ended with a result, even if the store could not close the run.

    Those of a run that its sweep stopped go too: it is not resumed.
    """
    checkpoints = _checkpoints(config, job, "")
    try:
        yield
    except (RunNotClosed, Pruned):
        checkpoints.clear()
        raise
    checkpoints.clear()


def _checkpoints(config: Config, job: Job, run_id: str) -> CheckpointDir:
    return CheckpointDir(job.folder / checkpoint.DIR_NAME, config.checkpoint.keep, run_id)
