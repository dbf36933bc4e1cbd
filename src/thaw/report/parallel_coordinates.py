"""Parallel coordinates of a sweep: a line a job through an axis for each swept key and each objective."""

from collections.abc import Sequence
from typing import Any

import altair as alt

from thaw.report.drawing import POINTER_LAYER, Drawing, chart_names, layered, rows
from thaw.report.sweep_axes import LINES, SweptAxis, jitter, objective_axis, swept_axis, value_text, wrapped_names
from thaw.report.sweep_figures import SweepFigures, SweepJob
from thaw.report.sweep_marks import job_row, ramp

MAX_LINES = 400  # the best jobs
ROW_HEIGHT = 72  # pixels from axis to axis: five lines of a name
_ONE_LINE = 4  # labels of choices that stand in one line; more take turns in two
_SPREAD = 0.5  # share of a choice's part of the axis in which its jobs are spread


def parallel_coordinates(figures: SweepFigures) -> Drawing | None:
    """Draw the finished jobs, coloured by the first objective; None without jobs or swept keys.

    The axes lie below each other, so that long names and many keys have room on a phone too.
    """
    jobs = figures.ranked()[:MAX_LINES]
    keys = [key for key in figures.keys if any(key in job.params for job in jobs)]
    if not jobs or not keys:
        return None
    axes = [swept_axis(figures, key, jobs) for key in keys]
    ends = [objective_axis(figures, i, jobs) for i in range(len(figures.objectives))]
    names = wrapped_names([axis.key for axis in [*axes, *ends]])
    full = chart_names([axis.key for axis in [*axes, *ends]], 80)
    values = [
        point
        for job in reversed(jobs)  # the best are drawn last, above the others
        for point in _line(job, axes, len(ends), ends, names, full)
    ]
    layers = [*_ground([*axes, *ends], names), *_lines(figures, values, names, jobs), *_labels([*axes, *ends], names)]
    every = figures.ranked()
    description = (
        "Each line from top to bottom is a finished job, through its value on the axis of each key and objective; the "
        f"better its {chart_names([figures.objectives[0][0]], 80)[0]}, the stronger its colour."
    )
    if any(axis.choices for axis in axes):
        description += " Jobs of one choice are spread a little, so that they can be told apart."
    positions = [axis.position(job.value(i)) for job in jobs for i, axis in enumerate(ends)]
    if far := sum(place is not None and not 0 <= place <= 1 for place in positions):
        description += f" {far:,} value{'s' * (far != 1)} far worse stand{'s' * (far == 1)} on the edge of an axis."
    if len(every) > len(jobs):
        description += f" The best {len(jobs)} of {len(every):,} jobs."
    chart = layered(*layers, height=ROW_HEIGHT * len(names))
    return Drawing(
        "parallel", "Parallel coordinates", description, [chart], hint="Point at a line's crossing to see it alone."
    )


def _line(
    job: SweepJob,
    axes: Sequence[SweptAxis],
    objectives: int,
    ends: Sequence[SweptAxis],
    names: list[str],
    full: list[str],
) -> list[dict[str, Any]]:
    """The points of a job, from the first axis to the last; a key that it does not have interrupts its line."""
    values: list[Any] = [job.params.get(axis.key) for axis in axes]
    places = [
        _spread(axis, axis.position(value), job.number) if axis.key in job.params else None
        for axis, value in zip(axes, values, strict=True)
    ]
    results = [job.value(i) for i in range(objectives)]
    for axis, value in zip(ends, results, strict=True):
        place = axis.position(value)
        places.append(None if place is None else min(max(place, 0.0), 1.0))
    return [
        job_row(
            job,
            i=i,
            axis=name,
            key=whole,
            place=place,
            value=results[0],
            text="" if place is None else value_text(value),
        )
        for i, (name, whole, place, value) in enumerate(zip(names, full, places, [*values, *results], strict=True))
    ]


def _spread(axis: SweptAxis, place: float | None, number: int) -> float | None:
    if place is None or not axis.choices:
        return place
    return place + (jitter(number) - 0.5) * _SPREAD / len(axis.choices)


def _x(column: str) -> alt.X:
    return alt.X(f"{column}:Q", axis=None, scale=alt.Scale(domain=[0, 1], nice=False, padding=14))


def _y(names: list[str]) -> alt.Y:
    axis = alt.Axis(grid=False, ticks=False, domain=False, labelPadding=10, **LINES)
    return alt.Y("axis:N", title=None, scale=alt.Scale(domain=names), axis=axis)


def _ground(axes: Sequence[SweptAxis], names: list[str]) -> list[alt.Chart]:
    ends = alt.Chart(rows({"axis": name, "place": 0, "end": 1} for name in names))
    ticks = alt.Chart(
        rows({"axis": name, "place": at} for axis, name in zip(axes, names, strict=True) for at, _ in axis.ticks())
    )
    return [
        ends.mark_rule(strokeWidth=1).encode(x=_x("place"), x2="end", y=_y(names)),
        ticks.mark_point(shape="stroke", angle=90, size=60, color="#888888", opacity=1).encode(
            x=_x("place"), y=_y(names)
        ),
    ]


def _lines(
    figures: SweepFigures, values: list[dict[str, Any]], names: list[str], jobs: Sequence[SweepJob]
) -> list[alt.Chart]:
    hover = alt.selection_point(on="pointerover", clear="pointerout", fields=["job"])
    faint = 0.9 if len(jobs) <= 30 else 0.65
    base = alt.Chart(rows(values)).encode(x=_x("place"), y=_y(names))
    lines = base.mark_line(strokeWidth=1.8, strokeJoin="round").encode(
        color=ramp(figures, 0, [job.values[0] for job in jobs]), detail="job:Q", order="i:Q",
        opacity=alt.condition(hover, alt.value(faint), alt.value(0.05)),
    )  # fmt: skip
    tooltip = [
        alt.Tooltip("job:Q", format="d"), alt.Tooltip("run:N"), alt.Tooltip("name:N"), alt.Tooltip("key:N"),
        alt.Tooltip("text:N", title="its value"),
        alt.Tooltip("value:Q", title=chart_names([figures.objectives[0][0]], 60)[0], format=".5~g"),
    ]  # fmt: skip
    near = base.properties(name=POINTER_LAYER).mark_point(size=90, opacity=0, filled=True)
    return [lines, near.encode(tooltip=tooltip).add_params(hover)]


def _labels(axes: Sequence[SweptAxis], names: list[str]) -> list[alt.Chart]:
    """The written values below each axis, on a halo of paper, as lines cross them."""
    told: list[dict[str, Any]] = []
    for axis, name in zip(axes, names, strict=True):
        ticks = axis.ticks()
        turns = 2 if axis.choices and len(ticks) > _ONE_LINE else 1
        told += [
            {
                "axis": name,
                "place": at,
                "label": text,
                "low": i % turns,
                "room": min(turns / len(ticks), 2 * min(at, 1 - at) if axis.choices else 1.0),
            }
            for i, (at, text) in enumerate(ticks)
        ]
    ink: Any = {
        "fontSize": 11, "baseline": "top", "limit": alt.ExprRef("0.94 * width * datum.room"),
        "align": alt.ExprRef("datum.place < 0.02 ? 'left' : datum.place > 0.98 ? 'right' : 'center'"),
        "dx": alt.ExprRef("datum.place < 0.02 ? -8 : datum.place > 0.98 ? 8 : 0"),
        "dy": alt.ExprRef("7 + 14 * datum.low"),
    }  # fmt: skip
    base = alt.Chart(rows(told)).encode(x=_x("place"), y=_y(names), text="label:N")
    return [base.mark_text(**ink, style="halo"), base.mark_text(**ink)]
