"""Tables of a sweep's page: the best runs side by side, and what its first lines say."""

import math
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from thaw.report.drawing import thinned
from thaw.report.sweep_axes import exact_text, short_number, value_text
from thaw.report.sweep_cost import duration
from thaw.report.sweep_figures import MAXIMIZE, SweepFigures, SweepJob
from thaw.report.sweep_marks import STATES, shown_state

MAX_BEST = 8  # columns of the best runs
_METRICS = ("val/accuracy", "test/accuracy")


@dataclass(frozen=True)
class TableRow:
    """A row of the best runs: cells are one a job. full: the values without rounding. differs: the jobs disagree."""

    label: str
    cells: Sequence[str]
    full: Sequence[str]
    differs: bool
    kind: str  # objective, metric, key, kept or cost


def chosen_best(figures: SweepFigures) -> tuple[list[SweepJob], str]:
    """Return the jobs of the table of best runs, at most `MAX_BEST`, and a sentence on which they are.

    Of a long Pareto front they are taken evenly, from the best in the first objective to the worst.
    """
    every = figures.best_jobs()
    front = [job for job in every if job.on_front]
    if len(figures.objectives) > 1 and len(front) > MAX_BEST:
        jobs = [front[i] for i in thinned(len(front), MAX_BEST)]
        return jobs, f"{len(jobs)} of the {len(front):,} jobs on the Pareto front, evenly along it."
    jobs = every[:MAX_BEST]
    order = "those on the Pareto front first" if len(figures.objectives) > 1 else "the best first"
    if len(every) == 1:
        return jobs, "The only finished job."
    return jobs, f"{len(jobs)} of {len(every):,} finished jobs, {order}."


def best_rows(figures: SweepFigures, jobs: Sequence[SweepJob]) -> list[TableRow]:
    """Return the rows of a table whose columns are these jobs: objectives, accuracies, swept keys, cost."""
    table = []
    for i, (metric, direction) in enumerate(figures.objectives):
        label = f"{metric} {'↑' if direction == MAXIMIZE else '↓'}"
        table.append(_numbers("objective", label, [job.value(i) for job in jobs]))
    given = {metric for metric, _ in figures.objectives}
    for metric in _METRICS:
        values = [job.metrics.get(metric) for job in jobs]
        if metric not in given and any(value is not None for value in values):
            table.append(_numbers("metric", metric, values))
    for key in figures.keys:
        cells = [value_text(job.params[key]) if key in job.params else "–" for job in jobs]
        full = [exact_text(job.params[key]) if key in job.params else "–" for job in jobs]
        table.append(TableRow(key, cells, full, len(set(full)) > 1, "key"))
    if any(job.is_head_alone for job in jobs):
        networks = ["the head alone" if job.is_head_alone else "as trained" for job in jobs]
        table.append(TableRow("network kept", networks, networks, len({*networks}) > 1, "kept"))
    times = [duration(job.seconds) for job in jobs]
    table.append(TableRow("time", times, times, False, "cost"))
    if any(job.cached_images or job.computed_images for job in jobs):
        images = [f"{job.cached_images:,} / {job.computed_images:,}" for job in jobs]
        table.append(TableRow("images from the cache / computed", images, images, False, "cost"))
    return table


def fixed(values: Iterable[float | None]) -> list[str]:
    """Return numbers of one column with equally many decimals, so that they can be compared; a dash for None."""
    found = list(values)
    finite = [abs(v) for v in found if v is not None and math.isfinite(v)]
    top, least = max(finite, default=0.0), min((v for v in finite if v), default=1.0)
    if least < 1e-3 or top >= 1e7:
        return ["–" if v is None else short_number(v) for v in found]
    digits = 4 if top < 10 else 2 if top < 1000 else 0
    return ["–" if v is None else f"{v:,.{digits}f}" for v in found]


def report_link(job: SweepJob, folder: Path) -> str | None:
    """Return the address of a run's own report, relative to the sweep's folder; None if there is none."""
    if not job.folder:
        return None
    page = folder.absolute() / job.folder / "report" / "report.html"
    if not page.is_file():
        return None
    return quote(os.fsencode(Path(os.path.relpath(page, folder.absolute())).as_posix()))


def state_counts(figures: SweepFigures) -> list[tuple[str, int]]:
    """Return how many jobs there are of each state."""
    counts = Counter(shown_state(job) for job in figures.jobs)
    order = [*STATES, *(state for state in counts if state not in STATES)]
    return [(state, counts[state]) for state in order if counts[state]]


def headline(figures: SweepFigures) -> str:
    """Return the sentence that the page opens with: the best job, or that there is none."""
    best = figures.best_jobs()
    if not best:
        ended = [f"{count} {state}" for state, count in state_counts(figures)]
        return f"No job has finished{' (' + ', '.join(ended) + ')' if ended else ''}."
    count = f"{len(best):,} finished job{'s' * (len(best) != 1)}"
    if len(figures.objectives) > 1:
        front = sum(job.on_front for job in best)
        return f"{front:,} of {count} are on the Pareto front of {_listed([m for m, _ in figures.objectives])}."
    metric, direction = figures.objectives[0]
    (value,) = fixed([best[0].value(0)])
    kind = "highest" if direction == MAXIMIZE else "lowest"
    run = f", run {best[0].short_id}" if best[0].run_id else ""
    return f"Job {best[0].number}{run}, has the {kind} {metric} of {count}: {value}."


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]])


def _numbers(kind: str, label: str, values: Sequence[float | None]) -> TableRow:
    full = ["–" if value is None else str(value) for value in values]
    return TableRow(label, fixed(values), full, False, kind)
