"""sweep.html: a sweep as one page, which opens from disk and needs no network."""

from collections.abc import Callable
from pathlib import Path

from thaw.common.files import write_atomically
from thaw.report.drawing import Drawing
from thaw.report.page_base import render_page
from thaw.report.parallel_coordinates import parallel_coordinates
from thaw.report.pareto_charts import DRAWN_UP_TO, pareto_front
from thaw.report.slice_charts import slice_drawings
from thaw.report.sweep_axes import exact_text, value_text
from thaw.report.sweep_charts import job_curves, key_importances, optimisation_history
from thaw.report.sweep_cost import SAVINGS_NOTE, cost_drawing_of_sweep, cost_rows, duration, job_times
from thaw.report.sweep_figures import FAILED, SweepFigures
from thaw.report.sweep_marks import shown_state
from thaw.report.sweep_tables import best_rows, chosen_best, fixed, headline, report_link, state_counts


def write_sweep_page(folder: Path, sweep: SweepFigures) -> Path:
    """Write sweep.html into a folder, which is made if it is not there; the file is there whole or not at all.

    folder: the sweep's own. A job's `folder` may be relative to it, and the links to the runs' reports are. Returns the
    file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / "sweep.html"
    write_atomically(page, sweep_page(sweep, folder).encode())
    return page


def sweep_page(sweep: SweepFigures, folder: Path) -> str:
    """Return the page; folder: where it will lie, for links to reports that are there."""
    best, best_note = chosen_best(sweep)
    jobs = sorted(sweep.jobs, key=lambda job: job.number)
    several = len(sweep.objectives) > 1
    return render_page(
        "sweep.html",
        title=sweep.name,
        subtitle=_subtitle(sweep),
        sweep=sweep,
        headline=headline(sweep),
        facts=_facts(sweep),
        sections=_sections(sweep, several),
        best=best,
        best_rows=best_rows(sweep, best),
        best_note=best_note,
        jobs=jobs,
        values=[fixed(job.value(i) for job in jobs) for i in range(len(sweep.objectives))],
        failed=[job for job in jobs if job.state == FAILED],
        links={job.number: link for job in jobs if (link := report_link(job, folder))},
        several=several,
        cost=cost_rows(sweep),
        savings_note=SAVINGS_NOTE,
        duration=duration,
        value_text=value_text,
        exact_text=exact_text,
        shown_state=shown_state,
    )


def _subtitle(sweep: SweepFigures) -> str:
    counts = ", ".join(f"{count:,} {state}" for state, count in state_counts(sweep))
    return (
        f"Sweep {sweep.id} · {sweep.trials:,} job{'s' * (sweep.trials != 1)} asked for{': ' + counts if counts else ''}"
    )


def _facts(sweep: SweepFigures) -> list[tuple[str, str]]:
    goals = ", ".join(f"{direction} {metric}" for metric, direction in sweep.objectives)
    facts = [
        ("goal", goals),
        ("sampler", sweep.sampler),
        ("pruner", sweep.pruner or "none"),
        ("command", sweep.command),
    ]
    return [*facts, ("swept keys", ", ".join(sweep.keys) or "none"), ("wall time", duration(sweep.wall_seconds))]


def _sections(sweep: SweepFigures, several: bool) -> list[tuple[str, str, list[Drawing], str]]:
    """Return the charts: anchor, heading, drawings, and what is said where there are none."""

    def one(make: Callable[[SweepFigures], Drawing | None]) -> list[Drawing]:
        drawing = make(sweep)
        return [] if drawing is None else [drawing]

    wanting = "No job has finished with a value yet." if not sweep.ranked() else "No key was swept."
    too_many = f"Fronts are drawn for two or three objectives; here are {len(sweep.objectives)}."
    front = too_many if len(sweep.objectives) > DRAWN_UP_TO else "No job has finished with all its objectives yet."
    sections = [
        ("history", "Optimisation history", one(optimisation_history), "No job has started yet."),
        ("front", "Pareto front", one(pareto_front), front),
        ("curves", "Learning curves", one(job_curves), "No job has reported a value after an epoch."),
        ("parallel", "Parallel coordinates", one(parallel_coordinates), wanting),
        ("importance", "Importance of the keys", one(key_importances),
         "Unknown: it takes several finished jobs whose keys and values differ."),
        ("slices", "Slices", slice_drawings(sweep), wanting),
        ("cost", "Cost", [*one(cost_drawing_of_sweep), *one(job_times)], "No time was measured."),
    ]  # fmt: skip
    return [section for section in sections if several or section[0] != "front"]
