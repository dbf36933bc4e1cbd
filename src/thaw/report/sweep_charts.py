"""Charts of a sweep over its jobs: optimisation history, learning curves, and importance of the swept keys."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import altair as alt

from thaw.report.drawing import ZOOM_HINT, Drawing, chart_names, layered, rows, thinned, zoom
from thaw.report.sweep_axes import LINES, shown_range, wrapped_names
from thaw.report.sweep_figures import FAILED, FINISHED, MAXIMIZE, PRUNED, SweepFigures, SweepJob
from thaw.report.sweep_marks import job_row, job_tooltip, state_colour, state_shape, title_axis

MAX_CURVES = 300  # jobs whose curves are drawn
_MAX_POINTS = 20_000  # of all curves
_ELEMENTS = 1500  # marks above which a chart is drawn as pixels
_POINTS_UP_TO = 400  # of all curves; more hide the lines


def optimisation_history(figures: SweepFigures) -> Drawing | None:
    """Draw the value of each job by its number, and the best so far; a panel an objective. None without jobs.

    The axis is that of the finished jobs; others stand on its edge if they are out of it, or have no value.
    """
    if not figures.jobs:
        return None
    several = len(figures.objectives) > 1
    described = ["Each mark is a job, in the order of their numbers; the line is the best value so far."]
    if not several and any(job.state == PRUNED for job in figures.jobs):
        described.append("A pruned job stands at the last value that it reported.")
    panels = []
    edges = set()
    for i in range(len(figures.objectives)):
        panel, on_edge = _history_panel(figures, i, height=180 if several else 260, legend=i == 0)
        panels.append(panel)
        edges |= {"lower" if figures.objectives[i][1] == MAXIMIZE else "upper"} if on_edge else set()
    if edges:
        described.append(
            f"Marks on the {' or '.join(sorted(edges))} edge are worse than the axis shows, or have no value."
        )
    return Drawing(
        "history", "Optimisation history", " ".join(described), panels, hint=ZOOM_HINT,
        canvas=len(figures.jobs) * len(panels) > _ELEMENTS,
    )  # fmt: skip


def _reported(job: SweepJob, objective: int, single: bool) -> float | None:
    """The value of a job; of a single objective also the last one that it reported before it ended."""
    value = job.value(objective)
    if value is not None or job.state == FINISHED or not single:
        return value
    finite = [reported for _, reported in sorted(job.curve.items()) if math.isfinite(reported)]
    return finite[-1] if finite else None


def _history_panel(figures: SweepFigures, objective: int, height: int, legend: bool) -> tuple[alt.LayerChart, bool]:
    """Return a panel, and whether a job stands on its edge."""
    metric, direction = figures.objectives[objective]
    keys, name = figures.keys, chart_names([metric])[0]
    reported = [(job, _reported(job, objective, len(figures.objectives) == 1)) for job in figures.jobs]
    finished = [job.values[objective] for job in figures.ranked(objective)]
    low, high = shown_range(finished or [value for _, value in reported if value is not None] or [0.0], direction)
    better, worst = (max, low) if direction == MAXIMIZE else (min, high)
    room = 0.1 * (high - low)  # for marks on the edge

    def inside(value: float | None) -> bool:
        return value is not None and better(value, worst) == value

    colour, shape = state_colour(figures.jobs, legend), state_shape(figures.jobs, legend)
    x = alt.X("job:Q", title="job", scale=_job_scale(figures.jobs), axis=alt.Axis(tickMinStep=1, format="d"))
    on_edge = not all(inside(value) for _, value in reported)
    if on_edge:
        low, high = (low - room, high) if direction == MAXIMIZE else (low, high + room)
    scale = alt.Scale(domain=[low, high], nice=False, zero=False)
    y = alt.Y("value:Q", title=name, scale=scale, axis=title_axis())
    tooltip = job_tooltip({"value": name}, keys)
    edge = alt.Chart(rows(job_row(job, keys, value=value) for job, value in reported if not inside(value)))
    points = alt.Chart(rows(job_row(job, keys, value=value) for job, value in reported if inside(value)))
    steps = alt.Chart(rows(_best_so_far(figures, objective, better)))
    at_edge = alt.value(height - 6 if direction == MAXIMIZE else 6)
    mark: dict[str, Any] = {"size": 45, "opacity": 1, "filled": False, "strokeWidth": 1.6, "clip": True}
    layers = [
        steps.mark_line(interpolate="step-after", color="#888888", strokeWidth=2, clip=True).encode(x=x, y=y),
        edge.mark_point(**mark).encode(x=x, y=at_edge, color=colour, shape=shape, tooltip=tooltip),
        points.mark_point(**mark).encode(x=x, y=y, color=colour, shape=shape, tooltip=tooltip).add_params(zoom()),
    ]
    return layered(*layers, height=height), on_edge


def _job_scale(jobs: Sequence[SweepJob]) -> alt.Scale:
    numbers = [job.number for job in jobs]
    return alt.Scale(domain=[min(numbers) - 0.5, max(numbers) + 0.5], nice=False, zero=False)


def _best_so_far(figures: SweepFigures, objective: int, better: Callable[..., float]) -> list[dict[str, float]]:
    steps: list[dict[str, float]] = []
    for job in sorted(figures.jobs, key=lambda job: job.number):
        value = job.value(objective)
        if value is not None:
            steps.append({"job": job.number, "value": better(value, steps[-1]["value"]) if steps else value})
    if steps:
        steps.append({"job": max(job.number for job in figures.jobs) + 0.5, "value": steps[-1]["value"]})
    return steps


def job_curves(figures: SweepFigures) -> Drawing | None:
    """Draw what each job reported by epoch, the best one's line thick; None if none reported anything."""
    reporting = [job for job in figures.jobs if any(map(math.isfinite, job.curve.values()))]
    if not reporting:
        return None
    best = next((job for job in figures.ranked() if job in reporting), None)
    shown = [reporting[i] for i in thinned(len(reporting), MAX_CURVES)]
    if best is not None and best not in shown:
        shown.append(best)
    points = [point for job in shown for point in _curve_points(job, _MAX_POINTS // len(shown))]
    axis_x = alt.Axis(tickMinStep=1, format="d")
    encoding: dict[str, Any] = {
        "x": alt.X("epoch:Q", scale=alt.Scale(zero=False, nice=False, padding=8), axis=axis_x),
        "y": alt.Y("value:Q", title="reported validation value", scale=_curve_scale(points), axis=title_axis()),
        "color": state_colour(shown),
        "tooltip": job_tooltip({"epoch": "epoch", "value": "value"}),
    }
    dots: Any = {"size": 22} if len(points) <= _POINTS_UP_TO else False
    ends = [point for point in points if point["end"] and point["state"] in (PRUNED, FAILED)]
    hover = alt.selection_point(on="pointerover", clear="pointerout", fields=["job"], empty=False)
    faint = 0.7 if len(shown) <= 20 else 0.4 if len(shown) <= 60 else 0.25
    lines = alt.Chart(rows(points)).mark_line(point=dots, clip=True).encode(
        **encoding, detail="job:Q", strokeWidth=alt.condition(hover, alt.value(4), alt.value(1.5)),
        opacity=alt.condition(hover, alt.value(1), alt.value(faint)),
    ).add_params(hover, zoom())  # fmt: skip
    tips = alt.Chart(rows(ends)).mark_point(size=40, opacity=1, strokeWidth=1.6, clip=True)
    layers = [lines]
    if ends:
        layers.append(tips.encode(**encoding, shape=state_shape(shown)))
    if best is not None:
        thick = alt.Chart(rows(point for point in points if point["job"] == best.number))
        thick = thick.mark_line(style="inkLine", strokeWidth=2.5, clip=True)
        layers.append(thick.encode(x=encoding["x"], y=encoding["y"], tooltip=encoding["tooltip"]))
    description = _curves_in_words(figures, best, shown, len(reporting))
    return Drawing(
        "job-curves", "Learning curves", description, [layered(*layers, height=280)], hint=ZOOM_HINT,
        canvas=len(points) > _ELEMENTS,
    )  # fmt: skip


def _curves_in_words(figures: SweepFigures, best: SweepJob | None, shown: Sequence[SweepJob], reporting: int) -> str:
    words = ["Each line is a job: the validation value that it reported after each epoch of the whole run."]
    if best is not None:
        objective = f" in {chart_names([figures.objectives[0][0]], 80)[0]}" if len(figures.objectives) > 1 else ""
        words.append(f"The thick one is job {best.number}, the best{objective}.")
    if any(job.state == PRUNED for job in shown):
        words.append("Lines of pruned jobs end early, with a cross.")
    if len(shown) < reporting:
        words.append(f"{len(shown)} of {reporting:,} jobs are drawn, evenly.")
    return " ".join(words)


def _curve_scale(points: Sequence[Mapping[str, Any]]) -> alt.Scale:
    """The axis of the curves, without what lies far from nearly all of their values: a curve that diverged."""
    values = sorted(point["value"] for point in points)
    low, high = values[len(values) // 20], values[-1 - len(values) // 20]
    ends = [max(values[0], low - (high - low)), min(values[-1], high + (high - low))]
    if high == low or ends == [values[0], values[-1]]:
        return alt.Scale(zero=False)
    return alt.Scale(domain=ends, nice=True, zero=False)


def _curve_points(job: SweepJob, most: int) -> list[dict[str, Any]]:
    reported = [(epoch, value) for epoch, value in sorted(job.curve.items()) if math.isfinite(value)]
    kept = [reported[i] for i in thinned(len(reported), max(2, most))]
    return [job_row(job, epoch=epoch, value=value, end=i == len(kept) - 1) for i, (epoch, value) in enumerate(kept)]


def key_importances(figures: SweepFigures) -> Drawing | None:
    """Draw the importance of each swept key; None where it is unknown."""
    found = {key: share for key, share in figures.importances.items() if math.isfinite(share)}
    if not found:
        return None
    ordered = sorted(found, key=lambda key: -found[key])
    names = wrapped_names(ordered)
    full = chart_names(ordered, 120)
    data = rows(
        {"key": name, "name": whole, "share": found[key]} for key, name, whole in zip(ordered, names, full, strict=True)
    )
    base = alt.Chart(data).encode(
        x=alt.X(
            "share:Q",
            title="importance",
            scale=_room_for_text(found.values()),
            axis=alt.Axis(format=".0%", tickCount=5),
        ),
        y=alt.Y("key:N", title=None, scale=alt.Scale(domain=names), axis=alt.Axis(grid=False, **LINES)),
        tooltip=[alt.Tooltip("name:N", title="key"), alt.Tooltip("share:Q", title="importance", format=".1%")],
    )
    bars = base.mark_bar()
    texts = base.mark_text(align="left", dx=4).encode(text=alt.Text("share:Q", format=".1%"))
    height = len(names) * (12 + 14 * max(name.count("\n") + 1 for name in names))
    finished = len(figures.ranked())
    description = (
        f"The longer a key's bar, the more its values set the best quarter of the jobs apart, by "
        f"{chart_names([figures.objectives[0][0]], 80)[0]}, as Optuna estimates (PED-ANOVA) from {finished:,} finished "
        f"job{'s' * (finished != 1)}; from few jobs it is a guess."
    )
    return Drawing(
        "importance", "Importance of the keys", description, [layered(bars, texts, height=height)], max_width=720
    )


def _room_for_text(shares: Iterable[float]) -> alt.Scale:
    return alt.Scale(domain=[0, 1.2 * max(shares) or 1.0], nice=False)
