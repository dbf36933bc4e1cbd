"""`train -m` from the command line to the page: what it draws, takes over, tries again, and says."""

import json
import re
from pathlib import Path

import pytest

JOBS = (
    "dataset=digits", "dataset.limit_per_class=8", "backbone=mobilenet", "backbone.alpha=0.25",
    "backbone.weights=none", "backbone.image_size=32", "recipe=bottleneck", "bottleneck.epochs=2", "report=none",
)  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("sweep=tpe", "sweep.trials=3"), "without -m this is a single run"),
        (("-m", "sweep.trials=1,2", "seed=0,1"), "a sweep has one value of sweep.trials"),
        (("-m", "sweep=tpe", "sweep.space={optimizer.learnin_rate: log(1e-5,1e-2)}"), "optimizer.learnin_rate"),
        (("-m", "sweep=tpe", "sweep.space={head.dropout: uniform(0,2)}"), "head.dropout=2.0 is out of range"),
        (("-m", "sweep=tpe"), "has nothing to draw"),
        (("-m", "sweep=grid", "sweep.space={head.dropout: uniform(0,0.5)}"), "a grid has no steps in an interval"),
        (("-m", "seed=0,1", "sweep.space={seed: [2,3]}"), "swept on the command line and in sweep.space"),
        (("-m", "seed=0,1", "sweep.pruner=middle"), "Choose one of: none, median, hyperband"),
        (("-m", "seed=0,1", "sweep.storage=sqlite:///"), "names no file"),
        (("-m", "seed=0,1", "sweep.workers=some"), "is no number of workers"),
        (("-m", "seed=0,1", "sweep.objectives={val/class/seven/f1: maximize}"), "no class of digits has the name"),
        (("-m", "seed=0,1", "sweep.objectives={val/acuracy: maximize}"), "Did you mean 'val/accuracy'?"),
        (("sweep.join=nothing",), "sweep.join works for a sweep as it was started, with its settings: leave"),
    ],
)  # fmt: skip
def test_a_mistake_of_a_sweep_is_named_before_a_job_starts(commands, arguments: tuple[str, ...], said: str) -> None:
    done = commands.run(*arguments, *JOBS)
    assert (done.code, said in done.err) == (1, True), done.err + done.out
    assert "Traceback" not in done.err
    assert "job 0" not in done.out


def test_a_sweep_that_is_not_there_cannot_be_joined(commands) -> None:
    done = commands.run("sweep.join=nothing", f"sweep.storage=sqlite:///{commands.folder}/no_sweeps.db")
    assert (done.code, "there is no such file" in done.err) == (1, True), done.err + done.out
    assert "Traceback" not in done.err


def test_keys_of_hydras_own_sweeper_in_an_experiment_are_checked_too(commands) -> None:
    folder = commands.folder / "conf" / "experiment"
    folder.mkdir(parents=True)
    params = "hydra: {sweeper: {params: {optimizer.learnin_rate: '1e-3,1e-2'}}}"
    (folder / "mine.yaml").write_text(f"# @package _global_\n{params}\n")
    done = commands.run("-m", f"--config-dir={folder.parent}", "experiment=mine", *JOBS)
    assert (done.code, "optimizer.learnin_rate" in done.err, "\njob 0" in done.out) == (1, True, False), done.err


SPACE = "sweep.space={optimizer.learning_rate: log(1e-4,1e-2), head: [linear,gap_dense]}"


@pytest.fixture(scope="module")
def drawn(commands):
    """Three settings drawn by TPE, of two objectives; the best is registered."""
    return commands.run(
        "-m", "sweep=tpe", "sweep.trials=3", *JOBS, SPACE, "tracking.experiment=drawn", "tracking.register=digits",
        "sweep.objectives={val/loss: minimize, test/accuracy: maximize}",
    )  # fmt: skip


def folder_of(ran) -> Path:
    page = re.search(r"^page (.*)$", ran.out, re.MULTILINE)
    assert page, ran.out + ran.err
    return Path(ran.folder, page[1]).parent


def runs_of(commands, experiment: str):
    """The parent run of the one sweep of an experiment, and its jobs."""
    client = commands.client()
    runs = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    (parent,) = (run for run in runs if "thaw.sweep" in run.data.tags)
    return parent, [run for run in runs if run is not parent]


def test_a_drawn_sweep_has_its_settings_its_best_by_the_first_objective_and_a_page(commands, drawn) -> None:
    assert drawn.code == 0, drawn.err
    parent, jobs = runs_of(commands, "drawn")
    assert [run.info.status for run in jobs] == ["FINISHED"] * 3
    assert len({run.data.tags["thaw.overrides"] for run in jobs}) == 3
    losses = {run.info.run_id: run.data.metrics["val/loss"] for run in jobs}
    best = parent.data.tags["thaw.best_run"]
    assert losses[best] == min(losses.values())
    assert parent.data.metrics["objective"] == pytest.approx(min(losses.values()))
    page = (folder_of(drawn) / "sweep.html").read_text()
    assert all(run.info.run_id[:8] in page for run in jobs)
    assert "Pareto" in page


def test_of_a_sweep_the_best_alone_is_registered(commands, drawn) -> None:
    parent, _ = runs_of(commands, "drawn")
    versions = commands.client().mlflow_client.search_model_versions("name = 'digits'")
    assert [version.run_id for version in versions] == [parent.data.tags["thaw.best_run"]]


def test_another_sweep_takes_over_what_has_been_run_and_the_id_of_each_means_its_best(commands, drawn) -> None:
    _, jobs = runs_of(commands, "drawn")
    rates = [run.data.params["optimizer.learning_rate"] for run in jobs if run.data.params["head.name"] == "linear"]
    heads = [run.data.params["head.name"] for run in jobs]
    head = "linear" if rates else "gap_dense"
    rates = [run.data.params["optimizer.learning_rate"] for run in jobs if run.data.params["head.name"] == head]
    assert rates, heads
    again = commands.run(
        "-m", *JOBS, f"optimizer.learning_rate={rates[0]},0.5", f"head={head}", "tracking.experiment=other"
    )
    assert again.code == 0, again.err
    assert "has done the same: it is taken over" in again.out
    assert "1 taken over from earlier runs" in again.out
    parent, new = runs_of(commands, "other")
    assert len(new) == 1
    sweep = commands.run("scripts/compare.py", f"runs={parent.info.run_id}")
    assert sweep.code == 0, sweep.err


def test_a_named_study_is_of_one_sweep_and_makes_a_run_again_that_was_deleted(commands) -> None:
    arguments = ("-m", *JOBS, "seed=1,2", "sweep.study=mine", "tracking.experiment=named")
    assert commands.run(*arguments).code == 0
    _, before = runs_of(commands, "named")
    other = commands.run(*arguments, "bottleneck.epochs=7")
    assert other.code == 1
    assert "sweep.study=mine began as another sweep: bottleneck.epochs=2 then, bottleneck.epochs=7 now" in other.err
    commands.client().delete_run(before[0].info.run_id)
    again = commands.run(*arguments)
    assert again.code == 0, again.err
    assert "the runs of 1 job were deleted and are made again" in again.out
    assert again.out.count("\nresult ") == 1
    _, after = runs_of(commands, "named")
    assert len(after) == 2
    assert before[1].info.run_id in {run.info.run_id for run in after}


def test_what_fails_is_listed_stops_nothing_and_is_tried_again_by_the_next_start(commands) -> None:
    arguments = ("-m", *JOBS, "recipe=bottleneck,finetune", "finetune.freeze=nowhere", "tracking.experiment=failing")
    first = commands.run(*arguments)
    assert first.code == 1
    assert "1 of 2 jobs failed" in first.err
    assert "job 1 (recipe=finetune): " in first.err
    assert "nowhere is neither a layer nor a block" in first.err
    second = commands.run(*arguments)
    assert second.code == 1
    assert "1 of 2 settings done before" in second.out
    assert "job 0 (1 of 2)" not in second.out
    assert "job 1 (2 of 2)" in second.out
    parent, jobs = runs_of(commands, "failing")
    assert parent.info.status == "FAILED"
    assert sorted(run.info.status for run in jobs)[-1] == "FINISHED"
    assert sum(run.info.status == "FINISHED" for run in jobs) == 1


def test_a_job_that_falls_behind_is_killed_and_marked_in_the_store(commands) -> None:
    """Five learn and are what the last one, which learns nothing, is compared with."""
    ran = commands.run(
        "-m", *JOBS, "backbone=efficientnet_lite0", "backbone.weights=imagenet", "backbone.alpha=null",
        "backbone.image_size=64", "optimizer.learning_rate=1e-3,2e-3,3e-3,4e-3,5e-3,1e-9", "optimizer=adam",
        "bottleneck.epochs=4", "sweep.pruner=median", "tracking.experiment=pruned", "head=linear",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    _, jobs = runs_of(commands, "pruned")
    marked = {run.data.params["optimizer.learning_rate"]: run for run in jobs if "thaw.pruned" in run.data.tags}
    last = marked["1e-09"]
    assert last.info.status == "KILLED"
    assert "worse than others" in last.data.tags["thaw.reason"]
    assert "epoch/val_accuracy" in last.data.metrics
    assert "objective" not in last.data.metrics
    assert f"{len(marked)} pruned" in ran.out
    assert "resume: " not in ran.out, "it is not to go on"


def test_all_jobs_of_a_sweep_ran_in_one_process_and_left_their_lines_in_its_log(commands, drawn) -> None:
    folder = folder_of(drawn)
    (log,) = folder.glob("worker-*.log")
    assert log.read_text().count("\nresult ") == 3
    results = [json.loads((folder / str(number) / "result.json").read_text()) for number in range(3)]
    assert len({result["run_id"] for result in results}) == 3
