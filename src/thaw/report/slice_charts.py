"""Slices of a sweep: an objective against each swept key by itself."""

from typing import Any

import altair as alt

from thaw.report.drawing import Drawing, chart_names, layered, rows
from thaw.report.sweep_axes import SweptAxis, exact_text, jitter, shown_range, swept_axis, value_text
from thaw.report.sweep_figures import SweepFigures, SweepJob
from thaw.report.sweep_marks import job_row, title_axis

_ELEMENTS = 3000  # marks above which the panels are drawn as pixels
_LONGEST = 22  # letters of a choice below an axis


def slice_drawings(figures: SweepFigures) -> list[Drawing]:
    """Draw the finished jobs, a drawing an objective, a panel a swept key; without jobs or keys there are none."""
    drawings = []
    for objective, (metric, direction) in enumerate(figures.objectives):
        jobs = sorted(figures.ranked(objective), key=lambda job: job.number)
        keys = [key for key in figures.keys if any(key in job.params for job in jobs)]
        if not keys:
            continue
        panels = [_panel(figures, objective, swept_axis(figures, key, jobs), jobs) for key in keys]
        name = chart_names([metric], 80)[0]
        description = (
            f"Each mark is a finished job: its {name} over the value of one key; the later the job, the stronger its "
            "colour. A slope or a step shared by most marks is an effect of the key."
        )
        low, high = shown_range([job.values[objective] for job in jobs], direction)
        if far := sum(not low <= job.values[objective] <= high for job in jobs):
            description += f" {far:,} far worse stand{'s' * (far == 1)} on the edge."
        drawings.append(
            Drawing(
                f"slices-{objective + 1}", f"Slices of {name}", description, panels, side_by_side=True,
                canvas=len(panels) * len(jobs) > _ELEMENTS,
            )
        )  # fmt: skip
    return drawings


def _panel(figures: SweepFigures, objective: int, axis: SweptAxis, jobs: list[SweepJob]) -> alt.LayerChart:
    having = [job for job in jobs if axis.position(job.params.get(axis.key)) is not None and axis.key in job.params]
    title = chart_names([axis.key], 34)[0]
    metric = chart_names([figures.objectives[objective][0]], 32)[0]
    names = chart_names(axis.choices, _LONGEST)
    low, high = shown_range([job.values[objective] for job in jobs], figures.objectives[objective][1])
    scale = alt.Scale(domain=[low, high], nice=False, zero=False, padding=6)
    drawn = dict(zip(axis.choices, names, strict=True))
    data = [
        job_row(
            job, value=job.values[objective], place=min(max(job.values[objective], low), high),
            text=value_text(job.params[axis.key]), spread=jitter(job.number),
            x=drawn[exact_text(job.params[axis.key])] if axis.choices else job.params[axis.key],
        )
        for job in having
    ]  # fmt: skip
    encoding: dict[str, Any] = {"x": _x(axis, title, names)}
    if axis.choices:
        encoding["xOffset"] = alt.XOffset("spread:Q", scale=alt.Scale(domain=[-0.5, 1.5]))
    numbers = [job.number for job in jobs]
    colour = alt.Color(
        "job:Q", legend=None, scale=alt.Scale(domain=[min(numbers) - 1, max(numbers)], nice=False, zero=False)
    )
    points = alt.Chart(rows(data)).mark_point(filled=True, size=42, opacity=0.9).encode(
        **encoding,
        y=alt.Y("place:Q", title=metric, scale=scale, axis=title_axis(titleLimit=180)),
        color=colour,
        tooltip=[
            alt.Tooltip("job:Q", format="d"), alt.Tooltip("run:N"), alt.Tooltip("name:N"),
            alt.Tooltip("text:N", title=title), alt.Tooltip("value:Q", title=metric, format=".5~g"),
        ],
    )  # fmt: skip
    return layered(points, height=190)


def _angle(names: list[str]) -> int:
    """The angle of choices below an axis: level if all have room on the narrowest panel."""
    longest = max(map(len, names))
    return 0 if 7 * longest * len(names) <= 230 else -45 if longest <= 12 else -90


def _x(axis: SweptAxis, title: str, names: list[str]) -> alt.X:
    if axis.choices:
        below = alt.Axis(labelAngle=_angle(names), titleLimit=280, grid=False)
        return alt.X("x:N", title=title, scale=alt.Scale(domain=names), axis=below)
    if axis.low == axis.high:
        ends = [axis.low - 1, axis.high + 1] if not axis.log else [axis.low / 2, axis.high * 2]
    else:
        ends = [axis.low, axis.high]
    scale = alt.Scale(type="log" if axis.log else "linear", domain=ends, nice=False, padding=8)
    below = alt.Axis(values=axis.tick_values(), format="~g", titleLimit=280)
    return alt.X("x:Q", title=title + (" (log)" if axis.log else ""), scale=scale, axis=below)
