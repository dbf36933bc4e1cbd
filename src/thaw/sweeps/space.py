"""The space of a sweep: from `sweep.space` and the command line's own sweeps to Optuna's distributions.

Both are read by Hydra's own grammar, to which `uniform`, `log` and `int` are added: `log(1e-5,1e-2)` means the same as
Hydra's `tag(log, interval(1e-5,1e-2))`.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser, create_functions
from hydra.core.override_parser.types import (
    ChoiceSweep,
    IntervalSweep,
    Override,
    OverrideType,
    QuotedString,
    RangeSweep,
    ValueType,
)
from hydra.errors import HydraException
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from thaw.common.errors import UserError
from thaw.config.key_conflicts import HEAD_OPTIMIZER_KEY

_EXAMPLE = (
    "'sweep.space={optimizer.learning_rate: log(1e-5,1e-2), head.dropout: uniform(0,0.5), finetune.freeze: [all,0.5]}'"
)


_NO_SETTINGS = ("sweep", "hydra", "resume")


@dataclass(frozen=True)
class Parameter:
    """One key that a sweep varies.

    Attributes:
        key: as typed before `=`: `optimizer.learning_rate`, or `optimizer@finetune.head_optimizer`.
        distribution: what its values are drawn from; the choices of a categorical one are `texts`.
        texts: of a categorical one, each choice as it stands on a command line; empty for an interval.
    """

    key: str
    distribution: BaseDistribution
    texts: tuple[str, ...] = ()

    def values(self) -> Sequence[Any] | None:
        """Return all values of a choice or of an interval of whole numbers; None of any other interval."""
        if isinstance(self.distribution, IntDistribution):
            return range(self.distribution.low, self.distribution.high + 1)
        return self.texts or None

    def override(self, value: Any) -> str:
        """Return `key=value` for a value that was drawn."""
        if isinstance(self.distribution, CategoricalDistribution):
            return f"{self.key}={value}"
        return f"{self.key}={value!r}"


def parse_space(space: Any) -> list[Parameter]:
    """Return the parameters of `sweep.space`: a mapping from keys to lists, numbers or texts such as `log(1e-5,1e-2)`.

    Raises:
        UserError: it is no mapping, a key is no job's, or a value is nothing to draw from.
    """
    if space is None:
        return []
    if isinstance(space, str):
        space = _read("sweep.space", space)
    if not isinstance(space, Mapping):
        raise UserError(f"sweep.space={space} is no mapping from keys to values. Example: {_EXAMPLE}")
    parameters = []
    for key, value in _dotted(space):
        if key.split(".")[0] in _NO_SETTINGS:
            raise UserError(f"sweep.space: {key} is no setting of a job, which is what a sweep varies")
        name = f"optimizer@{key}" if key == HEAD_OPTIMIZER_KEY else key  # a choice, as Hydra calls it
        parameters.append(_parameter(name, _value(key, value)))
    return parameters


def _dotted(space: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield key and value, also of `{head: {dropout: ...}}`, as a config file has it."""
    for key, value in space.items():
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def parse_swept_arguments(arguments: Iterable[str]) -> tuple[list[Parameter], list[str]]:
    """Return the parameters among a command line's `key=value`, and the arguments that have one value."""
    parameters, fixed = [], []
    parser = _parser()
    for argument in arguments:
        (override,) = parser.parse_overrides([argument])
        if override.is_sweep_override():
            key = argument.partition("=")[0]
            parameters.append(_parameter(key, override._value, override))
        else:
            fixed.append(argument)
    return parameters, fixed


def grid_size(parameters: Iterable[Parameter]) -> int | None:
    """Return the number of different settings; None when a parameter is an interval of any numbers."""
    values = [parameter.values() for parameter in parameters]
    return None if None in values else math.prod(len(each or ()) for each in values)


def as_attribute(parameters: Iterable[Parameter]) -> str:
    """Return the space as text that `from_attribute` reads, for workers on other machines."""
    from optuna.distributions import distribution_to_json

    return json.dumps([[p.key, distribution_to_json(p.distribution), list(p.texts)] for p in parameters])


def from_attribute(text: str) -> list[Parameter]:
    """Return the parameters that `as_attribute` wrote."""
    from optuna.distributions import json_to_distribution

    return [Parameter(key, json_to_distribution(dist), tuple(texts)) for key, dist, texts in json.loads(text)]


def _parser() -> OverridesParser:
    functions = create_functions()
    functions.register(name="uniform", func=_uniform)
    functions.register(name="log", func=_log)
    return OverridesParser(functions)


def _uniform(start: int | float, end: int | float) -> IntervalSweep:
    return IntervalSweep(start=start, end=end)


def _log(start: int | float, end: int | float) -> IntervalSweep:
    return IntervalSweep(tags={"log"}, start=start, end=end)


def _read(key: str, text: str) -> Any:
    """Return a text as Hydra's grammar reads it; raises UserError with the key when it does not."""
    try:
        (override,) = _parser().parse_overrides([f"value={text}"])
    except HydraException as error:
        raise UserError(f"{key}={text} is not understood: {_reason(error)}. Example: {_EXAMPLE}") from error
    return override._value


def _reason(error: HydraException) -> str:
    """Return what Hydra says is wrong: its first line repeats the input."""
    lines = str(error).splitlines() or [""]
    reason = lines[1] if len(lines) > 1 else lines[0]
    if "Unknown function" in reason:
        return f"{reason}; there are log, uniform, interval, choice, range and tag"
    return "several values stand in brackets: [0.1,0.2]" if reason.startswith("See http") else reason


def _value(key: str, value: Any) -> Any:
    """Return a value of the space as Hydra's grammar reads it; of a YAML file it is a text or a list."""
    if not isinstance(value, str) or isinstance(value, QuotedString):
        return value
    return _read(f"sweep.space: {key}", value)


def _parameter(key: str, value: Any, override: Override | None = None) -> Parameter:
    if isinstance(value, IntervalSweep):
        return Parameter(key, _interval(key, value))
    texts = tuple(dict.fromkeys(_texts(key, value, override)))
    if not texts:
        raise UserError(f"{key}: there is no value to run through")
    return Parameter(key, CategoricalDistribution(texts), texts)


def _texts(key: str, value: Any, override: Override | None) -> Iterator[str]:
    if override is not None:
        yield from override.sweep_string_iterator()
    elif isinstance(value, ChoiceSweep | RangeSweep):
        kind = ValueType.CHOICE_SWEEP if isinstance(value, ChoiceSweep) else ValueType.RANGE_SWEEP
        yield from Override(OverrideType.CHANGE, key, kind, value).sweep_string_iterator()
    elif isinstance(value, list | tuple):
        yield from (_element(each) for each in value)
    else:
        yield _element(value)


def _element(value: Any) -> str:
    return str(Override._get_value_element_as_str(value))


def _interval(key: str, value: IntervalSweep) -> BaseDistribution:
    start, end = value.start, value.end
    if start is None or end is None or not all(map(math.isfinite, (start, end))) or not start < end:
        raise UserError(f"{key}: an interval goes from a number to a larger one, and this one from {start} to {end}")
    log = "log" in value.tags
    if log and start <= 0:
        raise UserError(f"{key}: log({start},{end}) starts at {start}; a logarithmic interval starts above 0")
    if is_integer_key(key):
        if not (float(start).is_integer() and float(end).is_integer()):
            raise UserError(
                f"{key} holds whole numbers: an interval of it goes from one to another, not {start} to {end}"
            )
        return IntDistribution(int(start), int(end), log=log)
    return FloatDistribution(float(start), float(end), log=log)


def is_integer_key(key: str) -> bool:
    """Whether the schema's key holds whole numbers only, which an interval of whole numbers then draws."""
    from thaw.config.schema import Config
    from thaw.config.schema_keys import integer_keys

    return key.lstrip("+").rpartition("@")[2] in integer_keys(Config)
