"""find_rate on real pictures: figures, a picture, and a command that trains with the rate that was found."""

import json
import shlex

from PIL import Image

from tests.conftest import Commands

HEAD = ("dataset=digits", "dataset.limit_per_class=20", "recipe=bottleneck", "backbone.image_size=64")


def test_it_prints_the_command_that_trains_with_the_rate_and_computes_nothing_twice(commands: Commands) -> None:
    ran = commands.run("scripts/find_rate.py", *HEAD, "optimizer=adam", "output=found")
    assert ran.code == 0, ran.err
    record = json.loads((commands.folder / "found" / "find_rate.json").read_text())
    rate = record["learning_rate"]
    assert 1e-4 < rate < 0.2
    assert record["stage"] == "bottleneck"
    assert len(record["rates"]) == len(record["changes"]) == len(record["trend"]) > 20
    assert Image.open(commands.folder / "found" / "find_rate.png").size[0] > 800
    assert f"· learning rate {rate:g}" in ran.out
    (line,) = (line for line in ran.out.splitlines() if line.startswith("train: "))
    _, _, script, *arguments = shlex.split(line)
    assert script.endswith("train.py")
    assert arguments == [*HEAD, "optimizer=adam", f"optimizer.learning_rate={rate:g}"]
    again = commands.run("scripts/find_rate.py", *arguments, "output=again")
    assert " from the cache, 0 computed" in again.out
    assert json.loads((commands.folder / "again" / "find_rate.json").read_text()) == record
    assert f"{line}\n" in again.out, "a rate that was given is replaced"


def test_stages_without_a_rate_are_refused(commands: Commands) -> None:
    ran = commands.run("scripts/find_rate.py", *HEAD, "head=logistic")
    assert (ran.code, ran.err) == (
        1, "error: stage bottleneck has neither learning rate nor batches: head=logistic solves for the head\n"
    )  # fmt: skip
    ran = commands.run("scripts/find_rate.py", *HEAD, "stage=thaw")
    assert (ran.code, ran.err) == (1, "error: stage=thaw is no stage of this recipe. There are: bottleneck\n")
