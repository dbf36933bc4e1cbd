"""What a sweep is to do, as its study keeps it: a worker on another machine needs nothing else."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from thaw.common.errors import UserError, did_you_mean, joined
from thaw.sweeps import space
from thaw.sweeps.space import Parameter

DEFAULT_OBJECTIVES = (("objective", "maximize"),)
_ATTRIBUTE = "thaw"
# What every run has. The classes' figures and what the store has besides are known once a run has ended.
_STEPS = ("total", "scan", "extract", "train", "evaluate", "report")
_METRICS = (
    "objective",
    *(f"{split}/{name}" for split in ("val", "test") for name in ("accuracy", "loss", "macro_f1", "top5_accuracy")),
    *(f"time/{step}" for step in _STEPS),
    *(f"images_per_second/{step}" for step in ("train", "extract", "evaluate")),
)
_OTHER_METRICS = re.compile("(val|test)/class/.+/(f1|recall|precision)|(best|epoch|stage|parity|int8|leak)/.+")
_PART = 1800  # characters: Optuna's column holds 2,048 in MySQL


@dataclass(frozen=True)
class SweepPlan:
    """A sweep, as its study keeps it.

    Attributes:
        name: of the sweep's parent run.
        arguments: the command line without keys of the sweep itself; swept keys stand in it with all their values.
        hydra_arguments: the command line's keys of Hydra, such as `hydra.searchpath`.
        parameters: what varies, in the order of the combinations of a grid.
        sampler, pruner, pruner_warmup, retries, reuse: as `sweep.*`.
        trials: settings in all.
        objectives: metric and direction of each.
        seed: of the sampler.
        epochs: of one job over all stages, the most that any setting trains; 0: not known.
        folder: of the sweep; the jobs' folders lie in it.
        cwd: where the command was typed: relative paths start there.
        tracking_uri: of the store that the jobs log to.
        outputs: the jobs' outputs.
        parent_run_id: of the sweep's run in the store.
        digest: of what makes two commands the same sweep: settings, code and data.
        start: how often the command was started; what failed in an earlier start is tried again.
        code_sha256: of the code that trains its jobs, `thaw.code_hash`; empty in studies from before it was kept.
    """

    name: str
    arguments: tuple[str, ...]
    hydra_arguments: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    sampler: str
    trials: int
    pruner: str
    pruner_warmup: int
    objectives: tuple[tuple[str, str], ...]
    seed: int
    retries: int
    reuse: bool
    epochs: int
    folder: str
    cwd: str
    tracking_uri: str
    outputs: str
    parent_run_id: str
    start: int = 1
    digest: str = ""
    code_sha256: str = ""

    @property
    def directions(self) -> list[str]:
        """The direction of each objective."""
        return [direction for _, direction in self.objectives]

    def overrides(self, params: Mapping[str, Any]) -> list[str]:
        """Return a job's command line: each swept key with its one value, in the place where it was typed."""
        by_key = {p.key: p.override(params[p.key]) for p in self.parameters}
        typed = [by_key.pop(argument.partition("=")[0], argument) for argument in self.arguments]
        return [*typed, *by_key.values()]

    def started_again(self, current: "SweepPlan") -> "SweepPlan":
        """Return the plan with what a new start of the command may change, and one start more."""
        return replace(
            self,
            trials=current.trials,
            pruner=current.pruner,
            pruner_warmup=current.pruner_warmup,
            retries=current.retries,
            reuse=current.reuse,
            start=self.start + 1,
        )

    def to_attributes(self) -> dict[str, str]:
        """Return the plan as attributes of a study, of which each holds at most 2,000 characters."""
        content = asdict(self) | {"parameters": space.as_attribute(self.parameters)}
        text = json.dumps(content)
        parts = [text[i : i + _PART] for i in range(0, len(text), _PART)]
        # Names of their own for each start: parts of two plans never mix, whenever a start is killed.
        return {_ATTRIBUTE: f"{self.start}:{len(parts)}"} | {
            f"{_ATTRIBUTE}:{self.start}:{i}": part for i, part in enumerate(parts)
        }

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any]) -> "SweepPlan | None":
        """Return the plan of a study; None when it has none, or only a part yet."""
        start, _, count = str(attributes.get(_ATTRIBUTE, ":0")).partition(":")
        parts = [attributes.get(f"{_ATTRIBUTE}:{start}:{i}") for i in range(int(count or 0))]
        if not parts or None in parts:
            return None
        content = json.loads("".join(map(str, parts)))
        content["parameters"] = tuple(space.from_attribute(content["parameters"]))
        for key in ("arguments", "hydra_arguments"):
            content[key] = tuple(content[key])
        content["objectives"] = tuple((metric, direction) for metric, direction in content["objectives"])
        return cls(**content)


def parse_objectives(given: Any) -> tuple[tuple[str, str], ...]:
    """Return metric and direction of each objective of `sweep.objectives`.

    Raises:
        UserError: it is no mapping from metrics that runs have to maximize or minimize.
    """
    if given is None:
        return DEFAULT_OBJECTIVES
    example = "'sweep.objectives={val/accuracy: maximize, time/total: minimize}'"
    if not isinstance(given, Mapping) or not given:
        raise UserError(f"sweep.objectives={given} is no mapping from metrics to directions. Example: {example}")
    for metric, direction in given.items():
        if direction not in ("maximize", "minimize"):
            raise UserError(f"sweep.objectives: {metric}: {direction} is no direction: maximize or minimize")
        if metric not in _METRICS and not _OTHER_METRICS.fullmatch(str(metric)):
            raise UserError(
                f"sweep.objectives: runs have no metric {metric}.{did_you_mean(metric, _METRICS)} They have "
                f"{joined(_METRICS)}, val/class/NAME/f1 (recall, precision; of test too), and what else MLflow shows"
            )
    return tuple((str(metric), str(direction)) for metric, direction in given.items())


def is_sweep_key(argument: str, keys: Sequence[str] = ("sweep",)) -> bool:
    """Whether `key=value` sets a key of the sweep itself, which its jobs do not get."""
    key = argument.partition("=")[0].lstrip("+")
    return any(key == each or key.startswith(f"{each}.") for each in keys)
