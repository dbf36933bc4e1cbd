from dataclasses import replace

from thaw.config.schema import Config, FinetuneConfig, HeadConfig, OptimizerConfig, StageConfig
from thaw.training.recipes import plan_recipe

RMSPROP, SGD = OptimizerConfig(name="rmsprop", learning_rate=1e-3), OptimizerConfig(name="sgd")


def config(recipe: str, **finetune: object) -> Config:
    return Config(recipe=recipe, optimizer=SGD, finetune=FinetuneConfig(head_optimizer=RMSPROP, **finetune))


def test_scratch_trains_everything_with_statistics() -> None:
    (only,) = plan_recipe(config("scratch"))
    assert (only.freeze, only.batchnorm, only.epochs, only.optimizer) == ("none", "trainable", 30, SGD)


def test_bottleneck_freezes_everything() -> None:
    (only,) = plan_recipe(config("bottleneck"))
    assert (only.freeze, only.batchnorm, only.optimizer) == ("all", "frozen", SGD)


def test_finetune_trains_the_head_first_then_thaws() -> None:
    head, thaw = plan_recipe(config("finetune", freeze=172, head_epochs=2, epochs=4, batchnorm="trainable"))
    assert (head.name, head.freeze, head.epochs, head.first_epoch, head.optimizer) == ("head", "all", 2, 0, RMSPROP)
    assert (thaw.name, thaw.freeze, thaw.epochs, thaw.first_epoch, thaw.optimizer) == ("thaw", 172, 4, 2, SGD)
    assert thaw.batchnorm == "trainable"


def test_a_logistic_head_is_solved_for_where_all_is_frozen_in_one_epoch() -> None:
    logistic = HeadConfig(name="logistic")
    head, thaw = plan_recipe(replace(config("finetune", freeze=172, head_epochs=3, epochs=4), head=logistic))
    assert (head.solved, head.epochs, head.first_epoch) == (True, 1, 0)
    assert (thaw.solved, thaw.epochs, thaw.first_epoch) == (False, 4, 1)
    (only,) = plan_recipe(replace(config("bottleneck"), head=logistic))
    assert (only.solved, only.epochs) == (True, 1)
    again = [StageConfig(freeze="all"), StageConfig(freeze="block6c", epochs=2), StageConfig(freeze="all", epochs=5)]
    planned = plan_recipe(replace(config("finetune", stages=again), head=logistic))
    assert [(stage.solved, stage.epochs, stage.first_epoch) for stage in planned] == [
        (True, 1, 0), (False, 2, 1), (True, 1, 3),
    ]  # fmt: skip


def test_own_stages_replace_the_two() -> None:
    adam = OptimizerConfig(name="adam")
    planned = [
        StageConfig(name="a", freeze="all", epochs=1),
        StageConfig(name="b", freeze="block6c", epochs=2, learning_rate=5e-4),
        StageConfig(name="c", freeze="all", epochs=3, optimizer=adam),
        StageConfig(name="d", freeze="all", epochs=1),
    ]
    a, b, c, d = plan_recipe(config("finetune", stages=planned))
    assert [s.first_epoch for s in (a, b, c, d)] == [0, 1, 3, 6]
    assert a.optimizer == RMSPROP
    assert (b.optimizer.name, b.optimizer.learning_rate) == ("sgd", 5e-4)
    assert c.optimizer == adam
    assert d.optimizer == SGD  # the last stage is always `optimizer`'s
