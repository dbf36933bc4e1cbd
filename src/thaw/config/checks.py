"""Holds values to the schema's choices and ranges, and checks what several keys say together."""

import dataclasses
import re
from typing import Any

from thaw.common.errors import UserError, did_you_mean, joined
from thaw.config.schema import Config, OptimizerConfig


def check_config(config: Config) -> None:
    """Raise UserError for the first value that the schema does not allow. Needs no TensorFlow."""
    check_values(config, "")
    _check_dataset(config)
    _check_split(config)
    _check_stages(config)
    _check_train(config)
    _check_recipe(config)
    _check_views(config)
    for where, optimizer in _optimizers(config):
        _check_optimizer(where, optimizer)


def check_values(section: Any, prefix: str) -> None:
    """Hold every key of a dataclass, and of those in it, to the choices and ranges in its metadata."""
    for field in dataclasses.fields(section):
        name, value = f"{prefix}{field.name}", getattr(section, field.name)
        if dataclasses.is_dataclass(value):
            check_values(value, f"{name}.")
        elif isinstance(value, list):
            if not value and value != _default(field):
                raise UserError(f"{name}=[] is empty: it needs at least one entry")
            for i, entry in enumerate(value):
                if dataclasses.is_dataclass(entry):
                    check_values(entry, f"{name}[{i}].")
        elif value is not None:
            _check_value(name, value, field.metadata)


def _default(field: dataclasses.Field[Any]) -> object:
    factory = field.default_factory
    return None if factory is dataclasses.MISSING else factory()


def _check_value(name: str, value: Any, rule: Any) -> None:
    choices = rule.get("choices")
    if choices and value not in choices:
        raise UserError(
            f"{name}={value} is not a choice.{did_you_mean(value, choices)} Choose one of: {joined(choices)}"
        )
    low, high, above = rule.get("min"), rule.get("max"), rule.get("above")
    if isinstance(value, float) and value != value:
        raise UserError(f"{name}={value} is not a number")
    bounds = [
        text
        for text, broken in (
            (f"at least {low}", low is not None and value < low),
            (f"above {above}", above is not None and value <= above),
            (f"at most {high}", high is not None and value > high),
        )
        if broken
    ]
    if bounds:
        raise UserError(f"{name}={value} is out of range: it must be {bounds[0]}. It is {rule['help']}")


def _check_dataset(config: Config) -> None:
    dataset = config.dataset
    if dataset.name == "image_folder" and not dataset.path:
        raise UserError("dataset=image_folder needs a folder: dataset.path=DIR, with one folder of pictures a class")
    if dataset.name == "digits" and dataset.path:
        raise UserError("dataset=digits takes no dataset.path; for your own pictures use dataset=image_folder")
    if dataset.name in ("cifar10", "digits") and dataset.bits is not None:
        raise UserError(f"dataset={dataset.name} is no data of 16 bits a channel: leave dataset.bits out")
    if dataset.name == "csv" and not dataset.path:
        raise UserError("dataset=csv needs a table: dataset.path=FILE, with the columns path and label")
    if dataset.val_fraction + dataset.test_fraction >= 1:
        raise UserError("dataset.val_fraction and dataset.test_fraction leave nothing to train on: lower one of them")


def _check_split(config: Config) -> None:
    folds, fold = config.split.folds, config.split.fold
    if folds is None and fold:
        raise UserError(f"split.fold={fold} needs split.folds, the number of folds")
    if folds is not None and fold >= folds:
        raise UserError(f"split.fold={fold} is not one of split.folds={folds}: they are counted from 0 to {folds - 1}")


def _check_stages(config: Config) -> None:
    names = [stage.name for stage in config.finetune.stages]
    for name in names:
        if not re.fullmatch(r"[\w.-]+", name):
            raise UserError(f"finetune.stages: {name!r} is no name for a stage; use letters, digits, _, - and .")
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise UserError(f"finetune.stages: the name {min(twice)} stands twice; give every stage a name of its own")
    if names and config.recipe != "finetune":
        raise UserError(f"finetune.stages is for recipe=finetune; this is recipe={config.recipe}")


def _check_train(config: Config) -> None:
    if config.train.class_weight == config.train.sampling == "balanced":
        raise UserError(
            "train.class_weight=balanced and train.sampling=balanced would both make up for rare classes: choose one"
        )


def _check_recipe(config: Config) -> None:
    if config.recipe == "bottleneck" and config.augment.active and not config.cache.views:
        raise UserError(
            f"recipe=bottleneck keeps the features of every image once, and augment={config.augment.name} changes "
            "images every epoch: keep a number of augmented views of each with cache.views=4, or use augment=none or "
            "recipe=finetune"
        )
    if config.recipe == "scratch" and config.backbone.weights != "none":
        raise UserError(
            f"recipe=scratch trains from random weights, and backbone.weights={config.backbone.weights}: "
            "set backbone.weights=none, or recipe=finetune finetune.freeze=none to train all of a pretrained network"
        )


def _check_views(config: Config) -> None:
    """Views that nothing would use are refused: the run would be another one than was asked for."""
    if not config.cache.views:
        return
    asked = f"cache.views={config.cache.views} keeps frozen activations of augmented views"
    if config.recipe == "scratch":
        raise UserError(f"{asked}, and recipe=scratch freezes nothing: leave cache.views out")
    if not config.augment.active:
        raise UserError(
            f"{asked}, and augment={config.augment.name} changes no image: set augment=light or strong, "
            "or leave cache.views out"
        )


def _optimizers(config: Config) -> list[tuple[str, OptimizerConfig]]:
    stages = [(f"finetune.stages[{i}].optimizer", s.optimizer) for i, s in enumerate(config.finetune.stages)]
    given = [(where, optimizer) for where, optimizer in stages if optimizer is not None]
    return [("optimizer", config.optimizer), ("finetune.head_optimizer", config.finetune.head_optimizer), *given]


def _check_optimizer(where: str, optimizer: OptimizerConfig) -> None:
    if optimizer.nesterov and optimizer.name != "sgd":
        raise UserError(f"{where}.nesterov is for sgd; this is {optimizer.name}")
    if optimizer.momentum and optimizer.name not in ("sgd", "rmsprop"):
        raise UserError(f"{where}.momentum is for sgd and rmsprop; this is {optimizer.name}")
