"""find_batch on real pictures: memory and speed by the size of batches, and a command that trains."""

import json
import shlex
from pathlib import Path

import pytest

from tests.conftest import ROOT, Commands

DIGITS = ("dataset=digits", "dataset.limit_per_class=12", "backbone.image_size=64", "finetune.freeze=block5c")


def test_it_prints_the_command_that_trains_with_the_batch(commands: Commands) -> None:
    ran = commands.run("scripts/find_batch.py", *DIGITS, "train.batch_size=4", "output=found")
    assert ran.code == 0, ran.err
    record = json.loads((commands.folder / "found" / "find_batch.json").read_text())
    assert record["stage"] == "thaw"
    batches = record["batches"]
    assert [each["size"] for each in batches] == [8, 16, 32, 64], "of 120 training images no batch has 128"
    assert record["largest"] == 64
    memory = [each["nbytes"] for each in batches]
    assert memory == sorted(memory)
    assert memory[-1] < record["memory_bytes"]
    assert all(each["images_per_second"] > 1 for each in batches)
    assert "largest batch that fits: 64 images\n" in ran.out
    assert "note: rate and finetune.steps suit batches of 4: " in ran.out
    (line,) = (line for line in ran.out.splitlines() if line.startswith("train: "))
    _, _, script, *arguments = shlex.split(line)
    assert script.endswith("train.py")
    assert arguments == [*DIGITS, f"train.batch_size={record['suggested']}"]
    ran = commands.run("scripts/find_batch.py", *DIGITS, "seconds=0.001", "output=short")
    assert ran.code == 0, ran.err
    short = json.loads((commands.folder / "short" / "find_batch.json").read_text())
    assert [each["size"] for each in short["batches"]] == [8, 16]
    assert f"largest batch that fits: {short['largest']} images" in ran.out


def test_what_cannot_be_tried_is_refused(commands: Commands) -> None:
    small = [*DIGITS[:1], "dataset.limit_per_class=1", *DIGITS[2:]]
    ran = commands.run("scripts/find_batch.py", *small)
    assert ran.code == 1
    assert "batches of 8 and 16 images could not both be tried, with 10 training images" in ran.err
    ran = commands.run("scripts/find_batch.py", *DIGITS[:3], "recipe=auto")
    assert (ran.code, ran.err) == (
        1, "error: recipe=auto chooses what it trains: name another recipe, of which a stage is measured\n"
    )  # fmt: skip


# The command, but batches of one size take all memory that the process may have: 400 MB more than it had then.
HUNGRY = """
import sys, time
sys.path[:0] = [{src!r}]
import psutil
from thaw.advice import batch_trial
from thaw.common import memory
from thaw.__main__ import run_command

resident = lambda: psutil.Process().memory_info().rss
real, taken = batch_trial._figures, []

def figures(step, size):
    if size == {size}:
        most = (resident() + 400_000_000) / 0.9
        memory.available_bytes = lambda: most
        while len(taken) < 200:
            taken.append(bytearray(b"x") * 10_000_000)
            time.sleep(0.01)
    return real(step, size)

batch_trial._figures = figures
run_command("find_batch")
"""


@pytest.mark.parametrize(("size", "code"), [(32, 0), (8, 1)])
def test_a_batch_that_takes_more_than_was_expected_does_not_get_the_process_killed(
    commands: Commands, tmp_path: Path, size: int, code: int
) -> None:
    script = tmp_path / "hungry.py"
    script.write_text(HUNGRY.format(src=str(ROOT / "src"), size=size))
    ran = commands.run(str(script), *DIGITS, f"output={tmp_path}")
    assert ran.code == code, ran.err
    assert f"  {size} images: out of memory\n" in ran.out
    if code:
        assert ran.err.splitlines()[-1].startswith("error: batches of 8 and 16 images could not both be tried")
        return
    assert "largest batch that fits: 16 images\n" in ran.out
    record = json.loads((tmp_path / "find_batch.json").read_text())
    assert (record["largest"], [each["size"] for each in record["batches"]]) == (16, [8, 16])
