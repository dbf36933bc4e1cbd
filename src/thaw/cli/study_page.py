"""The page of a sweep, `sweep.html` in its folder: what the ledger knows, as the report draws it."""

import contextlib
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from thaw import tracking
from thaw.cli.argument_quoting import unquote
from thaw.config import command_lines
from thaw.report.sweep_figures import ParamRange, ParamValue, SweepFigures, SweepJob
from thaw.report.sweep_page import write_sweep_page
from thaw.sweeps.ledger import JobState, Ledger
from thaw.sweeps.plan import SweepPlan
from thaw.sweeps.space import Parameter

_MIN_JOBS = 4  # finished ones, below which the importance of a key is a guess
_BEST_SHARE = 0.25  # of the jobs: what sets them apart; of 20 jobs five, the fewest that PED-ANOVA's authors advise
_STATES = {"waiting": "running"}


def write_page(ledger: Ledger, sweep_id: str) -> Path:
    """Write the page of a sweep that has ended, or was stopped, and return its path."""
    plan = ledger.known_plan()
    return write_sweep_page(Path(plan.folder), figures(ledger, plan, sweep_id))


def figures(ledger: Ledger, plan: SweepPlan, sweep_id: str) -> SweepFigures:
    """Return all that the page shows."""
    jobs = ledger.jobs()
    front = _front(ledger, plan)
    shown = tuple(_job(job, job.number in front) for job in jobs)
    begun = [job.started for job in shown if job.started]
    ended = [job.ended for job in shown if job.ended]
    return SweepFigures(
        name=plan.name,
        id=sweep_id,
        command=" ".join([command_lines.script_command("train"), "-m", *plan.arguments]),
        sampler=plan.sampler,
        pruner=plan.pruner,
        objectives=plan.objectives,
        trials=plan.trials,
        jobs=shown,
        distributions={p.key: _range(p) for p in plan.parameters},
        importances=_importances(ledger, plan, jobs),
        wall_seconds=max(ended) - min(begun) if begun and ended else 0.0,
        saved_seconds=saved_seconds(plan, jobs),
    )


def saved_seconds(plan: SweepPlan, jobs: Sequence[JobState]) -> dict[str, float]:
    """Return estimates of what reuse, pruning and the cache saved, as `SweepFigures.saved_seconds` says."""
    saved = {"reuse": sum(float(job.result.get("spared_seconds", 0.0)) for job in jobs), "pruning": 0.0, "cache": 0.0}
    for job in jobs:
        if job.state == "pruned" and job.curve and plan.epochs:
            done = max(job.curve)
            saved["pruning"] += max(plan.epochs - done, 0) * float(job.result.get("seconds", 0.0)) / done
    own = [job for job in jobs if not job.result.get("reused")]
    computed = sum(_cache(job, "misses") for job in own)
    if computed:
        seconds = sum(_metric(job, "time/extract") for job in own if _cache(job, "misses"))
        saved["cache"] = sum(_cache(job, "hits") for job in own) * seconds / computed
    return saved


def _job(job: JobState, on_front: bool) -> SweepJob:
    result = job.result
    reused = bool(result.get("reused"))
    return SweepJob(
        job.number,
        _STATES.get(job.state, job.state),
        {key: _value(value) for key, value in job.params.items()},
        job.values,
        job.curve,
        result.get("run_id"),
        str(result.get("name", "")),
        float(result.get("spared_seconds" if reused else "seconds", 0.0)) or None,
        reused,
        max(job.attempts, 1),
        str(result.get("reason", "")),
        job.started,
        job.ended,
        result.get("metrics", {}),
        _cache(job, "hits"),
        _cache(job, "misses"),
        str(result.get("folder", "")),
        on_front,
        result.get("kept") == tracking.HEAD,
    )


def _cache(job: JobState, key: str) -> int:
    cache: Mapping[str, int] = job.result.get("cache", {})
    return int(cache.get(key, 0))


def _metric(job: JobState, name: str) -> float:
    metrics: Mapping[str, float] = job.result.get("metrics", {})
    return float(metrics.get(name, 0.0))


def _front(ledger: Ledger, plan: SweepPlan) -> set[int]:
    """Return the numbers of the jobs on the Pareto front; none for one objective."""
    if len(plan.objectives) < 2:
        return set()
    return {number for trial in ledger.study.best_trials if (number := _number(trial)) is not None}


def _number(trial: optuna.trial.FrozenTrial) -> int | None:
    job: Mapping[str, Any] = trial.user_attrs.get("job", {})
    return job.get("number")


def _range(parameter: Parameter) -> ParamRange:
    distribution = parameter.distribution
    if isinstance(distribution, CategoricalDistribution):
        return ParamRange(choices=tuple(_value(text) for text in parameter.texts))
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return ParamRange(distribution.low, distribution.high, distribution.log)


def _importances(ledger: Ledger, plan: SweepPlan, jobs: Sequence[JobState]) -> dict[str, float]:
    """Return how much each key sets the best quarter of the jobs apart, 1 in all; none with too few jobs.

    PED-ANOVA (Watanabe et al. 2023), Optuna's default, takes milliseconds; fANOVA took minutes for a list of 60 values.
    """
    if len(plan.parameters) < 2 or sum(job.state == "finished" for job in jobs) < _MIN_JOBS:
        return {}
    sign = -1.0 if plan.directions[0] == "maximize" else 1.0  # it looks for what makes low values
    with contextlib.suppress(ValueError, RuntimeError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return optuna.importance.get_param_importances(
            ledger.study,
            evaluator=optuna.importance.PedAnovaImportanceEvaluator(target_quantile=_BEST_SHARE),
            target=lambda trial: sign * trial.values[0],
        )
    return {}


def _value(value: Any) -> ParamValue:
    """Return a choice as what its text on the command line means."""
    if not isinstance(value, str):
        return value
    known: dict[str, ParamValue] = {"true": True, "false": False, "null": None}
    if value.lower() in known:
        return known[value.lower()]
    for number in (int, float):
        with contextlib.suppress(ValueError):
            return number(value)
    return unquote(value)
