"""All mistakes in a config are reported at once; one is a line, as before."""

import pytest

from thaw.common.errors import UserError
from thaw.config import checks
from thaw.config.schema import (
    AugmentConfig,
    Config,
    DatasetConfig,
    FinetuneConfig,
    OptimizerConfig,
    SplitConfig,
    TrainConfig,
)


def refusal(config: Config) -> list[str]:
    with pytest.raises(UserError) as refused:
        checks.check_config(config, new_run=True)
    return str(refused.value).splitlines()


def test_every_mistake_is_listed_with_its_key() -> None:
    config = Config(
        recipe="botleneck",
        dataset=DatasetConfig(name="image_folder", val_fraction=2),
        split=SplitConfig(folds=3, fold=3),
        optimizer=OptimizerConfig(warmup_epochs=5, nesterov=True),
        finetune=FinetuneConfig(epochs=5),
        train=TrainConfig(batch_size=0),
    )
    heading, *lines = refusal(config)
    assert heading == f"{len(lines)} mistakes:"
    starts = (
        "recipe=botleneck is not a choice. Did you mean 'bottleneck'?",
        "dataset.val_fraction=2 is out of range",
        "train.batch_size=0 is out of range",
        "dataset=image_folder needs a folder",
        "split.fold=3 is not one of split.folds=3",
        "optimizer.warmup_epochs=5 and finetune.epochs=5",
        "optimizer.nesterov=true needs a momentum",
    )
    assert [line[2:].startswith(start) for line, start in zip(lines, starts, strict=True)] == [True] * len(starts)


def test_a_single_mistake_is_one_line() -> None:
    assert refusal(Config(train=TrainConfig(batch_size=0))) == [
        "train.batch_size=0 is out of range: it must be at least 1. It is images a step"
    ]


def test_what_follows_from_a_refused_value_is_not_listed_too() -> None:
    (only,) = refusal(Config(split=SplitConfig(folds=1, fold=1)))
    assert only.startswith("split.folds=1 is out of range: it must be at least 2")
    (only,) = refusal(Config(dataset=DatasetConfig(val_fraction=1.5)))
    assert only.startswith("dataset.val_fraction=1.5 is out of range")


def test_a_run_that_resumes_is_not_held_to_newer_rules() -> None:
    checks.check_config(Config(optimizer=OptimizerConfig(warmup_epochs=5), finetune=FinetuneConfig(epochs=5)))


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (
            Config(augment=AugmentConfig(place="activations", ops=2)),
            "augment.place=activations moves and crops maps, and augment.ops is for images, as RandAugment",
        ),
        (Config(recipe="bottleneck", augment=AugmentConfig(place="activations", flip=True)), "have no positions"),
        (Config(recipe="scratch", augment=AugmentConfig(place="activations", flip=True)), "has no frozen layers"),
        (
            Config(augment=AugmentConfig(mixup=0.2), train=TrainConfig(class_weight="balanced")),
            "augment.mixup mixes images of two classes",
        ),
        (
            Config(augment=AugmentConfig(cutmix=1.0), train=TrainConfig(class_weight="balanced")),
            "augment.cutmix mixes images of two classes",
        ),
        (Config(augment=AugmentConfig(place="activations", color=0.2)), "augment.color is for images, as it changes"),
        (Config(augment=AugmentConfig(noise=0.2)), "augment.noise is added to activations: set augment.place"),
        (Config(recipe="bottleneck", augment=AugmentConfig(place="activations", crop=0.5)), "have no positions"),
    ],
)
def test_changes_of_batches_that_cannot_be_meant_are_refused(config: Config, said: str) -> None:
    assert any(said in line for line in refusal(config))
