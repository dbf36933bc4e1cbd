"""Every mistake of a command line is named at once, whatever Hydra met first."""

import pytest

from ..conftest import Commands

MISTAKES = [
    (("train.py", "bakbone=vgg16", "optmizer.learning_rate=1", "dataset.pth=x"), 3, "dataset.pth is not a key"),
    (("train.py", "dataset=image_fodler", "seeed=4", "head.hidden=-5"), 3, "head.hidden=-5 is out of range"),
    (("train.py", "train.patience=x", "optimizer.schedule=cosin"), 2, "Did you mean 'cosine'"),
    (("scripts/predict.py", "modle=abc", "top=0"), 2, "top=0 is out of range"),
]


@pytest.mark.parametrize(("command", "count", "last"), MISTAKES, ids=str)
def test_all_mistakes_are_named_at_once(commands: Commands, command: tuple[str, ...], count: int, last: str) -> None:
    ran = commands.run(*command)
    assert ran.code == 1
    assert f"error: {count} mistakes:" in ran.err
    assert last in ran.err
    assert len(ran.err.splitlines()) == 1 + count


def test_a_single_mistake_is_one_line(commands: Commands) -> None:
    ran = commands.run("train.py", "bakbone=vgg16", "seed=1")
    assert ran.err.startswith("error: bakbone is not a key. Did you mean 'backbone'?")
    assert len(ran.err.splitlines()) == 1


def test_of_several_networks_only_the_unknown_one_is_a_mistake(commands: Commands) -> None:
    ran = commands.run("scripts/advise.py", "dataset=digits", "backbone=efficientnet_lite0,nonsense")
    assert ran.err.startswith("error: backbone=nonsense is not a choice.")
    assert len(ran.err.splitlines()) == 1
