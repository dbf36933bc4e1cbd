"""A sweep whose processes are killed ends with every setting run once, and with the result of an undisturbed one.

The long form takes some 20 minutes: `pytest -m slow tests/sweeps/test_kills.py -n 0 -s`.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from .processes import workers_of

ROOT = Path(__file__).parents[2]
JOBS = (
    "dataset=digits", "dataset.limit_per_class=5", "backbone.image_size=32", "recipe=bottleneck", "report=none",
    "tracking.log_model=false",
)  # fmt: skip
pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the workers are found in Linux's /proc")


@dataclass(frozen=True)
class Ended:
    """A sweep's runs in the store. finished: their settings; best: objective and settings of the best."""

    finished: list[str]
    best: tuple[float, str]


def start(commands, outputs: Path, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-u", str(ROOT / "train.py"), "-m", *JOBS, *arguments],
        cwd=commands.folder, env={**commands.env, "THAW_OUTPUTS": str(outputs)},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def said_at_the_end(process: subprocess.Popen, seconds: float) -> str:
    """What a sweep printed; one that does not end is ended, so that nothing goes on behind the test's back."""
    try:
        return process.communicate(timeout=seconds)[0]
    except subprocess.TimeoutExpired:
        process.terminate()
        print(process.communicate()[0])
        raise


def kill(victim: str, process: subprocess.Popen) -> bool:
    """Kill -9 the parent, a worker or both at once; False when there was nothing left to kill."""
    if process.poll() is not None:
        return False
    victims = {"parent": [process.pid], "worker": [], "both": [process.pid]}[victim]
    if victim != "parent":
        victims += workers_of(process.pid)
    for number in victims:
        try:
            os.kill(number, signal.SIGKILL)
        except ProcessLookupError:
            return False
    return bool(victims)


def ended(outputs: Path) -> Ended:
    from thaw.tracking import open_store

    client = open_store(f"sqlite:///{outputs}/mlflow.db", outputs).client
    runs = client.search_runs([client.get_experiment_by_name("thaw").experiment_id])
    (parent,) = (run for run in runs if "thaw.sweep" in run.data.tags)
    assert parent.info.status == "FINISHED"
    jobs = [run for run in runs if run is not parent]
    assert all(run.data.tags["mlflow.parentRunId"] == parent.info.run_id for run in jobs)
    finished = [run for run in jobs if run.info.status == "FINISHED"]
    assert not [run for run in jobs if run.info.status == "RUNNING"]
    best = client.get_run(parent.data.tags["thaw.best_run"])
    return Ended(
        sorted(run.data.tags["thaw.overrides"] for run in finished),
        (best.data.metrics["objective"], best.data.tags["thaw.overrides"]),
    )


def disturbed(commands, outputs: Path, victim: str, kills: int, seed: int, *arguments: str) -> int:
    """Kill at random moments, start again, let the sweep end; returns how often something was killed."""
    draw, killed, starts = random.Random(seed), 0, 0
    while True:
        process = start(commands, outputs, *arguments)
        starts += 1
        assert starts < 3 * kills + 10, "the sweep does not end"
        while killed < kills and process.poll() is None:
            # From the first import to several jobs later.
            time.sleep(draw.uniform(0.0, 30.0))
            if kill(victim, process):
                killed += 1
                print(f"{victim} killed, {killed} of {kills}", flush=True)
            if victim != "worker":
                break
        said = said_at_the_end(process, 900)
        if process.returncode == 0:
            return killed
        assert process.returncode in (1, -signal.SIGKILL), said
        assert "Traceback" not in said, said


def check(commands, tmp_path: Path, victim: str, kills: int, *arguments: str, settings: int) -> int:
    quiet = start(commands, tmp_path / "undisturbed", *arguments)
    said = said_at_the_end(quiet, 900)
    assert quiet.returncode == 0, said
    killed = disturbed(commands, tmp_path / "disturbed", victim, kills, 0, *arguments)
    undisturbed, after = ended(tmp_path / "undisturbed"), ended(tmp_path / "disturbed")
    assert len(after.finished) == settings
    assert after == undisturbed
    return killed


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["parent", "worker", "both"])
def test_killed_at_20_moments_a_sweep_ends_as_an_undisturbed_one(commands, tmp_path: Path, victim: str) -> None:
    rates = ",".join(f"{i * 1e-4:.4f}" for i in range(1, 61))
    killed = check(
        commands, tmp_path, victim, 20, f"optimizer.learning_rate={rates}", "bottleneck.epochs=5", "head=linear",
        "sweep.retries=10", settings=60,
    )  # fmt: skip
    print(f"{victim}: {killed} kills")
    assert killed >= 15, "the sweep ended before it was killed often enough"


def test_parent_and_worker_killed_in_the_middle_of_a_sweep(commands, tmp_path: Path) -> None:
    """Killed while the second job trains; the same command goes on with it, and does not run the first one again."""
    arguments = ("optimizer.learning_rate=1e-3,1e-2", "bottleneck.epochs=30", "head=linear")
    process = start(commands, tmp_path, *arguments)
    assert process.stdout is not None
    result = None
    for line in process.stdout:
        if line.startswith("result "):
            result = Path(commands.folder, line.removeprefix("result ").strip())
        if result is not None and "bottleneck epoch 9 " in line:
            break
    assert result is not None
    first = json.loads(result.read_text())
    assert kill("both", process)
    process.communicate()
    again = start(commands, tmp_path, *arguments)
    said = said_at_the_end(again, 300)
    assert again.returncode == 0, said
    assert ended(tmp_path).finished == [
        " ".join([*JOBS, f"optimizer.learning_rate={rate}", *arguments[1:]]) for rate in ("0.001", "0.01")
    ]
    assert "\nresumed: stage bottleneck, after " in said
    assert "1 of 2 settings done before" in said
    assert said.count("\nresult ") == 1
    assert json.loads(result.read_text()) == first
    third = start(commands, tmp_path, *arguments)
    said = said_at_the_end(third, 300)
    assert "2 of 2 settings done before" in said
    assert "\njob " not in said
