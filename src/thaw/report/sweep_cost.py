"""What a sweep cost: the seconds of its jobs, what was saved, and when each job ran."""

import math
from collections.abc import Sequence
from typing import Any

import altair as alt

from thaw.report.drawing import Drawing, layered, rows
from thaw.report.sweep_figures import FAILED, FINISHED, PRUNED, RUNNING, SweepFigures, SweepJob
from thaw.report.sweep_marks import job_row, job_tooltip, state_colour

SAVINGS = ("cache", "reuse", "pruning")
# In the order of the theme's colours, which are those of the states in other charts; the ninth is grey.
_PARTS = (
    "finished jobs", "failed jobs", "saved by reuse", "running jobs", "pruned jobs",
    "saved by cache", "saved by pruning", "", "wall time",
)  # fmt: skip
SAVINGS_NOTE = (
    "Savings are estimates: of the cache, the images that it held times the seconds an image took where it was "
    "computed; of reuse, the seconds of the earlier runs; of pruning, each pruned job's missing epochs times its "
    "seconds an epoch."
)


def cost_rows(figures: SweepFigures) -> list[tuple[str, str, float]]:
    """Return rows of the table and the bars: whose bar it is, which part of it, and seconds.

    Bars: `wall time`, `jobs` with a part a state, and `saved` with a part a way. Parts without seconds are left out.
    """
    spent = dict.fromkeys((FINISHED, PRUNED, FAILED, RUNNING), 0.0)
    for job in figures.jobs:
        if not job.reused and job.seconds is not None and math.isfinite(job.seconds):
            spent[job.state] = spent.get(job.state, 0.0) + job.seconds
    saved = {way: figures.saved_seconds.get(way, 0.0) for way in [*SAVINGS, *figures.saved_seconds]}
    parts = [("wall time", "wall time", figures.wall_seconds)]
    parts += [("jobs", f"{state} jobs", seconds) for state, seconds in spent.items()]
    parts += [("saved", f"saved by {way}", seconds) for way, seconds in saved.items()]
    return [part for part in parts if math.isfinite(part[2]) and part[2] > 0]


def duration(seconds: float | None) -> str:
    """Return `0.4 s`, `41 s`, `12.3 min` or `5.2 h`, or a dash for None."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 90:
        return f"{seconds:.0f}\u00a0s" if seconds >= 10 or seconds == 0 else f"{seconds:.1f}\u00a0s"
    return f"{seconds / 60:.1f}\u00a0min" if seconds < 5400 else f"{seconds / 3600:,.1f}\u00a0h"


def cost_drawing_of_sweep(figures: SweepFigures) -> Drawing | None:
    """Draw the wall time, the seconds of the jobs by state, and the seconds saved; None without any."""
    parts = cost_rows(figures)
    if not parts:
        return None
    unit, size = _unit(max(_totals(parts)))
    bars = [bar for bar in ("wall time", "jobs", "saved") if any(part[0] == bar for part in parts)]
    told = [part for bar, part, _ in parts if bar != "wall time"]
    domain = list(dict.fromkeys([*_PARTS, *told]))
    data = [
        {"bar": bar, "part": part, "value": seconds / size, "text": duration(seconds), "order": i}
        for i, (bar, part, seconds) in enumerate(parts)
    ]
    totals = [
        {"bar": bar, "value": total / size, "text": duration(total)}
        for bar, total in zip(bars, _totals(parts), strict=True)
    ]
    scale = alt.Scale(domain=[0, 1.3 * max(_totals(parts)) / size], nice=False)  # with room for the longest bar's text
    y = alt.Y("bar:N", title=None, scale=alt.Scale(domain=bars), axis=alt.Axis(grid=False))
    chart = (
        alt.Chart(rows(data))
        .mark_bar()
        .encode(
            x=alt.X("value:Q", stack="zero", title=unit, scale=scale, axis=alt.Axis(tickCount=5)),
            y=y,
            color=alt.Color(
                "part:N", scale=alt.Scale(domain=domain), legend=alt.Legend(title=None, columns=2, values=told)
            ),
            order="order:Q",
            tooltip=[alt.Tooltip("part:N"), alt.Tooltip("text:N", title="time")],
        )
    )
    texts = alt.Chart(rows(totals)).mark_text(align="left", dx=4).encode(x="value:Q", y=y, text="text:N")
    description = (
        "The time that passed, the time of all jobs added up by how they ended, and the time that was not needed; "
        "where the bar of the jobs is longer than the wall time, jobs ran side by side."
    )
    return Drawing(
        "sweep-cost", "Time spent and saved", description, [layered(chart, texts, height=34 * len(bars))], max_width=860
    )


def job_times(figures: SweepFigures) -> Drawing | None:
    """Draw when each job ran; None if no job of this sweep has a start."""
    ran = [job for job in figures.jobs if job.started is not None and not job.reused]
    if not ran:
        return None
    begin = min(job.started for job in ran if job.started is not None)
    latest = max(max(job.ended or 0.0, job.started or 0.0) for job in ran)
    unit, size = _unit(latest - begin)
    lanes = _lanes(ran, latest)
    data = [
        job_row(job, start=((job.started or 0.0) - begin) / size, end=((job.ended or latest) - begin) / size, lane=lane)
        for job, lane in zip(ran, lanes, strict=True)
    ]
    count = max(lanes) + 1
    encoding: dict[str, Any] = {
        "x": alt.X("start:Q", title=f"{unit} since the first start", axis=alt.Axis(tickCount=6)),
        "x2": "end",
        "y": alt.Y("lane:O", title=None, axis=alt.Axis(labels=False, ticks=False, grid=False)),
        "color": state_colour(ran),
        "tooltip": job_tooltip({"start": f"start ({unit})", "end": f"end ({unit})"}),
    }
    chart = alt.Chart(rows(data)).mark_bar(stroke="#ffffff", strokeWidth=0.5).encode(**encoding)
    description = "Each bar is a job from its start to its end; bars above each other ran at the same time."
    return Drawing("job-times", "When jobs ran", description, [layered(chart, height=max(70, 20 * count))])


def _lanes(jobs: Sequence[SweepJob], latest: float) -> list[int]:
    """Return a row for each job: the first one that is free when it starts."""
    free: list[float] = []
    found: dict[int, int] = {}
    for i, job in sorted(enumerate(jobs), key=lambda pair: (pair[1].started or 0.0, pair[1].number)):
        start, end = job.started or 0.0, job.ended or latest
        lane = next((lane for lane, until in enumerate(free) if until <= start), len(free))
        free[lane : lane + 1] = [end]
        found[i] = lane
    return [found[i] for i in range(len(jobs))]


def _totals(parts: Sequence[tuple[str, str, float]]) -> list[float]:
    return [sum(s for bar, _, s in parts if bar == which) for which in dict.fromkeys(bar for bar, _, _ in parts)]


def _unit(seconds: float) -> tuple[str, float]:
    return ("seconds", 1.0) if seconds < 90 else ("minutes", 60.0) if seconds < 5400 else ("hours", 3600.0)
