"""find_batch on real pictures: memory and speed by the size of batches, and a command that trains."""

import json
import shlex

from tests.conftest import Commands

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
