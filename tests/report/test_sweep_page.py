"""The page of a sweep: every section, every job, whatever the names and however few jobs have finished."""

import dataclasses
import json
import re
from pathlib import Path

import pytest

from thaw.report.parallel_coordinates import parallel_coordinates
from thaw.report.pareto_charts import pareto_front
from thaw.report.slice_charts import slice_drawings
from thaw.report.sweep_axes import jitter, short_number, shown_range, swept_axis, wrapped, wrapped_names
from thaw.report.sweep_charts import job_curves, key_importances, optimisation_history
from thaw.report.sweep_cost import cost_drawing_of_sweep, cost_rows, job_times
from thaw.report.sweep_figures import ParamRange
from thaw.report.sweep_page import sweep_page, write_sweep_page

from .browser import browser, needs_browser
from .made_sweeps import ACCURACY, LATENCY, RANGES, SIZE, make_job, make_sweep
from .test_charts import data
from .test_page import body
from .test_page_in_browser import DRAWN, SEEN

SECTIONS = ["best", "history", "curves", "parallel", "importance", "slices", "cost", "failed", "jobs"]
TAG = "</script><img src=x onerror=alert(1)>"
LONG = {  # eight keys, of 60 letters and more, one of them a tag
    TAG: ParamRange(choices=(TAG, "$\\ \udce9", "__proto__", "constructor")),
    "constructor": ParamRange(0, 1),
    **{f"a_section.with_a_very_long_name.and_another.of_the_key_number_{i}": RANGES["optimizer.lr"] for i in range(3)},
    **{f"{i}{'x' * 59}": ParamRange(choices=tuple(f"{j}{'y' * 59}" for j in range(9))) for i in range(3)},
}
CATEGORICAL = {key: r for key, r in RANGES.items() if r.choices}


def hostile(jobs: int = 40):
    named = tuple(
        dataclasses.replace(make_job(i, LONG, 2), name=TAG, reason=f"{TAG}\n{'z' * 300}", run_id=f"<{i}>", attempts=2)
        for i in range(jobs)
    )
    objectives = ((TAG, "maximize"), ("o" * 60, "minimize"))
    return make_sweep(jobs, objectives, LONG, jobs=named, name=TAG, id=TAG, command=TAG, sampler=TAG, pruner=TAG)


def spoilt():
    """Values that no axis has a place for, a job that diverged, keys that only some jobs have, other types."""
    jobs = [make_job(i, state="finished") for i in range(12)]
    jobs[0] = dataclasses.replace(jobs[0], values=(float("nan"),), curve={1: float("inf")}, metrics={})
    jobs[1] = dataclasses.replace(jobs[1], values=(-1e30,), curve={1: -1e30}, seconds=None, started=None, run_id=None)
    jobs[2] = dataclasses.replace(jobs[2], params={"optimizer.lr": -1.0, "new.key": "text"})
    jobs[3] = dataclasses.replace(jobs[3], params={})
    return make_sweep(12, jobs=tuple(jobs), importances={"optimizer.lr": float("nan")})


CASES = {
    "many": lambda: make_sweep(200),
    "hostile": hostile,
    "none": lambda: make_sweep(0, importances={}, saved_seconds={}, wall_seconds=0.0),
    "one": lambda: make_sweep(1),
    "unfinished": lambda: make_sweep(4, jobs=tuple(make_job(i, state="pruned") for i in range(4))),
    "failed": lambda: make_sweep(4, jobs=tuple(make_job(i, state="failed") for i in range(4)), importances={}),
    "equal": lambda: make_sweep(5, jobs=tuple(dataclasses.replace(make_job(0), number=i) for i in range(5))),
    "categorical": lambda: make_sweep(20, ranges=CATEGORICAL),
    "without keys": lambda: make_sweep(3, ranges={}),
    "two": lambda: make_sweep(40, (ACCURACY, LATENCY)),
    "three": lambda: make_sweep(40, (ACCURACY, LATENCY, SIZE)),
    "four": lambda: make_sweep(40, (ACCURACY, LATENCY, SIZE, ("f1", "maximize"))),
    "spoilt": spoilt,
}
cases = pytest.mark.parametrize("case", CASES)


def drawings(sweep):
    makers = (
        optimisation_history, pareto_front, job_curves, parallel_coordinates, key_importances, cost_drawing_of_sweep,
        job_times,
    )  # fmt: skip
    return [drawing for make in makers if (drawing := make(sweep)) is not None] + slice_drawings(sweep)


@cases
def test_every_section_is_there_and_every_job_is_named(case: str, tmp_path: Path) -> None:
    sweep = CASES[case]()
    page = write_sweep_page(tmp_path / "sweep", sweep)
    assert page == tmp_path / "sweep" / "sweep.html"
    text = page.read_text(encoding="utf-8")
    assert "NaN" not in body(text)
    expected = [*SECTIONS[:2], *(["front"] if len(sweep.objectives) > 1 else []), *SECTIONS[2:]]
    assert re.findall(r'<section id="(\w+)">', text) == expected
    assert re.findall(r'<li><a href="#(\w+)">', text) == expected
    table = body(text).partition('<section id="jobs">')[2]
    assert re.findall(r'<tr><th scope="row" class="number">(\d+)</th>', table) == [str(j.number) for j in sweep.jobs]


@pytest.mark.parametrize("case", [case for case in CASES if case != "many"])
def test_all_charts_are_valid_and_say_how_to_read_them(case: str) -> None:
    for drawing in drawings(CASES[case]()):
        assert len(drawing.description) > 40
        for panel, spec in zip(drawing.panels, drawing.specs, strict=True):
            panel.to_dict(validate=True)
            json.dumps(spec, allow_nan=False)


def test_names_are_escaped_and_nothing_is_fetched(tmp_path: Path) -> None:
    text = sweep_page(hostile(), tmp_path)
    assert "<img" not in body(text)
    assert text.count("<script") == text.count("</script>")
    assert "alert(1)" in body(text)
    assert re.findall(r'(?:src|href)="(?!#)([^"]*)', body(text)) == []
    assert "default-src 'none'" in text.replace("&#39;", "'")


def test_a_run_s_report_is_linked_if_it_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    for name in ("sweep/a job: 1", "runs/2"):
        (tmp_path / name / "report").mkdir(parents=True)
        (tmp_path / name / "report" / "report.html").write_text("")
    folders = {0: "a job: 1", 2: str(tmp_path / "runs" / "2"), 4: "gone", 6: ""}
    sweep = make_sweep(7, jobs=tuple(make_job(i, folder=folders.get(i, "")) for i in range(7)))
    links = set(re.findall(r'href="(?!#)([^"]*)', body(sweep_page(sweep, folder))))
    assert links == {"a%20job%3A%201/report/report.html", "../runs/2/report/report.html"}


def test_the_best_job_is_first_whichever_way_is_better(tmp_path: Path) -> None:
    jobs = tuple(make_job(i, state="finished", values=(value,)) for i, value in enumerate((0.5, 0.9, 0.1)))
    for direction, best, order in (("maximize", "1", ["1", "0", "2"]), ("minimize", "2", ["2", "0", "1"])):
        text = body(sweep_page(make_sweep(3, (("val/x", direction),), jobs=jobs), tmp_path))
        assert f"Job {best}, run " in text
        assert re.findall(r'<th scope="col" class="number">job (\d+)', text) == order


def test_of_equal_jobs_the_one_that_is_better_in_another_objective_is_the_best() -> None:
    slow, fast = (make_job(0, values=values) for values in ((0.9, 30.0), (0.9, 20.0)))
    figures = make_sweep(2, (ACCURACY, LATENCY), jobs=(slow, dataclasses.replace(fast, number=1)))
    assert [job.number for job in figures.ranked()] == [1, 0]


def test_the_table_of_best_runs_has_values_accuracies_and_keys(tmp_path: Path) -> None:
    job = make_job(0, state="finished", values=(0.91234,), metrics={"test/accuracy": 0.87654}, seconds=754.0)
    text = body(sweep_page(make_sweep(1, jobs=(job,)), tmp_path)).partition('<section id="history">')[0]
    for expected in ("0.9123", "0.8765", "12.6\u00a0min", "000abcde", *RANGES, "100 / 7"):
        assert expected in text, expected


def test_history_shows_the_best_so_far_and_what_is_out_of_the_axis_on_its_edge() -> None:
    values = (0.5, 0.4, 0.7)
    jobs = [make_job(i, state="finished", values=(value,)) for i, value in enumerate(values)]
    jobs += [make_job(3, state="pruned", curve={1: 0.1}), make_job(4, state="pruned", curve={1: 0.6})]
    jobs += [make_job(5, state="failed")]
    (spec,) = optimisation_history(make_sweep(6, jobs=tuple(jobs))).specs
    steps, edge, points = (spec["datasets"][layer["data"]["name"]] for layer in spec["layer"])
    assert [row["value"] for row in steps] == [0.5, 0.5, 0.7, 0.7]
    assert [row["job"] for row in edge] == [3, 5]
    assert [row["job"] for row in points] == [0, 1, 2, 4]
    assert {"state": "pruned", "run": "004abcde", "value": 0.6}.items() <= points[3].items()


def test_a_value_that_diverged_does_not_hide_the_others() -> None:
    low, high = shown_range([0.5, 0.52, 0.55, 0.6, 1e6], "minimize")
    assert 0.4 < low < 0.5
    assert 0.6 < high < 2
    low, high = shown_range([0.7], "maximize")
    assert low < 0.7 < high


def test_axes_follow_the_range_that_was_searched() -> None:
    sweep = make_sweep(0, ranges={**RANGES, "seed": ParamRange(choices=(0, 10, 20))})
    rate = swept_axis(sweep, "optimizer.lr", ())
    assert rate.position(1e-3) == pytest.approx(0.5)
    assert [text for _, text in rate.ticks()] == ["1e-05", "0.0001", "0.001", "0.01", "0.1"]
    assert rate.position(-1.0) is None
    dropout = swept_axis(sweep, "head.dropout", ())
    assert dropout.position(0.3) == pytest.approx(0.5)
    assert [text for _, text in dropout.ticks()] == ["0", "0.2", "0.4", "0.6"]
    assert [at for at, _ in swept_axis(sweep, "seed", ()).ticks()] == pytest.approx([1 / 6, 1 / 2, 5 / 6])
    freeze = swept_axis(sweep, "finetune.freeze", [make_job(0, params={"finetune.freeze": "block6a"})])
    assert freeze.choices == ("all", "block5a", "null", "block6a")


def test_parallel_coordinates_have_a_line_a_finished_job_with_the_best_on_top() -> None:
    jobs = [make_job(i, state="finished", values=(value,)) for i, value in enumerate((0.9, 0.5, 0.7))]
    points = [row for row in data(parallel_coordinates(make_sweep(4, jobs=(*jobs, make_job(3))))) if "job" in row]
    assert list(dict.fromkeys(row["job"] for row in points)) == [1, 2, 0]
    assert [row["text"] for row in points if row["job"] == 0][-1] == "0.9"
    assert len(points) == 3 * (len(RANGES) + 1)
    assert all(0 <= row["place"] <= 1 for row in points)


def test_jobs_of_one_choice_are_spread_the_same_way_each_time() -> None:
    spread = [jitter(i) for i in range(10)]
    assert spread == [jitter(i) for i in range(10)]
    assert len({round(value, 2) for value in spread}) == 10
    assert data(slice_drawings(make_sweep())[0], 3) == data(slice_drawings(make_sweep())[0], 3)


def test_slices_have_a_panel_a_key_and_a_drawing_an_objective() -> None:
    drawn = slice_drawings(make_sweep(12, (ACCURACY, LATENCY)))
    assert [drawing.title for drawing in drawn] == ["Slices of val/accuracy", "Slices of latency_ms"]
    scales = [spec["layer"][0]["encoding"]["x"] for spec in drawn[0].specs]
    logs = [x["title"] for x in scales if x.get("scale", {}).get("type") == "log"]
    assert logs == ["optimizer.lr (log)", "head.units (log)"]
    assert len(scales) == len(RANGES)


def test_the_front_s_line_never_promises_what_no_job_reached() -> None:
    """Between two jobs of the front the line takes the worse of their values."""
    for direction, stairs in (("maximize", "step-before"), ("minimize", "step-after")):
        sweep = make_sweep(12, (("a", direction), LATENCY))
        (spec,) = pareto_front(sweep).specs
        assert spec["layer"][0]["mark"]["interpolate"] == stairs
        line = spec["datasets"][spec["layer"][0]["data"]["name"]]
        assert len(line) == sum(job.on_front for job in sweep.jobs) > 1
    assert len(pareto_front(make_sweep(12, (ACCURACY, LATENCY, SIZE))).panels) == 3
    assert pareto_front(make_sweep()) is None


def test_cost_adds_up_what_ran_and_leaves_out_what_was_reused() -> None:
    jobs = (
        make_job(0, state="finished", seconds=100.0), make_job(1, state="pruned", seconds=10.0),
        make_job(2, state="finished", seconds=50.0, reused=True), make_job(3, state="failed", seconds=5.0),
    )  # fmt: skip
    rows = cost_rows(make_sweep(4, jobs=jobs, wall_seconds=70.0, saved_seconds={"reuse": 50.0, "pruning": 0.0}))
    assert rows == [
        ("wall time", "wall time", 70.0), ("jobs", "finished jobs", 100.0), ("jobs", "pruned jobs", 10.0),
        ("jobs", "failed jobs", 5.0), ("saved", "saved by reuse", 50.0),
    ]  # fmt: skip


def test_failed_jobs_are_listed_with_their_reasons(tmp_path: Path) -> None:
    text = body(sweep_page(make_sweep(), tmp_path)).partition('<section id="failed">')[2].partition("</section>")[0]
    assert [f"out of memory in job {i}" in text for i in (3, 9, 15)] == [True] * 3
    assert text.count("<tr>") == 4


def test_long_names_have_lines_of_their_own() -> None:
    assert wrapped("optimizer.head_learning_rate").split("\n") == ["optimizer.", "head_", "learning_rate"]
    lines = wrapped("x" * 100).split("\n")
    assert (len(lines), lines[-1][-1], max(map(len, lines))) == (5, "…", 13)
    assert len(set(wrapped_names([*LONG, "x" * 100, "x" * 99]))) == len(LONG) + 2


def test_numbers_are_short() -> None:
    numbers = (0.0, 0.91236, 1e-5, 12345.6, 3.0, 1e9)
    assert [short_number(n) for n in numbers] == ["0", "0.9124", "1e-05", "12,346", "3", "1e+09"]


def test_two_hundred_jobs_of_eight_keys_stay_a_small_page(tmp_path: Path) -> None:
    assert len(sweep_page(hostile(200), tmp_path)) < 2_500_000


@needs_browser
@pytest.mark.parametrize(
    "case",
    ["hostile", *(pytest.param(case, marks=pytest.mark.slow) for case in CASES if case not in ("hostile", "none"))],
)
def test_all_charts_are_drawn_on_a_screen_and_on_a_phone(case: str, tmp_path_factory) -> None:
    folder = tmp_path_factory.mktemp("sweeps")
    sweep = CASES[case]()
    page = write_sweep_page(folder, sweep)
    panels = sum(len(drawing.panels) for drawing in drawings(sweep))
    with browser(folder / "profile") as tab:
        for width, dark in ((1280, False), (390, True)):
            tab.open(page, width, dark)
            tab.wait_for(DRAWN)
            seen = json.loads(tab.run(SEEN))
            assert seen["charts"] == seen["drawn"] == panels
            assert (seen["wide"], seen["overflowing"], seen["clipped"]) == (0, [], [])
            assert (seen["dangling"], seen["alerts"], seen["requests"]) == (0, 0, 0)
            assert tab.console == []
