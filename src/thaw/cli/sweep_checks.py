"""What is checked of a sweep before its first job: that every value exists, and that no key varies that cannot."""

import math
from collections.abc import Sequence
from copy import deepcopy
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from thaw.cli.compose import initialized_hydra, job_config, to_config
from thaw.common.errors import UserError
from thaw.config import checks, key_conflicts
from thaw.config.command_lines import script_command
from thaw.config.schema import Config
from thaw.config.schema_keys import dotted_keys, section_types

if TYPE_CHECKING:
    from thaw.sweeps.space import Parameter

# Keys of which all jobs of a sweep have one value, and why.
PROCESS_KEYS = {"deterministic": "TensorFlow's threads and determinism are set once, for the life of a process"}
SWEEP_KEYS = {
    "outputs": "a sweep's jobs are looked for under the outputs of its parent run",
    "tracking.uri": "a sweep's jobs are in the store of its parent run",
    "tracking.experiment": "a sweep's jobs are in the experiment of its parent run",
}


_LEAVES = set(dotted_keys(Config)) - {name for name, _ in section_types(Config)}
_JOIN_KEYS = ("sweep.join=", "sweep.storage=", "sweep.workers=", "outputs=", "hydra.")


def check_sweep(arguments: list[str]) -> None:
    """Compose every value of a sweep once, with the other keys at their first, before anything heavy is imported.

    A key or choice that does not exist is found in a second; else it would be found after the sweep's run was opened.
    """
    from thaw.sweeps.space import parse_space  # late: it imports Optuna

    jobs = []
    with initialized_hydra():
        fixed = [argument for argument in arguments if not _parsed(argument).is_sweep_override()]
        parent = _job_config(fixed)
        _check_sweep_keys(arguments, parent)
        grid = parent.sweep.sampler == "grid" and not any(a.startswith("hydra/sweeper=") for a in arguments)
        values = [_swept_arguments(argument, grid) for argument in arguments]
        check_job_dirs(values)
        values += [_space_arguments(parameter) for parameter in parse_space(parent.sweep.space)]
        first = [swept[0] for swept in values]
        for i, swept in enumerate(values):
            if len(swept) > 1 or i == 0:
                jobs += _configs_of_values(first[:i], swept, first[i + 1 :])
    checks.raise_problems(problem for job in jobs for problem in checks.value_problems(job))
    if any(job.recipe == "auto" for job in jobs or [parent]):
        raise UserError("recipe=auto chooses its settings itself: leave -m out, or sweep recipe=finetune")
    check_sweep_jobs(parent, jobs or [parent])


def check_single_run(arguments: Sequence[str]) -> None:
    """Raise UserError when a command without `-m` sets keys of a sweep, or joins one with keys of its own."""
    keys = [a for a in arguments if a.startswith(("sweep=", "sweep.", "+sweep."))]
    if any(key.startswith("sweep.join=") for key in keys):
        if others := [argument for argument in arguments if not argument.startswith(_JOIN_KEYS)]:
            raise UserError(
                f"sweep.join works for a sweep as it was started, with its settings: leave {' '.join(others)} out"
            )
        return
    if keys:
        raise UserError(
            f"{keys[0]} is of a sweep, and without -m this is a single run: {script_command('train')} -m "
            f"{' '.join(arguments)}"
        )


def _check_sweep_keys(arguments: Sequence[str], parent: Config) -> None:
    """Raise UserError for keys of the sweep itself that vary, or that belong to a worker."""
    for argument in arguments:
        key = argument.partition("=")[0].lstrip("+")
        if (key == "sweep" or key.startswith("sweep.")) and _parsed(argument).is_sweep_override():
            raise UserError(f"{argument}: a sweep has one value of {key}. Run sweeps of their own")
    if parent.sweep.join is not None:
        raise UserError(f"sweep.join={parent.sweep.join} works for a sweep that there is already: leave -m out")


def _space_arguments(parameter: "Parameter") -> list[str]:
    """Return an argument for each value of a key of `sweep.space`; of an interval its ends."""
    distribution: Any = parameter.distribution
    return [parameter.override(value) for value in parameter.texts or (distribution.low, distribution.high)]


def check_sweep_jobs(parent: Config, jobs: Sequence[Config]) -> None:
    """Raise UserError when a key that holds for the whole sweep has several values, or a job contradicts itself.

    Args:
        parent: the config without the keys that are swept, which is that of the sweep's parent run.
        jobs: configs in which every swept value occurs once.
    """
    problems = [problem for job in jobs for problem in key_conflicts.contradictions(job)]
    for key, why in PROCESS_KEYS.items():
        values = _distinct_values(key, jobs)
        if len(values) > 1:
            problems.append(
                f"a sweep cannot vary {key} ({', '.join(values)}): {why}. Run them as sweeps of their own: "
                f"{', then '.join(f'{key}={value}' for value in values)}"
            )
    for key, why in SWEEP_KEYS.items():
        values = _distinct_values(key, [parent, *jobs])
        if len(values) > 1:
            problems.append(
                f"a sweep cannot vary {key} ({', '.join(values)}): {why}. Give one for all of it, {key}={values[-1]}, "
                "or run sweeps of their own"
            )
    checks.raise_problems(problems)


def check_job_dirs(overrides: Sequence[Sequence[str]]) -> None:
    """Raise UserError when a sweep's jobs would all have the same folder. overrides: of each argument its values."""
    jobs = math.prod(len(swept) for swept in overrides)
    for swept in overrides:
        key, _, value = swept[0].partition("=")
        if key == "hydra.sweep.subdir" and len(swept) == 1 and jobs > 1 and "$" not in value:
            raise UserError(
                f"{swept[0]}: all {jobs} jobs would have this folder. Leave it out, or let each have its own: "
                f"'hydra.sweep.subdir={value}-${{hydra.job.num}}'"
            )


def _configs_of_values(before: list[str], swept: list[str], after: list[str]) -> list[Config]:
    """Return the config of a job for each value of one key.

    Composing one takes 0.2 s. Where the key is no choice of a file, the others are copies with their value put in.
    """
    key = swept[0].partition("=")[0]
    if key not in _LEAVES:
        return [_job_config([*before, argument, *after]) for argument in swept]
    configs = []
    with job_config(hydra.compose("config", [*before, swept[0], *after], return_hydra_config=True)) as cfg:
        for argument in swept:
            one = deepcopy(cfg)
            try:
                OmegaConf.update(one, key, _parsed(argument).value())
                configs.append(to_config(one, Config))
            except (OmegaConfBaseException, UserError):  # Hydra's error says more
                configs.append(_job_config([*before, argument, *after]))
    return configs


def _job_config(overrides: list[str]) -> Config:
    with job_config(hydra.compose("config", overrides, return_hydra_config=True)) as cfg:
        return to_config(cfg, Config)


def _parsed(argument: str) -> Any:
    (parsed,) = OverridesParser.create(GlobalHydra.instance().config_loader()).parse_overrides([argument])
    return parsed


def _swept_arguments(argument: str, grid: bool) -> list[str]:
    """Return an argument for each value that the sweep runs through; of an interval its ends."""
    parsed = _parsed(argument)
    key, value = argument.partition("=")[0], parsed._value
    if isinstance(value, IntervalSweep):
        if grid:
            raise UserError(
                f"{argument} has no steps for a grid to run through: list values, {key}={value.start},{value.end}, or "
                "draw from it: sweep=random or sweep=tpe"
            )
        from thaw.sweeps.space import parse_swept_arguments

        (parameter,), _ = parse_swept_arguments([argument])
        return _space_arguments(parameter)
    swept = [f"{key}={each}" for each in parsed.sweep_string_iterator()] if parsed.is_sweep_override() else [argument]
    if not swept:
        raise UserError(f"{argument}: there is no such value to run through")
    return swept


def _distinct_values(key: str, configs: Sequence[Config]) -> list[str]:
    """Return the key's values as they are typed, each once."""
    values = map(attrgetter(key), configs)
    return list(dict.fromkeys(str(value).lower() if isinstance(value, bool) else str(value) for value in values))
