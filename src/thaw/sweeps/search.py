"""Which setting comes next, and which job is hopeless: Optuna's samplers and pruners by their names in `sweep`."""

import math
from collections.abc import Sequence
from typing import Any

import optuna

from thaw.sweeps.plan import SweepPlan
from thaw.sweeps.space import Parameter, grid_size

DEFAULT_TRIALS = 20
_STARTUP_JOBS = 5  # of the median pruner: jobs that must have ended before one is stopped
_REDUCTION = 3  # of Hyperband, as in its paper (Li et al. 2018)


def total(plan: SweepPlan) -> int:
    """Return how many settings a sweep tries: of a finite space no more than it has."""
    size = grid_size(plan.parameters)
    return min(plan.trials, size) if size is not None else plan.trials


def grid_point(parameters: Sequence[Parameter], number: int) -> dict[str, Any]:
    """Return a combination of a grid by its number; the last parameter varies fastest, as in Hydra's own sweeps."""
    point: dict[str, Any] = {}
    for parameter in reversed(parameters):
        number, index = divmod(number, len(parameter.texts))
        point[parameter.key] = parameter.texts[index]
    return {p.key: point[p.key] for p in parameters}


def sampler(plan: SweepPlan, number: int, draw: int) -> optuna.samplers.BaseSampler:
    """Return the sampler for one setting.

    Its seed is that of the sweep, the setting and the draw: which process draws, and how often one was started, does
    not matter. TPE takes jobs that still run for bad ones (constant liar), so that workers do not all try one place.
    """
    seed = (plan.seed * 1_000_003 + number * 101 + draw) % 2**31
    if plan.sampler == "tpe":
        return optuna.samplers.TPESampler(seed=seed, constant_liar=True)
    return optuna.samplers.RandomSampler(seed=seed)


def pruner(plan: SweepPlan) -> optuna.pruners.BasePruner:
    """Return the pruner. Epochs count over all stages; what is never pruned is the worker's matter."""
    if plan.pruner == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=_STARTUP_JOBS)
    if plan.pruner == "hyperband":
        smallest = plan.pruner_warmup + 1
        largest: int | str = max(plan.epochs, smallest) if plan.epochs else "auto"
        return optuna.pruners.HyperbandPruner(smallest, largest, _REDUCTION)
    return optuna.pruners.NopPruner()


def best_first(values: Sequence[float], direction: str) -> float:
    """Return a sort key for a job's first objective: the best first, without one or not a number last."""
    if not values or math.isnan(values[0]):
        return math.inf
    return -values[0] if direction == "maximize" else values[0]
