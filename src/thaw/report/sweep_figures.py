"""What the page of a sweep shows: its jobs, its objectives, and the ranges of what was varied."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from thaw.common.console import printable

ParamValue = float | int | str | bool | None

FINISHED, PRUNED, FAILED, RUNNING = "finished", "pruned", "failed", "running"
MAXIMIZE, MINIMIZE = "maximize", "minimize"


@dataclass(frozen=True)
class ParamRange:
    """From where the values of a swept key come.

    low, high: bounds of a number, both included; None where there are none. log: values are drawn on a logarithmic
    scale. choices: of a categorical key, in their order; () for a range of numbers.
    """

    low: float | None = None
    high: float | None = None
    log: bool = False
    choices: tuple[ParamValue, ...] = ()


@dataclass(frozen=True)
class SweepJob:
    """One job of a sweep.

    state: `finished`, `pruned`, `failed` or `running`. params: swept keys. values: one an objective, () without.
    curve: the validation value that the job reported, by epoch counted over the whole run. seconds: of this job's run;
    of a reused one, of the earlier run. reused: taken over from an earlier run. reason: of a failure or of pruning.
    started, ended: seconds since the epoch (Unix). metrics: as logged, such as `val/accuracy` and `test/accuracy`.
    cached_images, computed_images: whose frozen features were read from the cache, and were computed. folder: of its
    run, whose `report/report.html` the page links to if it is there. on_front: no other job is better in one objective
    and as good in all others; without meaning for a single objective. is_head_alone: its network leaves out what the
    run had thawed.
    """

    number: int
    state: str
    params: Mapping[str, ParamValue]
    values: tuple[float, ...] = ()
    curve: Mapping[int, float] = field(default_factory=dict)
    run_id: str | None = None
    name: str = ""
    seconds: float | None = None
    reused: bool = False
    attempts: int = 1
    reason: str = ""
    started: float | None = None
    ended: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    cached_images: int = 0
    computed_images: int = 0
    folder: str = ""
    on_front: bool = False
    is_head_alone: bool = False

    def value(self, objective: int) -> float | None:
        """Return the value of an objective by its index; None if the job has not finished with a finite one."""
        if self.state != FINISHED or objective >= len(self.values) or not math.isfinite(self.values[objective]):
            return None
        return self.values[objective]

    @property
    def short_id(self) -> str:
        """The first eight letters of the run's id; a dash without a run."""
        return printable(self.run_id[:8]) if self.run_id else "–"


@dataclass(frozen=True)
class SweepFigures:
    """A sweep as its page shows it.

    objectives: pairs of a metric and `maximize` or `minimize`, at least one. trials: jobs that were asked for.
    distributions: by swept key. importances: how much a key sets the jobs apart that are best in the first objective,
    by key, 1 in all; {} if that is unknown. wall_seconds: from the first start to the last end. saved_seconds:
    estimates by what saved them:

    - `reuse`: the seconds of the earlier runs whose results were taken over
    - `pruning`: of each pruned job, the epochs that it did not train times its seconds an epoch
    - `cache`: the images that were read from the cache times the seconds an image took where it was computed
    """

    name: str
    id: str
    command: str
    sampler: str
    pruner: str
    objectives: tuple[tuple[str, str], ...]
    trials: int
    jobs: tuple[SweepJob, ...]
    distributions: Mapping[str, ParamRange] = field(default_factory=dict)
    importances: Mapping[str, float] = field(default_factory=dict)
    wall_seconds: float = 0.0
    saved_seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def keys(self) -> list[str]:
        """The swept keys, the most important ones first, then in the order in which the jobs have them."""
        keys = dict.fromkeys([*self.distributions, *(key for job in self.jobs for key in job.params)])
        return sorted(keys, key=lambda key: -self.importances.get(key, 0.0))

    def ranked(self, objective: int = 0) -> list[SweepJob]:
        """Return the finished jobs that have a value of an objective, best first.

        Of equals the one comes first that is better in the other objectives, and then the earlier one.
        """
        order = [objective, *(i for i in range(len(self.objectives)) if i != objective)]

        def key(job: SweepJob) -> tuple[float, ...]:
            values = [(job.value(i), self.objectives[i][1]) for i in order]
            signed = [math.inf if v is None else -v if direction == MAXIMIZE else v for v, direction in values]
            return (*signed, job.number)

        return sorted((job for job in self.jobs if job.value(objective) is not None), key=key)

    def best_jobs(self) -> list[SweepJob]:
        """Return the finished jobs, best first; of several objectives those on the Pareto front before the others."""
        ranked = self.ranked()
        if len(self.objectives) == 1:
            return ranked
        return [*(job for job in ranked if job.on_front), *(job for job in ranked if not job.on_front)]
