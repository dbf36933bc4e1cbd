"""What all charts of a sweep share: the colour and shape of a job's state, and what a job tells under the pointer."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import altair as alt

from thaw.common.console import printable
from thaw.report.drawing import chart_names
from thaw.report.sweep_axes import value_text
from thaw.report.sweep_figures import FAILED, FINISHED, MAXIMIZE, PRUNED, RUNNING, SweepFigures, SweepJob

REUSED = "reused"  # shown in place of `finished`
STATES = (FINISHED, FAILED, REUSED, RUNNING, PRUNED)  # in the order of the theme's colours
_CROSS = "M-.7,-.7L.7,.7M.7,-.7L-.7,.7"
_SHAPES = {FINISHED: "circle", FAILED: "triangle-down", REUSED: "diamond", RUNNING: "triangle-right", PRUNED: _CROSS}
_MAX_KEYS = 12  # lines of a tooltip
_LONGEST = 60  # letters of a value in a tooltip


def shown_state(job: SweepJob) -> str:
    """Return the state of a job as charts and tables show it: `reused` is a finished job that did not run."""
    return REUSED if job.reused and job.state == FINISHED else job.state


def job_row(job: SweepJob, keys: Sequence[str] = (), **values: Any) -> dict[str, Any]:
    """Return what a chart knows of a job: number, run, name, state, the values of keys as texts, and more."""
    row = {"job": job.number, "run": job.short_id, "name": _short(job.name), "state": shown_state(job), **values}
    return row | {
        f"p{i}": _short(value_text(job.params[key])) for i, key in enumerate(keys[:_MAX_KEYS]) if key in job.params
    }


def job_tooltip(figures: Mapping[str, str], keys: Sequence[str] = ()) -> list[alt.Tooltip]:
    """Return the tooltip of rows of `job_row`: titles of numbers by their column, then the keys."""
    first = [alt.Tooltip("job:Q", format="d"), alt.Tooltip("run:N"), alt.Tooltip("name:N"), alt.Tooltip("state:N")]
    numbers = [alt.Tooltip(f"{column}:Q", title=title, format=".5~g") for column, title in figures.items()]
    titles = chart_names([*figures.values(), *keys[:_MAX_KEYS]], _LONGEST)[len(numbers) :]
    return [*first, *numbers, *(alt.Tooltip(f"p{i}:N", title=title) for i, title in enumerate(titles))]


def state_colour(jobs: Sequence[SweepJob], legend: bool = True) -> alt.Color:
    """Return the colour of each state, with a legend of those that there are if there is more than one."""
    return alt.Color("state:N", scale=alt.Scale(domain=list(STATES)), legend=_legend(jobs) if legend else None)


def state_shape(jobs: Sequence[SweepJob], legend: bool = True) -> alt.Shape:
    """Return the shape of each state."""
    scale = alt.Scale(domain=list(STATES), range=[_SHAPES[state] for state in STATES])
    return alt.Shape("state:N", scale=scale, legend=_legend(jobs) if legend else None)


def ramp(figures: SweepFigures, objective: int, values: Sequence[float], legend: bool = True) -> alt.Color:
    """Return the colour of an objective's value in the column `value`: the better, the stronger.

    All have the palest colour that are three times as far from the best as the median: the good ones are told apart.
    """
    metric, direction = figures.objectives[objective]
    best, worst = (max(values), min(values)) if direction == MAXIMIZE else (min(values), max(values))
    reach = 3 * abs(best - median(values))
    if reach and abs(best - worst) > reach:
        worst = best - reach if direction == MAXIMIZE else best + reach
    ends = [min(best, worst), max(best, worst)]
    scale = alt.Scale(domain=ends, clamp=True, reverse=direction != MAXIMIZE, nice=False, zero=False)
    told = legend and len(set(values)) > 1
    bar = alt.Legend(title=chart_names([metric])[0], gradientLength=200, tickCount=3, titleLimit=260) if told else None
    return alt.Color("value:Q", scale=scale, legend=bar)


def title_axis(**given: Any) -> alt.Axis:
    """Return a vertical axis of an objective: some five values; the same room for labels in panels below each other."""
    return alt.Axis(**({"tickCount": 5, "titleLimit": 200, "minExtent": 40} | given))


def _legend(jobs: Sequence[SweepJob]) -> alt.Legend | None:
    there = [state for state in STATES if any(shown_state(job) == state for job in jobs)]
    return alt.Legend(title=None, values=there) if there != [FINISHED] else None


def _short(text: str) -> str:
    plain = printable(text)
    return plain if len(plain) <= _LONGEST else f"{plain[: _LONGEST - 1]}…"
