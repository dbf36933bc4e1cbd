"""Joining a study from elsewhere, Hydra's launchers, and passwords of the study's database."""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import hydra
import pytest

from thaw.cli import compose, error_handling, instantiation_guard, sweep_command, sweep_end, sweep_jobs
from thaw.code_hash import code_sha256
from thaw.common.errors import UserError
from thaw.config.database_urls import PASSWORD_VARIABLE
from thaw.config.key_conflicts import contradictions
from thaw.config.schema import Config, SweepConfig, TrackingConfig
from thaw.sweeps import ray_launch
from thaw.sweeps.ledger import Ledger
from thaw.sweeps.plan import SweepPlan
from thaw.sweeps.study_storage import open_storage

from .processes import SMALL_JOBS

ROOT = Path(__file__).parents[2]
HIDDEN = "postgresql://me:***@host/sweeps"


def join(ledger: Ledger, name: str, folder: Path) -> None:
    config = Config(sweep=SweepConfig(join=name, storage=ledger.url))
    sweep_command.join_study(config, folder)


def test_joining_a_study_that_does_not_exist_names_those_that_do(make_ledger, tmp_path: Path) -> None:
    ledger = make_ledger("{seed: [1,2]}", sampler="grid")
    with pytest.raises(UserError, match=r"^sweep.join=other: there is no such study in .*It has: study$"):
        join(ledger, "other", tmp_path)


def test_joining_in_a_file_that_does_not_exist_makes_none(tmp_path: Path) -> None:
    config = Config(sweep=SweepConfig(join="study", storage=f"sqlite:///{tmp_path}/none.db"))
    with pytest.raises(UserError, match="there is no such file"):
        sweep_command.join_study(config, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_joining_with_settings_of_ones_own_is_refused() -> None:
    from thaw.cli.sweep_checks import check_single_run

    check_single_run(["sweep.join=study", "sweep.storage=sqlite:///a.db", "sweep.workers=2", "hydra.sweep.subdir=w"])
    with pytest.raises(UserError, match=r"with its settings: leave head\.dropout=0\.9 out"):
        check_single_run(["sweep.join=study", "head.dropout=0.9"])


def test_a_driver_that_is_not_installed_is_named_with_what_installs_it() -> None:
    with pytest.raises(UserError, match=r"not installed \(MySQLdb\): pip install pymysql"):
        open_storage("mysql://me@localhost/db")


def test_a_worker_with_other_code_is_refused_and_both_are_named(make_ledger, tmp_path: Path) -> None:
    ledger = make_ledger("{seed: [1,2]}", sampler="grid", code_sha256="0123456789abcdef")
    with pytest.raises(UserError) as refused:
        join(ledger, "study", tmp_path)
    assert "0123456789ab" in str(refused.value)
    assert code_sha256()[:12] in str(refused.value)
    assert "not that of study study" in str(refused.value)


def test_the_process_of_a_worker_with_other_code_ends_with_the_same_error(make_ledger) -> None:
    ledger = make_ledger("{seed: [1,2]}", sampler="grid", code_sha256="0123456789abcdef")
    ran = subprocess.run(
        [sys.executable, "-m", "thaw.cli.sweep_worker", ledger.url, "study", str(os.getpid()), ""],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert ran.returncode == 1
    assert ran.stderr.startswith("error: the code here, ")
    assert ledger.jobs() == []


@pytest.mark.parametrize("kept", [code_sha256(), ""])
def test_the_same_code_and_studies_from_before_it_was_kept_are_taken(make_ledger, kept: str) -> None:
    sweep_jobs.check_code(make_ledger("{seed: [1,2]}", sampler="grid", code_sha256=kept))


def test_a_plan_stored_before_the_code_was_kept_is_read(make_ledger) -> None:
    plan = make_ledger("{seed: [1,2]}", sampler="grid", code_sha256="x").known_plan()
    attributes = replace(plan, code_sha256="").to_attributes()
    old = {key: value.replace(', "code_sha256": ""', "") for key, value in attributes.items()}
    assert old != attributes
    assert SweepPlan.from_attributes(old) == replace(plan, code_sha256="")


@pytest.mark.parametrize(
    ("launcher", "extra"),
    [("submitit_slurm", "slurm"), ("submitit_local", "slurm"), ("joblib", "joblib"), ("ray", "ray")],
)
def test_a_launcher_that_is_not_installed_names_its_extra(launcher: str, extra: str) -> None:
    said = error_handling._missing_plugin("hydra/launcher", launcher)
    assert said.startswith(f"hydra/launcher={launcher} is not installed: it is in thaw's extra {extra}")
    assert f"pip install 'thaw[{extra}]'" in said


def test_the_error_of_a_launcher_is_one_line_with_its_name() -> None:
    said = sweep_command._launcher_error("submitit_slurm", RuntimeError('Could not detect "srun"\nmore'))
    assert isinstance(said, UserError)
    assert str(said) == (
        'hydra/launcher=submitit_slurm cannot run the sweep\'s workers: RuntimeError: Could not detect "srun"'
    )
    stopped = KeyboardInterrupt()
    assert sweep_command._launcher_error("joblib", stopped) is stopped


SLURM = (
    "hydra/launcher=submitit_slurm", "hydra.launcher.partition=gpu", "hydra.launcher.timeout_min=600",
    "hydra.launcher.cpus_per_task=8", "hydra.launcher.gres=gpu:1", "hydra.launcher.qos=normal",
)  # fmt: skip


def test_slurms_arguments_are_accepted() -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    compose.register_schema("config", Config)
    with instantiation_guard.forbid_instantiation(list(SLURM)), compose.initialized_hydra():
        launcher = hydra.compose("config", list(SLURM), return_hydra_config=True).hydra.launcher
    assert launcher._target_.endswith(".SlurmLauncher")
    assert (launcher.partition, launcher.timeout_min, launcher.gres) == ("gpu", 600, "gpu:1")


@pytest.mark.slow
def test_a_machine_without_slurm_is_told_in_one_line(commands) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    ran = commands.run("-m", *SMALL_JOBS, "seed=1,2", "sweep.study=slurm", "sweep.workers=2", *SLURM)
    assert ran.code == 1
    assert ran.err.splitlines()[-1] == (
        "error: hydra/launcher=submitit_slurm cannot run the sweep's workers: RuntimeError: Could not detect "
        '"srun", are you indeed on a slurm cluster?'
    )


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["submitit_local", "joblib"])
def test_a_launchers_workers_run_all_settings_of_one_study(launcher: str, commands) -> None:
    ran = commands.run(
        "-m", *SMALL_JOBS, "seed=1,2,3", f"sweep.study={launcher}", "sweep.workers=2", f"hydra/launcher={launcher}"
    )
    assert ran.code == 0, ran.err
    ledger = Ledger.find(f"sqlite:///{commands.outputs}/sweeps.db", launcher)
    assert [(job.state, job.attempts) for job in ledger.jobs()] == [("finished", 1)] * 3
    assert len({job.job["worker"]["pid"] for job in ledger.jobs()}) == 2


def test_a_launchers_worker_leaves_when_its_sweep_is_stopped_and_not_when_an_earlier_start_was(
    make_ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_command, "_STOP_CHECK_SECONDS", 0.0)
    ledger = make_ledger("{seed: [1,2]}", sampler="grid")
    of_this_start, of_the_next = (sweep_command._StopCheck(ledger, start) for start in (1, 2))
    of_this_start()
    ledger.stop_launched()
    with pytest.raises(UserError, match="the sweep was stopped"):
        of_this_start()
    of_the_next()


def test_a_launchers_worker_gets_the_study_whatever_is_in_its_path(make_ledger) -> None:
    ledger = make_ledger("{seed: [1,2]}", sampler="grid")
    ledger.url = "sqlite:////tmp/a user's folder, (1)/sweeps.db"
    sweep = sweep_command.OpenSweep(ledger, Config(), None, Path())
    values = ray_launch._values(sweep_command._worker_overrides(sweep, 0))
    assert (values["sweep.join"], values["sweep.storage"]) == ("study", ledger.url)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["submitit_local", "joblib"])
def test_ctrl_c_ends_a_launchers_workers_and_gives_their_jobs_back(launcher: str, commands) -> None:
    study = f"stopped_{launcher}"
    seeds = ",".join(map(str, range(40)))
    sweep = commands.start(
        "-m", *SMALL_JOBS, f"seed={seeds}", f"sweep.study={study}", "sweep.workers=2", f"hydra/launcher={launcher}"
    )
    ledger = wait_for_ledger(f"sqlite:///{commands.outputs}/sweeps.db", study)
    pids = wait_for_pids(ledger, 2)
    sweep.send_signal(signal.SIGINT)
    _, err = sweep.communicate(timeout=180)
    assert sweep.returncode == 130, err
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
    assert not [job for job in ledger.jobs() if job.state == "running"]
    assert len(ledger.jobs()) < 20


@pytest.mark.slow
def test_a_worker_that_joins_helps_and_costs_nothing_when_it_is_killed(commands) -> None:
    sweep = commands.start("-m", *SMALL_JOBS, "seed=11,12,13,14,15,16", "sweep.study=joined", "sweep.workers=1")
    url = f"sqlite:///{commands.outputs}/sweeps.db"
    ledger = wait_for_ledger(url, "joined")
    joined = commands.start("sweep.join=joined", "sweep.workers=1")
    pids = wait_for_pids(ledger, 2)
    joined.kill()
    joined.communicate()
    out, err = sweep.communicate(timeout=400)
    assert sweep.returncode == 0, out + err
    assert [job.state for job in ledger.jobs()] == ["finished"] * 6
    assert len(pids) == 2


def wait_until(condition) -> None:
    for _ in range(240):
        if condition():
            return
        time.sleep(0.5)
    raise AssertionError("it did not come true")


def wait_for_ledger(url: str, name: str) -> Ledger:
    for _ in range(240):
        if Path(url.removeprefix("sqlite:///")).exists() and (ledger := Ledger.find(url, name)) is not None:
            return ledger
        time.sleep(0.5)
    raise AssertionError("the study was not created")


def wait_for_pids(ledger: Ledger, count: int) -> set[int]:
    for _ in range(480):
        running = {job.job["worker"]["pid"] for job in ledger.jobs() if job.state == "running"}
        if len(running) == count:
            return running
        time.sleep(0.5)
    raise AssertionError(f"{count} workers did not work at a time")


def test_the_password_of_a_study_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("psycopg2")
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    with pytest.raises(UserError, match=rf"its password is in the environment variable {PASSWORD_VARIABLE}"):
        open_storage(HIDDEN)
    monkeypatch.setenv(PASSWORD_VARIABLE, "s3cr3t")
    with pytest.raises(UserError) as refused:  # nothing listens there
        open_storage("postgresql://me:***@127.0.0.1:1/sweeps")
    assert str(refused.value).startswith("sweep.storage=postgresql://me:***@127.0.0.1:1/sweeps cannot be used")
    assert "s3cr3t" not in str(refused.value)


def test_the_command_to_join_has_no_password_and_says_where_it_goes(make_ledger) -> None:
    ledger = make_ledger("{seed: [1,2]}", sampler="grid")
    ledger.url = HIDDEN
    words = shlex.split(sweep_end.join_line(ledger))
    assert words[0] == f"{PASSWORD_VARIABLE}=..."
    assert words[-2:] == ["sweep.join=study", f"sweep.storage={HIDDEN}"]


@pytest.mark.parametrize("section", ["sweep", "tracking"])
def test_a_password_that_would_be_stored_with_runs_is_refused(section: str) -> None:
    url = "postgresql://me:s3cr3t@host/db"
    config = Config(sweep=SweepConfig(storage=url)) if section == "sweep" else Config(tracking=TrackingConfig(uri=url))
    (said,) = contradictions(config)
    assert "s3cr3t" not in said
    assert "postgresql://me:***@host/db" in said


def test_a_password_on_the_command_line_is_in_no_file_and_no_message(commands, tmp_path: Path) -> None:
    pytest.importorskip("psycopg2")
    url = "postgresql://me:s3cr3t@127.0.0.1:1/sweeps"  # nothing listens there
    ran = commands.run("sweep.join=study", f"sweep.storage={url}", f"outputs={tmp_path}")
    assert ran.code == 1
    assert "sweep.storage=postgresql://me:***@127.0.0.1:1/sweeps cannot be used" in ran.err
    assert "s3cr3t" not in ran.out + ran.err
    written = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert written  # Hydra's own files, with the arguments and the config
    assert not [file for file in written if b"s3cr3t" in file.read_bytes()]


@pytest.mark.slow
def test_a_password_is_in_no_file_of_a_sweep_in_no_message_and_on_no_workers_command_line(postgresql, commands) -> None:
    url, outputs = postgresql("hidden"), commands.folder / "hidden"
    with_password = url.replace("thaw@", "thaw:s3cr3t@")
    sweep = subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), "-m", *SMALL_JOBS, "seed=1,2", "sweep.study=hidden", "sweep.workers=1",
         f"sweep.storage={with_password}"],
        cwd=commands.folder, env={**commands.env, "THAW_OUTPUTS": str(outputs)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    shown: set[bytes] = set()
    while sweep.poll() is None:
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                line = file.read_bytes()
                if b"sweep_worker" in line and b"hidden" in line:
                    shown.add(line)
        time.sleep(0.5)
    said, _ = sweep.communicate()
    assert sweep.returncode == 0, said
    assert shown
    assert "s3cr3t" not in said
    assert not [line for line in shown if b"s3cr3t" in line]
    assert not [file for file in outputs.rglob("*") if file.is_file() and b"s3cr3t" in file.read_bytes()]
    assert "***" in next(outputs.rglob("multirun.yaml")).read_text()
