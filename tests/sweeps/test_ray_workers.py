"""`hydra/launcher=ray`: a sweep on two Ray nodes ends complete when one of them is killed, and leaves no process.

The whole takes some two minutes: `pytest -m slow tests/sweeps/test_ray_workers.py -n 0`.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from thaw.common.errors import UserError
from thaw.sweeps import ray_launch
from thaw.sweeps.ledger import Ledger

from .processes import SMALL_JOBS

ROOT = Path(__file__).parents[2]


def processes_with(text: str) -> set[int]:
    """Numbers of the processes whose command line has this text."""
    found = set()
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if text.encode() in file.read_bytes():
                found.add(int(file.parent.name))
        except OSError:
            continue
    return found - {os.getpid()}


def kill(numbers: set[int]) -> None:
    for number in numbers:
        try:
            os.kill(number, signal.SIGKILL)
        except ProcessLookupError:
            continue


def children_of(numbers: set[int]) -> set[int]:
    """The processes below these, to the last."""
    children = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
        if parent in numbers:
            children.add(int(stat.parent.name))
    return children | children_of(children) if children else set()


class RayNodes:
    """A cluster of two nodes of one core each on this machine, in a folder of their own."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.folder, self.address = folder, f"127.0.0.1:{port}"
        self.env = env | {"HOME": str(folder), "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token"}
        self.env["RAY_AUTH_TOKEN"] = "0123456789abcdef0123456789abcdef"
        common = ("--num-cpus=1", "--disable-usage-stats", "--object-store-memory=100000000")
        self._start("--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={folder}", *common)
        self._first = self._raylets()
        self._start(f"--address={self.address}", *common)

    def _start(self, *arguments: str) -> None:
        command = [str(Path(sys.executable).with_name("ray")), "start", *arguments]
        done = subprocess.run(
            command, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=180
        )
        assert done.returncode == 0, done.stdout

    def _raylets(self) -> set[int]:
        return processes_with(f"--raylet_socket_name={self.folder}")

    def kill_second(self) -> None:
        """Kill -9 the second node with all that runs on it."""
        second = self._raylets() - self._first
        assert len(second) == 1
        kill(second | children_of(second))

    def close(self) -> None:
        """End this cluster; `ray stop` would end all of the machine."""
        kill(processes_with(str(self.folder)))
        shutil.rmtree(self.folder, ignore_errors=True)  # its processes may still write


@pytest.fixture
def ray_nodes(tmp_path_factory, commands) -> Iterator[RayNodes]:
    pytest.importorskip("ray")
    folder = Path(f"/tmp/thaw-ray-{os.getpid()}")  # a socket's path has at most 107 characters
    folder.mkdir()
    nodes = RayNodes(folder, commands.env)
    yield nodes
    nodes.close()


@pytest.mark.slow
def test_a_sweep_on_two_ray_nodes_of_which_one_is_killed_ends_complete(ray_nodes: RayNodes, commands) -> None:
    outputs = commands.folder / "two nodes"
    sweep = subprocess.Popen(
        [sys.executable, "-u", str(ROOT / "train.py"), "-m", *SMALL_JOBS, "seed=1,2,3,4,5,6", "sweep.study=nodes",
         "hydra/launcher=ray", f"hydra.launcher.address={ray_nodes.address}", "sweep.workers=2"],
        env=ray_nodes.env | {"THAW_OUTPUTS": str(outputs)}, cwd=commands.folder, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    url = f"sqlite:///{outputs}/sweeps.db"
    wait_for(lambda: (outputs / "sweeps.db").exists() and Ledger.find(url, "nodes") is not None, sweep)
    ledger = Ledger.find(url, "nodes")
    wait_for(lambda: sum(job.state == "running" for job in ledger.jobs()) == 2, sweep)
    ray_nodes.kill_second()
    said, _ = sweep.communicate(timeout=600)
    assert sweep.returncode == 0, said
    jobs = ledger.jobs()
    assert [job.state for job in jobs] == ["finished"] * 6
    assert sorted(job.attempts for job in jobs) == [1, 1, 1, 1, 1, 2]
    wait_for(lambda: not processes_with(url), None)  # no worker outlives its sweep


@pytest.mark.slow
def test_ray_that_was_started_for_a_sweep_ends_with_it_also_when_it_is_interrupted(commands) -> None:
    pytest.importorskip("ray")
    outputs = commands.folder / "own ray"
    url = f"sqlite:///{outputs}/sweeps.db"
    before = processes_with("raylet/raylet")
    command = [sys.executable, "-u", str(ROOT / "train.py"), "-m", *SMALL_JOBS, "seed=1,2", "sweep.study=own",
               "hydra/launcher=ray", "sweep.workers=1"]  # fmt: skip
    options = {"env": commands.env | {"THAW_OUTPUTS": str(outputs)}, "cwd": commands.folder, "text": True}
    sweep = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    wait_for(lambda: (outputs / "sweeps.db").exists() and Ledger.find(url, "own") is not None, sweep)
    ledger = Ledger.find(url, "own")
    wait_for(lambda: any(job.state == "running" for job in ledger.jobs()), sweep)
    sweep.send_signal(signal.SIGINT)
    said, _ = sweep.communicate(timeout=120)
    assert sweep.returncode == 130, said
    wait_for(lambda: not processes_with(url) and processes_with("raylet/raylet") <= before, None)
    again = subprocess.run(command, capture_output=True, timeout=400, **options)
    assert again.returncode == 0, again.stderr
    assert [job.state for job in ledger.jobs()] == ["finished"] * 2
    wait_for(lambda: not processes_with(url) and processes_with("raylet/raylet") <= before, None)


def wait_for(condition, process: subprocess.Popen | None, seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        assert process is None or process.poll() is None, process.communicate()[0]
        time.sleep(0.5)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere", "host.invalid:6379"])
def test_a_cluster_that_does_not_answer_is_one_error_at_once(address: str) -> None:
    pytest.importorskip("ray")
    with pytest.raises(UserError, match=f"^hydra.launcher.address={address}: there is no Ray cluster to join"):
        ray_launch.launch([["sweep.join=x", "sweep.storage=sqlite:///x"]], address, 1, 0)


def test_a_launcher_without_ray_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install 'thaw\[ray\]'"):
        ray_launch.launch([["sweep.join=x", "sweep.storage=sqlite:///x"]], None, 1, 0)
