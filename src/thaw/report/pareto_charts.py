"""The Pareto front of a sweep with two or three objectives: what no job beats in one without losing in another."""

from itertools import combinations
from typing import Any

import altair as alt

from thaw.report.drawing import ZOOM_HINT, Drawing, chart_names, layered, rows, zoom
from thaw.report.sweep_figures import MAXIMIZE, SweepFigures, SweepJob
from thaw.report.sweep_marks import job_row, job_tooltip, title_axis

DRAWN_UP_TO = 3  # objectives
_ELEMENTS = 1500  # marks above which the panels are drawn as pixels
_KINDS = ["on the front", "dominated"]


def pareto_front(figures: SweepFigures) -> Drawing | None:
    """Draw each pair of objectives; None with one objective, with more than three, or without finished jobs."""
    count = len(figures.objectives)
    jobs = [job for job in figures.jobs if all(job.value(i) is not None for i in range(count))]
    if not 2 <= count <= DRAWN_UP_TO or not jobs:
        return None
    pairs = list(combinations(range(count), 2))
    front = sum(job.on_front for job in jobs)
    description = (
        f"Each mark is a finished job; no job beats the {front} on the front in one objective without losing "
        "in another, and each pale one is beaten by one of them."
    )
    if count == 2:
        description += f" The line bounds what the sweep has reached: {_better(figures, 0)}, {_better(figures, 1)}."
    else:
        described = ", ".join(_better(figures, i) for i in range(count))
        description += f" A job on the front of all three may look beaten in a panel of two: {described}."
    panels = [_panel(figures, jobs, x, y, height=320 if count == 2 else 250) for x, y in pairs]
    return Drawing(
        "pareto", "Pareto front", description, panels,
        hint=ZOOM_HINT, max_width=860 if count == 2 else None, side_by_side=count > 2,
        canvas=len(jobs) * len(pairs) > _ELEMENTS,
    )  # fmt: skip


def _better(figures: SweepFigures, objective: int) -> str:
    metric, direction = figures.objectives[objective]
    return f"{chart_names([metric], 60)[0]} is better the {'higher' if direction == MAXIMIZE else 'lower'}"


def _panel(figures: SweepFigures, jobs: list[SweepJob], x: int, y: int, height: int) -> alt.LayerChart:
    keys = figures.keys
    names = chart_names([figures.objectives[i][0] for i in (x, y)], 40)
    scale = alt.Scale(zero=False, padding=14)
    encoding: dict[str, Any] = {
        "x": alt.X("x:Q", title=names[0], scale=scale, axis=alt.Axis(tickCount=5, titleLimit=280)),
        "y": alt.Y("y:Q", title=names[1], scale=scale, axis=title_axis(titleLimit=240)),
    }
    ordered = sorted(jobs, key=lambda job: job.on_front)  # the front above the others
    points = alt.Chart(
        rows(
            job_row(job, keys, x=job.values[x], y=job.values[y], kind=_KINDS[not job.on_front]) for job in ordered
        )
    ).encode(
        **encoding,
        color=alt.Color("kind:N", scale=alt.Scale(domain=_KINDS, range=_colours()), legend=alt.Legend(title=None)),
        tooltip=job_tooltip({"x": names[0], "y": names[1]}, keys),
    )  # fmt: skip
    marks = points.mark_point(filled=True, size=60, clip=True).encode(
        opacity=alt.condition("datum.kind == 'dominated'", alt.value(0.45), alt.value(1))
    )
    layers = [marks.add_params(zoom())]
    front = [job for job in jobs if job.on_front]
    if front and len(figures.objectives) == 2:
        layers.insert(0, _front_line(figures, front, encoding))
    return layered(*layers, height=height)


def _colours() -> list[str]:
    """Of the front and of the others, on light and on dark paper."""
    return ["#d55e00", "#8c96a0"]


def _front_line(figures: SweepFigures, front: list[SweepJob], encoding: dict[str, Any]) -> alt.Chart:
    """The stairs that part what the front's jobs beat from what none reaches."""
    at = sorted(({"x": job.values[0], "y": job.values[1]} for job in front), key=lambda p: (p["x"], p["y"]))
    stairs: Any = "step-before" if figures.objectives[0][1] == MAXIMIZE else "step-after"
    line = alt.Chart(rows(at)).mark_line(interpolate=stairs, strokeWidth=1.5, color=_colours()[0], clip=True)
    return line.encode(**encoding)
