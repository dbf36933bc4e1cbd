"""Which head a fine-tuning has where none is named."""

import pytest

from thaw.cli.compose import compose_config
from thaw.config.schema import Config


def composed(*arguments: str) -> Config:
    config: Config = compose_config("config", Config, list(arguments))
    return config


@pytest.mark.parametrize(
    "arguments",
    [(), ("recipe=auto",), ("optimizer=adamw",), ("finetune.epochs=3",), ("head.dropout=0.1",), ("head=logistic",),
     ("finetune.stages=[{name:b,freeze:block5c,epochs:2}]",), ("experiment=quickstart",),
     ("recipe=bottleneck", "head=auto")],
    ids=str,
)  # fmt: skip
def test_the_head_is_solved_for(arguments: tuple[str, ...]) -> None:
    config = composed(*arguments)
    assert config.head.name == "logistic"
    assert config.finetune.head_epochs == 3, "what a stored config names is a number"


@pytest.mark.parametrize(
    "arguments",
    [("finetune.head_epochs=3",), ("finetune.head_epochs=1",), ("head.hidden=64",), ("head=gap_dense",),
     ("optimizer@finetune.head_optimizer=adam",), ("finetune.head_optimizer.learning_rate=auto",),
     ("finetune.stages=[{name:a,freeze:all,epochs:1},{name:b,freeze:block5c,epochs:2}]",)],
    ids=str,
)  # fmt: skip
def test_keys_of_a_head_that_is_trained_choose_one(arguments: tuple[str, ...]) -> None:
    assert composed(*arguments).head.name == "gap_dense"


def test_a_head_that_is_named_is_taken() -> None:
    assert composed("head=logistic", "finetune.head_epochs=5").head.name == "logistic"
    assert composed("head=linear", "head.hidden=64").head.name == "linear"
    assert composed("recipe=scratch").head.name == "flatten_dense"
    assert composed("recipe=bottleneck").head.name == "gap_dense"
