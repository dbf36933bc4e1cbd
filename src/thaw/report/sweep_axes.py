"""Axes of swept keys and objectives: where a value stands, and which values are written beside the axis."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from thaw.report.drawing import chart_names
from thaw.report.sweep_figures import MAXIMIZE, ParamRange, ParamValue, SweepFigures, SweepJob

_GOLDEN = 0.6180339887498949  # multiples of it, without their whole part, spread evenly: a jitter that stays the same


@dataclass(frozen=True)
class SweptAxis:
    """The axis of a swept key or of an objective.

    choices: of a categorical axis, as they are written, in their order; () of numbers. low, high: ends of an axis of
    numbers. log: it is logarithmic. whole: its numbers are integers.
    """

    key: str
    choices: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    whole: bool = False

    @property
    def drawn_choices(self) -> list[str]:
        """The choices as a chart can draw them."""
        return chart_names(self.choices)

    def position(self, value: ParamValue) -> float | None:
        """Return where a value stands between the ends, from 0 to 1; None if it has no place.

        Choices have equal parts of the axis, and stand in their middle.
        """
        if self.choices:
            text = exact_text(value)
            return (self.choices.index(text) + 0.5) / len(self.choices) if text in self.choices else None
        number = _number(value)
        if number is None or (self.log and number <= 0):
            return None
        if self.log:
            return self._share(math.log(number), math.log(self.low), math.log(self.high))
        return self._share(number, self.low, self.high)

    def ticks(self) -> list[tuple[float, str]]:
        """Return the position of each written value, and its text; at most six of numbers, all of the choices."""
        if self.choices:
            return [((i + 0.5) / len(self.choices), name) for i, name in enumerate(self.drawn_choices)]
        values = self.tick_values()
        return [(position, short_number(v)) for v in values if (position := self.position(v)) is not None]

    def tick_values(self) -> list[float]:
        """Return round numbers between the ends; the ends themselves where there are fewer than two."""
        if self.low == self.high:
            return [self.low]
        found = _log_ticks(self.low, self.high) if self.log else _linear_ticks(self.low, self.high, self.whole)
        return found if len(found) > 1 else [self.low, self.high]

    @staticmethod
    def _share(value: float, low: float, high: float) -> float:
        return (value - low) / (high - low) if high > low else 0.5


def swept_axis(figures: SweepFigures, key: str, jobs: Iterable[SweepJob]) -> SweptAxis:
    """Return the axis of a swept key: it holds the whole range that was searched, and all values of these jobs.

    Numbers are categorical if they were given as choices; what is not only numbers is always categorical.
    """
    given = figures.distributions.get(key, ParamRange())
    values = [job.params[key] for job in jobs if key in job.params]
    numbers = [number for value in values if (number := _number(value)) is not None]
    if given.choices or len(numbers) < len(values):
        texts = dict.fromkeys(exact_text(value) for value in (*given.choices, *values))
        return SweptAxis(key, tuple(texts))
    ends = [*(end for end in (given.low, given.high) if end is not None and math.isfinite(end)), *numbers] or [0.0]
    if given.log:
        ends = [end for end in ends if end > 0] or ends
    low, high = min(ends), max(ends)
    whole = bool(values) and all(isinstance(value, int) for value in values)
    return SweptAxis(key, (), low, high, given.log and low > 0, whole)


def objective_axis(figures: SweepFigures, objective: int, jobs: Iterable[SweepJob]) -> SweptAxis:
    """Return the axis of an objective, which holds the values of these jobs, but none that diverged."""
    metric, direction = figures.objectives[objective]
    values = [value for job in jobs if (value := job.value(objective)) is not None] or [0.0]
    low, high = shown_range(values, direction)
    return SweptAxis(metric, (), max(low, min(values)), min(high, max(values)))


def shown_range(values: Sequence[float], direction: str) -> tuple[float, float]:
    """Return the ends of an axis that shows how good values differ: (low, high), with low < high.

    It ends where a value is ten times as far from the best as the median is: one that diverged would hide all others.
    """
    sign = 1.0 if direction == MAXIMIZE else -1.0
    best, worst = max(values, key=lambda v: sign * v), min(values, key=lambda v: sign * v)
    reach = 10 * abs(best - median(values))
    if reach and abs(best - worst) > reach:
        worst = best - sign * reach
    low, high = min(best, worst), max(best, worst)
    room = 0.06 * (high - low) or 0.05 * abs(best) or 1.0
    return low - room, high + room


def jitter(number: int) -> float:
    """Return a number from 0 to 1, the same for a job whenever the page is written."""
    return number * _GOLDEN % 1


def exact_text(value: ParamValue) -> str:
    """Return a value as it is written on the command line, without rounding."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def value_text(value: ParamValue) -> str:
    """Return a value as it is read: numbers with four digits."""
    return short_number(value) if isinstance(value, float) else exact_text(value)


def short_number(number: float) -> str:
    """Return `0.9132`, `12,400` or `3e-05`: four digits, or all those before the point."""
    if number != number or math.isinf(number):
        return str(number)
    if abs(number) >= 1000:
        return f"{number:,.0f}" if abs(number) < 1e7 else f"{number:.3g}"
    return f"{number:.4g}"


def wrapped(name: str, width: int = 13, lines: int = 5) -> str:
    """Return a name on several lines, broken after its dots, dashes and the like, and cut with an ellipsis."""
    pieces = [
        piece[i : i + width] for piece in re.findall(r"[^._/\- ]*[._/\- ]?", name) for i in range(0, len(piece), width)
    ]
    done: list[str] = []
    for piece in pieces:
        if done and len(done[-1]) + len(piece) <= width:
            done[-1] += piece
        else:
            done.append(piece)
    if len(done) > lines:
        done[lines - 1] = f"{done[lines - 1][: width - 1]}…"
    return "\n".join(done[:lines])


def wrapped_names(names: Sequence[str]) -> list[str]:
    """Return names as the labels of a chart: on several lines, no two alike. `LINES` splits them there."""
    drawn = [wrapped(name) for name in chart_names(names, 120)]
    return [name if drawn.count(name) == 1 else f"{name} {number}" for number, name in enumerate(drawn, 1)]


# For a vertical axis whose labels are `wrapped_names`: each on its lines, with the middle one at its tick.
LINES: dict[str, Any] = {
    "labelExpr": "split(datum.label, '\\n')",
    "labelOffset": {
        "condition": [
            {"test": f"length(split(datum.value, '\\n')) == {lines}", "value": -7 * (lines - 1)}
            for lines in range(2, 6)
        ],
        "value": 0,
    },
}


def _number(value: ParamValue) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _linear_ticks(low: float, high: float, whole: bool) -> list[float]:
    power = 10.0 ** math.floor(math.log10(high - low))
    steps = [factor * power for factor in (0.1, 0.2, 0.5, 1, 2, 5) if not whole or factor * power >= 1] or [power]
    step = next((s for s in steps if (high - low) / s <= 5), steps[-1])
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    tens = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 3), (1, 2, 5)):
        found = [float(f"{factor}e{ten}") for ten in tens for factor in factors]
        found = [value for value in found if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]
        if len(found) >= 3:
            break
    return found[:: math.ceil(len(found) / 6)] if found else []
