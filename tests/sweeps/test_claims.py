"""Processes claim and finish the settings of one ledger as fast as they can: each once, and none is lost."""

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

from thaw.sweeps.ledger import Ledger
from thaw.sweeps.space import parse_space

from .conftest import PLAN

ROOT = Path(__file__).parents[2]
SETTINGS, WORKERS = 40, 8
# Claims settings until none is left, says which, and works for some seconds on each.
WORKER = """
import json, sys, time
from thaw.sweeps.ledger import Claim, Ledger
from thaw.sweeps.worker_id import this_worker

url, work = sys.argv[1], float(sys.argv[2])
ledger, me = Ledger.find(url, "study"), this_worker()
print("ready", flush=True)
while (claim := ledger.claim(me)) is not None:
    if isinstance(claim, Claim):
        print(json.dumps([claim.number, claim.attempt, claim.overrides]), flush=True)
        time.sleep(work)
        ledger.finish(claim, [claim.number])
    else:
        time.sleep(0.05)
"""


def make_ledger(url: str) -> Ledger:
    space = f"{{seed: [{','.join(map(str, range(SETTINGS)))}]}}"
    return Ledger.create(
        url, "study", replace(PLAN, arguments=(), sampler="grid", trials=SETTINGS, parameters=tuple(parse_space(space)))
    )


def start_worker(url: str, work: float = 0.0) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, url, str(work)], stdout=subprocess.PIPE, text=True, env=environment
    )


def claimed(lines: str) -> list[list]:
    return [json.loads(line) for line in lines.splitlines() if line.startswith("[")]


def check_each_setting_is_claimed_once(url: str) -> None:
    ledger = make_ledger(url)
    workers = [start_worker(url) for _ in range(WORKERS)]
    said = [worker.communicate(timeout=240)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * WORKERS
    claims = [claim for lines in said for claim in claimed(lines)]
    assert Counter(number for number, _, _ in claims) == Counter(range(SETTINGS))
    assert sorted(overrides for _, _, overrides in claims) == sorted([f"seed={i}"] for i in range(SETTINGS))
    assert {attempt for _, attempt, _ in claims} == {1}
    jobs = ledger.jobs()
    assert [(job.number, job.state, job.attempts, job.values) for job in jobs] == [
        (i, "finished", 1, (float(i),)) for i in range(SETTINGS)
    ]
    assert sum(bool(claimed(lines)) for lines in said) > 1  # they did work at the same time


def check_settings_of_killed_workers_are_claimed_again(url: str) -> None:
    ledger = make_ledger(url)
    killed = [start_worker(url, work=600) for _ in range(2)]
    others = [start_worker(url) for _ in range(2)]
    lost = []
    for worker in killed:
        assert worker.stdout
        assert worker.stdout.readline() == "ready\n"
        lost.append(json.loads(worker.stdout.readline())[0])
    for worker in killed:
        worker.kill()
        worker.wait()
    said = [worker.communicate(timeout=240)[0] for worker in others]
    assert [worker.returncode for worker in others] == [0, 0]
    claims = [claim for lines in said for claim in claimed(lines)]
    assert sorted(number for number, _, _ in claims) == list(range(SETTINGS))
    assert sorted(number for number, attempt, _ in claims if attempt == 2) == sorted(lost)
    assert [(job.number, job.state, job.values) for job in ledger.jobs()] == [
        (i, "finished", (float(i),)) for i in range(SETTINGS)
    ]


def test_eight_processes_claim_each_setting_once_in_sqlite(tmp_path: Path) -> None:
    check_each_setting_is_claimed_once(f"sqlite:///{tmp_path}/sweeps.db")


def test_eight_processes_claim_each_setting_once_in_postgresql(postgresql) -> None:
    check_each_setting_is_claimed_once(postgresql("once"))


def test_settings_of_killed_processes_are_claimed_again_in_sqlite(tmp_path: Path) -> None:
    check_settings_of_killed_workers_are_claimed_again(f"sqlite:///{tmp_path}/sweeps.db")


def test_settings_of_killed_processes_are_claimed_again_in_postgresql(postgresql) -> None:
    check_settings_of_killed_workers_are_claimed_again(postgresql("again"))
