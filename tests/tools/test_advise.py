"""advise on real pictures: a table, a picture, and a command that trains what was suggested."""

import json
import shlex
from typing import Any

import pytest
from PIL import Image

from tests.conftest import Commands

SMALL = ("dataset=digits", "dataset.limit_per_class=12")


def check_network(network: dict[str, Any]) -> None:
    accuracies = [depth["accuracy"] for depth in network["depths"]]
    assert len(accuracies) == 5
    assert max(accuracies) > 0.6
    assert accuracies[0] < max(accuracies), "the first blocks tell less"
    timed = [depth for depth in network["depths"] if depth["epoch_seconds"] is not None]
    assert [depth["depth"]["block"][:6] for depth in timed] == ["block3", "block5"]
    assert all(depth["epoch_seconds"] > 0 for depth in timed)


def test_it_writes_figures_a_picture_and_a_command_and_computes_nothing_twice(commands: Commands) -> None:
    ran = commands.run("scripts/advise.py", *SMALL, "seconds=100000", "train.batch_size=16")
    assert ran.code == 0, ran.err
    folder = commands.outputs / "advise"
    record = json.loads((folder / "advise.json").read_text())
    check_network(record["networks"][0])
    assert Image.open(folder / "advise.png").size[0] > 800
    assert f"train: {record['command']}" in ran.out
    assert record["suggestion"]["freeze"] == "block3b"
    assert record["command"].endswith(" finetune.freeze=block3b train.batch_size=16")
    again = commands.run("scripts/advise.py", *SMALL, "seconds=0.001", "output=frozen", "seed=0")
    assert "from the cache, 0 computed" in again.out
    command = json.loads((commands.folder / "frozen" / "advise.json").read_text())["command"]
    assert command.endswith(" recipe=bottleneck head=logistic seed=0"), command
    commands.run("scripts/advise.py", *SMALL, "seconds=0.001", "output=frozen", "head=linear")
    command = json.loads((commands.folder / "frozen" / "advise.json").read_text())["command"]
    assert command.endswith(" recipe=bottleneck head=linear"), command


def test_sides_of_the_input_are_compared(commands: Commands) -> None:
    ran = commands.run("scripts/advise.py", *SMALL, "backbone.image_size=64,96", "seconds=100000")
    assert ran.code == 0, ran.err
    record = json.loads((commands.outputs / "advise" / "advise.json").read_text())
    assert [network["image_size"] for network in record["networks"]] == [64, 96]
    assert f"backbone.image_size={record['suggestion']['image_size']}" in record["command"]
    assert f"suggestion: efficientnet_lite0 at {record['suggestion']['image_size']} px has" in ran.out


@pytest.mark.slow
def test_of_several_networks_it_suggests_one_that_trains(commands: Commands) -> None:
    ran = commands.run("scripts/advise.py", *SMALL, "backbone=efficientnet_lite0,mobilenet", "backbone.alpha=0.25")
    assert ran.code == 1, "one network has no width"
    assert "backbone.alpha" in ran.err
    ran = commands.run("scripts/advise.py", *SMALL, "backbone=efficientnet_lite0,efficientnet_lite1", "seconds=1000")
    assert ran.code == 0, ran.err
    record = json.loads((commands.outputs / "advise" / "advise.json").read_text())
    assert [network["backbone"] for network in record["networks"]] == ["efficientnet_lite0", "efficientnet_lite1"]
    for network in record["networks"]:
        check_network(network)
    _, _, *arguments = shlex.split(record["command"])
    trained = commands.run("train.py", *SMALL, *arguments, "finetune.epochs=1", "finetune.head_epochs=1", "report=none")
    assert trained.code == 0, trained.err
    assert f"block {record['suggestion']['freeze']}" in trained.out


def test_random_weights_are_refused(commands: Commands) -> None:
    ran = commands.run("scripts/advise.py", *SMALL, "backbone.weights=none")
    assert ran.code == 1
    assert ran.err.startswith("error: backbone=efficientnet_lite0 with backbone.weights=none has random weights")
