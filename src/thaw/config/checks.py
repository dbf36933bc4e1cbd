"""Holds values to the schema's choices and ranges, and checks what several keys say together: all at once."""

import dataclasses
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

from thaw.common.durations import seconds_of
from thaw.common.errors import UserError, did_you_mean, joined
from thaw.config import key_conflicts
from thaw.config.schema import Config, OptimizerConfig


def check_config(config: Config, new_run: bool = False) -> None:
    """Raise one UserError for all that the schema does not allow and all that contradicts itself. Needs no TensorFlow.

    Args:
        config: of a run.
        new_run: also check what only a new run must keep to (`key_conflicts`); a resumed one runs as it began.
    """
    values = dict(_value_problems(config, ""))
    together = [
        *_dataset_problems(config),
        *_split_problems(config),
        *_stage_problems(config),
        *_train_problems(config),
        *_batch_change_problems(config),
        *_recipe_problems(config),
        *_budget_problems(config),
        *_view_problems(config),
        *(problem for where, optimizer in _optimizers(config) for problem in _optimizer_problems(where, optimizer)),
        *(key_conflicts.contradictions(config) if new_run else ()),
    ]
    # What follows from a value that is refused already is no news.
    raise_problems([*values.values(), *(line for line in together if not any(f"{key}=" in line for key in values))])


def value_problems(section: Any) -> list[str]:
    """Return a line for every key of a dataclass, and of those in it, that its choices and ranges do not allow."""
    return [problem for _, problem in _value_problems(section, "")]


def raise_problems(problems: Iterable[str]) -> None:
    """Raise UserError that lists all problems, a line each; a single one is the whole message."""
    lines = list(dict.fromkeys(problems))
    if len(lines) > 1:
        raise UserError(f"{len(lines)} mistakes:" + "".join(f"\n  {line}" for line in lines))
    if lines:
        raise UserError(lines[0])


def _value_problems(section: Any, prefix: str) -> Iterator[tuple[str, str]]:
    """Yield key and problem."""
    for field in dataclasses.fields(section):
        name, value = f"{prefix}{field.name}", getattr(section, field.name)
        if dataclasses.is_dataclass(value):
            yield from _value_problems(value, f"{name}.")
        elif isinstance(value, list):
            if not value and value != _default(field):
                yield name, f"{name}=[] is empty: it needs at least one entry"
            for i, entry in enumerate(value):
                if dataclasses.is_dataclass(entry):
                    yield from _value_problems(entry, f"{name}[{i}].")
        elif value is not None and (problem := _value_problem(name, value, field.metadata)):
            yield name, problem


def _default(field: dataclasses.Field[Any]) -> object:
    factory = field.default_factory
    return None if factory is dataclasses.MISSING else factory()


def _value_problem(name: str, value: Any, rule: Any) -> str | None:
    choices = rule.get("choices")
    if choices and value not in choices:
        return f"{name}={value} is not a choice.{did_you_mean(value, choices)} Choose one of: {joined(choices)}"
    if word := rule.get("word"):
        if value == word:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return f"{name}={value} is neither a number nor {word}. It is {rule['help']}"
        if rule.get("whole") and math.isfinite(value) and value != int(value):
            return f"{name}={value} is not a whole number. It is {rule['help']}"
    low, high, above = rule.get("min"), rule.get("max"), rule.get("above")
    if isinstance(value, float) and math.isnan(value):
        return f"{name}={value} is not a number"
    for text, broken in (
        (f"at least {low}", low is not None and value < low),
        (f"above {above}", above is not None and value <= above),
        (f"at most {high}", high is not None and value > high),
    ):
        if broken:
            return f"{name}={value} is out of range: it must be {text}. It is {rule['help']}"
    if isinstance(value, float) and math.isinf(value):
        return f"{name}={value} is not finite. It is {rule['help']}"
    return None


def _dataset_problems(config: Config) -> Iterator[str]:
    dataset = config.dataset
    if dataset.name == "image_folder" and not dataset.path:
        yield "dataset=image_folder needs a folder: dataset.path=DIR, with one folder of pictures a class"
    if dataset.name == "digits" and dataset.path:
        yield "dataset=digits takes no dataset.path; for your own pictures use dataset=image_folder"
    if dataset.name in ("cifar10", "digits") and dataset.bits is not None:
        yield f"dataset={dataset.name} is no data of 16 bits a channel: leave dataset.bits out"
    if dataset.name == "csv" and not dataset.path:
        yield "dataset=csv needs a table: dataset.path=FILE, with the columns path and label"
    if max(dataset.val_fraction, dataset.test_fraction) < 1 <= dataset.val_fraction + dataset.test_fraction:
        yield "dataset.val_fraction and dataset.test_fraction leave nothing to train on: lower one of them"


def _split_problems(config: Config) -> Iterator[str]:
    folds, fold = config.split.folds, config.split.fold
    if folds is None and fold:
        yield f"split.fold={fold} needs split.folds, the number of folds"
    if folds is not None and fold >= folds:
        yield f"split.fold={fold} is not one of split.folds={folds}: they are counted from 0 to {folds - 1}"


def _stage_problems(config: Config) -> Iterator[str]:
    names = [stage.name for stage in config.finetune.stages]
    for name in names:
        if not re.fullmatch(r"[\w.-]+", name):
            yield f"finetune.stages: {name!r} is no name for a stage; use letters, digits, _, - and ."
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"finetune.stages: the name {name} stands twice; give every stage a name of its own"
    if names and config.recipe != "finetune":
        yield f"finetune.stages is for recipe=finetune; this is recipe={config.recipe}"


def _train_problems(config: Config) -> Iterator[str]:
    if config.train.class_weight == config.train.sampling == "balanced":
        yield "train.class_weight=balanced and train.sampling=balanced would both make up for rare classes: choose one"


def _batch_change_problems(config: Config) -> Iterator[str]:
    """Refuse changes to a stage's batches that would be none, or other ones than were asked for."""
    augment = config.augment
    for key in ("mixup", "cutmix"):
        if getattr(augment, key) and config.train.class_weight == "balanced":
            yield (
                f"augment.{key} mixes images of two classes, and train.class_weight=balanced weighs by one: use "
                "train.sampling=balanced"
            )
    if augment.place == "images":
        if augment.noise:
            yield "augment.noise is added to activations: set augment.place=activations, or augment.noise=0"
        return
    for key, what in (("ops", "RandAugment changes colours and angles"), ("color", "it changes colours")):
        if getattr(augment, key):
            yield (
                f"augment.place=activations moves and crops maps, and augment.{key} is for images, as {what}: set "
                f"augment.{key}=0, or augment.place=images"
            )
    if config.recipe == "bottleneck" and augment.moves:
        yield (
            "augment.place=activations moves and crops maps, and recipe=bottleneck trains on pooled features, which "
            "have no positions: use recipe=finetune, or augment.place=images with cache.views=4"
        )
    if config.recipe == "scratch":
        yield "augment.place=activations: recipe=scratch has no frozen layers whose activations could be changed"


def _budget_problems(config: Config) -> Iterator[str]:
    if config.budget is not None and seconds_of(config.budget) is None:
        yield f"budget={config.budget} is no time: write it as 90s, 5m, 1h or 1h30m"


def _recipe_problems(config: Config) -> Iterator[str]:
    if config.recipe == "bottleneck" and config.augment.active and not config.cache.views:
        yield (
            f"recipe=bottleneck keeps the features of every image once, and augment={config.augment.name} changes "
            "images every epoch: keep a number of augmented views of each with cache.views=4, or use augment=none or "
            "recipe=finetune"
        )
    if config.recipe == "scratch" and config.backbone.weights != "none":
        yield (
            f"recipe=scratch trains from random weights, and backbone.weights={config.backbone.weights}: "
            "set backbone.weights=none, or recipe=finetune finetune.freeze=none to train all of a pretrained network"
        )


def _view_problems(config: Config) -> Iterator[str]:
    """Refuse views that nothing would use: the run would be another one than was asked for."""
    if not config.cache.views:
        return
    asked = f"cache.views={config.cache.views} keeps frozen activations of augmented views"
    if config.recipe == "scratch":
        yield f"{asked}, and recipe=scratch freezes nothing: leave cache.views out"
    elif not config.augment.active:
        yield (
            f"{asked}, and augment={config.augment.name} changes no image: set augment=light or strong, "
            "or leave cache.views out"
        )


def _optimizers(config: Config) -> list[tuple[str, OptimizerConfig]]:
    """Return every optimizer that the config sets, after its key."""
    stages = [(f"finetune.stages[{i}].optimizer", s.optimizer) for i, s in enumerate(config.finetune.stages)]
    own = [(key, optimizer) for key, optimizer in stages if optimizer is not None]
    return [
        ("optimizer", config.optimizer),
        ("finetune.head_optimizer", config.finetune.head_optimizer),
        *own,
    ]


def _optimizer_problems(key: str, optimizer: OptimizerConfig) -> Iterator[str]:
    if optimizer.learning_rate is None:
        yield f"{key}.learning_rate=null: this key needs a value. Leave it out for its default"
    if optimizer.nesterov and optimizer.name != "sgd":
        yield f"{key}.nesterov is for sgd; this is {optimizer.name}"
    if optimizer.momentum and optimizer.name not in ("sgd", "rmsprop"):
        yield f"{key}.momentum is for sgd and rmsprop; this is {optimizer.name}"
