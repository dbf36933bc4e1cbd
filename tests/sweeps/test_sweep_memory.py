"""A worker that has run many jobs needs what one that has run few needs."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from .processes import workers_of

DIGITS = ("dataset=digits", "dataset.limit_per_class=5", "backbone.image_size=32", "backbone.weights=none")


@dataclass(frozen=True)
class Taken:
    """What a process has. memory: resident, in MB. seconds: of all processors, since it began."""

    memory: float
    threads: int
    files: int
    seconds: float


def taken(process: int) -> Taken:
    proc = Path("/proc") / str(process)
    status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
    ticks = map(int, (proc / "stat").read_text().rpartition(")")[2].split()[11:13])
    return Taken(
        int(status["VmRSS"].split()[0]) / 1024,
        int(status["Threads"]),
        len(list((proc / "fd").iterdir())),
        sum(ticks) / os.sysconf("SC_CLK_TCK"),
    )


def after_each_job(commands, line: str, *arguments: str) -> Iterator[Taken]:
    """What the one worker of a sweep has when the sweep prints a line that begins so."""
    process = commands.start("-m", *arguments)
    for said in process.stdout:
        if said.startswith(line):
            for worker in workers_of(process.pid):
                yield taken(worker)
    process.communicate()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="what a process has is read from Linux's /proc")
def test_after_200_jobs_a_sweep_has_what_it_had_after_10(commands) -> None:
    """Every job has a network of its own: nothing is taken over from the job before."""
    started = time.monotonic()
    samples = list(
        after_each_job(
            commands, "data: ", *DIGITS, "recipe=bottleneck", "bottleneck.epochs=1", "backbone=mobilenet",
            "backbone.alpha=0.25", "seed=range(200)", "tracking.experiment=many",
        )
    )  # fmt: skip
    tenth, half, last = samples[9], samples[99], samples[199]
    print(f"\njob 10: {tenth}\njob 100: {half}\njob 200: {last}")
    print(f"{(time.monotonic() - started) / 200:.2f} s a job, imports and all")
    assert last.memory < tenth.memory + 60
    assert last.files <= tenth.files + 2
    assert last.threads <= tenth.threads + 2
    assert last.seconds - half.seconds < 1.2 * (half.seconds - tenth.seconds) * 100 / 90, "no job takes longer"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="what a process has is read from Linux's /proc")
def test_jobs_that_fail_leave_nothing_in_memory(commands) -> None:
    """Their boundary does not exist, which is found when data and network are there."""
    samples = list(
        after_each_job(
            commands, "data: ", *DIGITS, "finetune.freeze=nowhere", "seed=range(50)", "tracking.experiment=failing",
        )
    )  # fmt: skip
    print(f"\njob 10: {samples[9]}\njob 50: {samples[49]}")
    assert samples[49].memory < samples[9].memory + 60
