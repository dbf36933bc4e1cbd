"""advise on real pictures: a table, a picture, and a command that trains what was suggested."""

import json
import shlex

from PIL import Image

from tests.conftest import Commands

SMALL = ("dataset=digits", "dataset.limit_per_class=12")


def test_it_suggests_a_command_that_trains(commands: Commands) -> None:
    ran = commands.run("scripts/advise.py", *SMALL, "backbone=efficientnet_lite0,mobilenet", "backbone.alpha=0.25")
    assert ran.code == 1, "one network has no width"
    assert "backbone.alpha" in ran.err

    ran = commands.run("scripts/advise.py", *SMALL, "backbone=efficientnet_lite0,efficientnet_lite1", "seconds=1000")
    assert ran.code == 0, ran.err
    folder = commands.outputs / "advise"
    record = json.loads((folder / "advise.json").read_text())
    assert [network["backbone"] for network in record["networks"]] == ["efficientnet_lite0", "efficientnet_lite1"]
    for network in record["networks"]:
        accuracies = [depth["accuracy"] for depth in network["depths"]]
        assert len(accuracies) == 5
        assert max(accuracies) > 0.6
        assert accuracies[0] < max(accuracies), "the first blocks tell less"
        timed = [depth for depth in network["depths"] if depth["epoch_seconds"] is not None]
        assert [depth["depth"]["block"][:6] for depth in timed] == ["block3", "block5"]
        assert timed[0]["epoch_seconds"] > timed[1]["epoch_seconds"] > 0, "deeper costs more"
    assert Image.open(folder / "advise.png").size[0] > 800
    assert f"train: {record['command']}" in ran.out
    assert record["suggestion"]["freeze"].startswith("block3")

    _, _, *arguments = shlex.split(record["command"])
    trained = commands.run("train.py", *SMALL, *arguments, "finetune.epochs=1", "finetune.head_epochs=1", "report=none")
    assert trained.code == 0, trained.err
    assert f"block {record['suggestion']['freeze']}" in trained.out

    again = commands.run("scripts/advise.py", *SMALL)
    assert "from the cache, 0 computed" in again.out


def test_random_weights_are_refused(commands: Commands) -> None:
    ran = commands.run("scripts/advise.py", *SMALL, "backbone.weights=none")
    assert ran.code == 1
    assert ran.err.startswith("error: backbone=efficientnet_lite0 with backbone.weights=none has random weights")
