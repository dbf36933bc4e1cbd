"""Keys of a new run that contradict its stages, and keys that nothing reads. Needs no TensorFlow."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from thaw.config.schema import Config, OptimizerConfig, StageConfig

HEAD_OPTIMIZER_KEY, OPTIMIZER_KEY = "finetune.head_optimizer", "optimizer"


@dataclass(frozen=True)
class StageKeys:
    """Where a stage's epochs and optimizer come from. own_rate: the learning rate does not come from the optimizer."""

    epochs_key: str
    epochs: int
    optimizer_key: str
    optimizer: OptimizerConfig
    overrides_learning_rate: bool = False


def takes_head_optimizer(number: int, stages: Sequence[StageConfig]) -> bool:
    """Stages with everything frozen take head_optimizer; the last one is always `optimizer`'s, in every recipe."""
    return str(stages[number].freeze) == "all" and number < len(stages) - 1


def contradictions(config: Config) -> Iterator[str]:
    """Yield a line for each set of keys that together cannot be meant."""
    for stage in _stages(config):
        optimizer, warmup = stage.optimizer, stage.optimizer.warmup_epochs
        if warmup >= stage.epochs:
            yield (
                f"{stage.optimizer_key}.warmup_epochs={warmup:g} and {stage.epochs_key}={stage.epochs}: the stage ends "
                "before its learning rate is reached. Set a shorter warm-up or more epochs"
            )
        if optimizer.nesterov and optimizer.name == "sgd" and not optimizer.momentum:
            yield (
                f"{stage.optimizer_key}.nesterov=true needs a momentum, and has none: set "
                f"{stage.optimizer_key}.momentum=0.9, or leave nesterov out"
            )


def no_effect_notes(config: Config, overrides: Iterable[str]) -> list[str]:
    """Say what of the command has no effect, a line for each reason; of defaults and files of conf/ nothing is said."""
    typed = list(dict.fromkeys(key for override in overrides if (key := _key(override))))
    found: dict[str, list[str]] = {}
    for idle, why in _idle(config):
        own = [key for key in typed if key == idle or key.startswith(f"{idle}.")]
        if own:
            found.setdefault(why, []).extend(own)
    lines = [f"note: {', '.join(keys)} {_has(keys)} no effect: {why}" for why, keys in found.items()]
    return [*lines, *(f"note: {line}" for line in _never_falls(config))]


def _has(keys: list[str]) -> str:
    return "have" if len(keys) > 1 else "has"


def _key(override: str) -> str | None:
    """The key that an override sets: `finetune.head_optimizer` of `optimizer@finetune.head_optimizer=adam`."""
    match = re.match(r"[+~]*(?:[^=@]+@)?([^=@]+)=", override)
    return match[1] if match else None


def _stages(config: Config) -> list[StageKeys]:
    own = config.finetune
    if config.recipe == "scratch":
        return [StageKeys("scratch.epochs", config.scratch.epochs, OPTIMIZER_KEY, config.optimizer)]
    if config.recipe == "bottleneck":
        return [StageKeys("bottleneck.epochs", config.bottleneck.epochs, OPTIMIZER_KEY, config.optimizer)]
    if not own.stages:
        return [
            StageKeys("finetune.head_epochs", own.head_epochs, HEAD_OPTIMIZER_KEY, own.head_optimizer),
            StageKeys("finetune.epochs", own.epochs, OPTIMIZER_KEY, config.optimizer),
        ]
    found = []
    for i, stage in enumerate(own.stages):
        place = f"finetune.stages[{i}]"
        shared = (
            (HEAD_OPTIMIZER_KEY, own.head_optimizer)
            if takes_head_optimizer(i, own.stages)
            else (OPTIMIZER_KEY, config.optimizer)
        )
        where, optimizer = (f"{place}.optimizer", stage.optimizer) if stage.optimizer else shared
        found.append(StageKeys(f"{place}.epochs", stage.epochs, where, optimizer, stage.learning_rate is not None))
    return found


def _idle(config: Config) -> Iterator[tuple[str, str]]:
    """Keys and sections that nothing reads, and why."""
    own, recipe = config.finetune, f"recipe={config.recipe}"
    for section in ("scratch", "bottleneck", "finetune"):
        if section != config.recipe:
            yield section, recipe
    if config.recipe != "finetune":
        yield "backbone.freeze", recipe
    elif own.stages:
        for key in ("finetune.freeze", "finetune.head_epochs", "finetune.epochs", "backbone.freeze"):
            yield key, "finetune.stages takes its place"
    if config.recipe == "finetune" and all(str(s.freeze) == "all" for s in own.stages or [StageConfig("", own.freeze)]):
        yield "finetune.batchnorm", "everything stays frozen"
    if config.recipe == "scratch":
        yield "frozen_precision", "recipe=scratch freezes nothing"
    yield from _idle_optimizers(config)
    for where, optimizer in ((OPTIMIZER_KEY, config.optimizer), (HEAD_OPTIMIZER_KEY, own.head_optimizer)):
        if optimizer.schedule != "plateau":
            for key in ("plateau_patience", "plateau_factor"):
                yield f"{where}.{key}", f"{where}.schedule={optimizer.schedule}"
    if config.head.name == "linear":
        yield "head.hidden", "head=linear has no hidden layer"
    if config.dataset.on_bad == "stop":
        yield "dataset.max_bad_fraction", "dataset.on_bad=stop ends the run at the first"
    if config.split.folds is not None:
        yield "dataset.val_fraction", "split.folds makes the validation set"
    if not config.augment.ops:
        yield "augment.magnitude", "augment.ops=0"
    if config.tracking.complete == "none" and config.tracking.log_model:
        yield "tracking.log_model", "tracking.complete=none keeps no network"


def _idle_optimizers(config: Config) -> Iterator[tuple[str, str]]:
    stages = _stages(config)
    for where in (OPTIMIZER_KEY, HEAD_OPTIMIZER_KEY) if config.recipe == "finetune" else (OPTIMIZER_KEY,):
        own = [stage for stage in stages if stage.optimizer_key == where]
        if not own:
            yield where, "no stage trains with it"
        elif all(stage.overrides_learning_rate for stage in own):
            yield f"{where}.learning_rate", "every stage that trains with it has a learning_rate of its own"


def _never_falls(config: Config) -> Iterator[str]:
    """Stages that end before a plateau can have been seen and acted on: the first epoch is the best there is."""
    for stage in _stages(config):
        own = stage.optimizer
        if own.schedule == "plateau" and stage.epochs < own.plateau_patience + 2:
            yield (
                f"with {stage.epochs_key}={stage.epochs} and {stage.optimizer_key}.plateau_patience="
                f"{own.plateau_patience} the learning rate never falls"
            )
