from dataclasses import replace

import pytest

from thaw.common.errors import UserError
from thaw.config.schema import (
    BackboneConfig,
    Config,
    FinetuneConfig,
    HeadConfig,
    OptimizerConfig,
    StageConfig,
    TrainConfig,
)
from thaw.training.recipes import TrainingStage, plan_recipe

RMSPROP, SGD = OptimizerConfig(name="rmsprop", learning_rate=1e-3), OptimizerConfig(name="sgd")


def config(recipe: str, **finetune: object) -> Config:
    return Config(recipe=recipe, optimizer=SGD, finetune=FinetuneConfig(head_optimizer=RMSPROP, **finetune))


def planned(config: Config, images: int = 1000) -> list[TrainingStage]:
    return plan_recipe(config, images)


def test_scratch_trains_everything_with_statistics() -> None:
    (only,) = planned(config("scratch"))
    assert (only.freeze, only.batchnorm, only.epochs, only.optimizer) == ("none", "trainable", 30, SGD)


def test_bottleneck_freezes_everything() -> None:
    (only,) = planned(config("bottleneck"))
    assert (only.freeze, only.batchnorm, only.optimizer) == ("all", "frozen", SGD)


def test_finetune_trains_the_head_first_then_thaws() -> None:
    head, thaw = planned(config("finetune", freeze=172, head_epochs=2, epochs=4, batchnorm="trainable"))
    assert (head.name, head.freeze, head.epochs, head.first_epoch, head.optimizer) == ("head", "all", 2, 0, RMSPROP)
    assert (thaw.name, thaw.freeze, thaw.epochs, thaw.first_epoch, thaw.optimizer) == ("thaw", 172, 4, 2, SGD)
    assert thaw.batchnorm == "trainable"


def test_a_logistic_head_is_solved_for_where_all_is_frozen_in_one_epoch() -> None:
    logistic = HeadConfig(name="logistic")
    head, thaw = planned(replace(config("finetune", freeze=172, head_epochs=3, epochs=4), head=logistic))
    assert (head.solved, head.epochs, head.first_epoch) == (True, 1, 0)
    assert (thaw.solved, thaw.epochs, thaw.first_epoch) == (False, 4, 1)
    (only,) = planned(replace(config("bottleneck"), head=logistic))
    assert (only.solved, only.epochs) == (True, 1)
    again = [StageConfig(freeze="all"), StageConfig(freeze="block6c", epochs=2), StageConfig(freeze="all", epochs=5)]
    stages = planned(replace(config("finetune", stages=again), head=logistic))
    assert [(stage.solved, stage.epochs, stage.first_epoch) for stage in stages] == [
        (True, 1, 0), (False, 2, 1), (True, 1, 3),
    ]  # fmt: skip


@pytest.mark.parametrize("freezes", [("all",), ("all", "all", 172), (172, "all", "all")])
def test_a_head_is_solved_for_once_on_the_same_features(freezes: tuple[str | int, ...]) -> None:
    logistic = HeadConfig(name="logistic")
    given: dict[str, object] = {"freeze": "all"}
    if len(freezes) > 1:
        given = {"stages": [StageConfig(name=str(i), freeze=freeze, epochs=2) for i, freeze in enumerate(freezes)]}
    stages = planned(replace(config("finetune", **given), head=logistic))
    assert sum(stage.solved for stage in stages) == 1
    assert [stage.number for stage in stages] == list(range(len(stages)))
    assert [stage.first_epoch for stage in stages] == [sum(s.epochs for s in stages[:i]) for i in range(len(stages))]


def test_own_stages_replace_the_two() -> None:
    adam = OptimizerConfig(name="adam")
    own = [
        StageConfig(name="a", freeze="all", epochs=1),
        StageConfig(name="b", freeze="block6c", epochs=2, learning_rate=5e-4),
        StageConfig(name="c", freeze="all", epochs=3, optimizer=adam),
        StageConfig(name="d", freeze="all", epochs=1),
    ]
    a, b, c, d = planned(config("finetune", stages=own))
    assert [s.first_epoch for s in (a, b, c, d)] == [0, 1, 3, 6]
    assert a.optimizer == RMSPROP
    assert (b.optimizer.name, b.optimizer.learning_rate) == ("sgd", 5e-4)
    assert c.optimizer == adam
    assert d.optimizer == SGD  # the last stage is always `optimizer`'s


@pytest.mark.parametrize(
    ("images", "batch_size", "epochs"),
    [(3068, 32, 5), (5000, 32, 4), (50_000, 32, 4), (1438, 32, 11), (160, 32, 30), (1, 32, 30), (3068, 64, 10)],
)
def test_stage_thaw_of_a_stored_run_takes_about_500_steps_where_its_epochs_are_not_given(
    images, batch_size, epochs
) -> None:
    asked = replace(config("finetune"), train=TrainConfig(batch_size=batch_size))
    assert planned(asked, images)[1].epochs == epochs
    asked.finetune.epochs = 3
    assert planned(asked, images)[1].epochs == 3


@pytest.mark.parametrize(("steps", "epochs"), [(400, 4), (500, 5), (1000, 10), (1, 4), (10**6, 30)])
def test_stage_thaw_takes_about_the_steps_that_are_given(steps: int, epochs: int) -> None:
    asked = config("finetune", steps=steps)
    assert planned(asked, 3068)[1].epochs == epochs, "96 steps an epoch"


@pytest.mark.parametrize(
    ("backbone", "side", "images", "epochs"),
    [
        ("efficientnet_lite0", None, 3068, 4),  # 400 steps at 224 pixels, its own side
        ("efficientnet_lite0", None, 2000, 6),
        ("inceptionv3", None, 3068, 4),  # 299 pixels: not fewer
        ("efficientnet_lite0", 192, 3068, 6),  # (224 / 192)^2 times as many
        ("efficientnet_lite0", 160, 4500, 7),  # of which there would be 6, and 4 at 224 pixels at least
        ("efficientnet_lite0", 64, 1439, 18),  # twice as many at most
        ("efficientnet_lite0", 64, 50_000, 8),
        ("efficientnet_lite0", 64, 160, 30),
    ],
)
def test_stage_thaw_takes_more_steps_where_pictures_are_small(backbone, side, images, epochs) -> None:
    asked = replace(config("finetune", steps="auto"), backbone=BackboneConfig(name=backbone, image_size=side))
    assert planned(asked, images)[1].epochs == epochs


def test_a_warm_up_longer_than_those_epochs_is_a_mistake() -> None:
    asked = replace(config("finetune"), optimizer=replace(SGD, warmup_epochs=4))
    with pytest.raises(UserError, match=r"optimizer.warmup_epochs=4 .* 4 epochs .*finetune.epochs"):
        planned(asked, 50_000)
    assert planned(asked, 3000)[1].epochs == 5
