"""Keys of a new run that contradict its stages, and keys that have no effect. Needs no TensorFlow."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from thaw.config import database_urls, registered_names
from thaw.config.schema import AUTO_RATE, Config, OptimizerConfig, StageConfig

HEAD_OPTIMIZER_KEY, OPTIMIZER_KEY = "finetune.head_optimizer", "optimizer"


@dataclass(frozen=True)
class StageKeys:
    """The keys that set a stage's epochs and optimizer. overrides_learning_rate: the stage sets its own rate."""

    epochs_key: str
    epochs: int | None  # None: they depend on how many images there are
    optimizer_key: str
    optimizer: OptimizerConfig
    overrides_learning_rate: bool = False


def takes_head_optimizer(number: int, stages: Sequence[StageConfig]) -> bool:
    """Return whether a stage takes head_optimizer: with everything frozen, unless it is the last one."""
    return str(stages[number].freeze) == "all" and number < len(stages) - 1


def contradictions(config: Config) -> Iterator[str]:
    """Yield a line for each set of keys that together cannot be meant."""
    if config.precision == "draft" and config.frozen_precision != "auto":
        yield (
            f"precision=draft chooses the precision of frozen layers, and frozen_precision={config.frozen_precision} "
            "does too: leave one of them out"
        )
    if config.distribute == "mirrored" and config.training_step == "folded":
        yield (
            "distribute=mirrored is for GPUs, and training_step=folded for CPUs: leave training_step out, or distribute"
        )
    if config.head.name == "logistic" and config.recipe == "scratch":
        yield "head=logistic is solved for behind frozen layers, and recipe=scratch has none: choose head=linear"
    yield from _rates_to_find(config)
    yield from _register_problems(config)
    yield from _password_problems(config)
    for stage in _stages(config):
        optimizer, warmup = stage.optimizer, stage.optimizer.warmup_epochs or 0.0
        if stage.epochs is not None and warmup >= stage.epochs:
            yield (
                f"{stage.optimizer_key}.warmup_epochs={warmup:g} and {stage.epochs_key}={stage.epochs}: the stage ends "
                "before its learning rate is reached. Set a shorter warm-up or more epochs"
            )
        if optimizer.ema is not None and config.distribute == "mirrored":
            yield (
                f"{stage.optimizer_key}.ema={optimizer.ema:g} averages the weights of one device, and "
                "distribute=mirrored has several: leave one of them out"
            )
        if optimizer.nesterov and optimizer.name == "sgd" and not optimizer.momentum:
            yield (
                f"{stage.optimizer_key}.nesterov=true needs a momentum, and has none: set "
                f"{stage.optimizer_key}.momentum=0.9, or leave nesterov out"
            )


def _rates_to_find(config: Config) -> Iterator[str]:
    """Yield where a rate would be found that no stage has, or where none can be."""
    finetune = config.finetune
    if config.head.name == "logistic":
        why = "and head=logistic solves for the head, which has no rate: leave it out, or choose another head"
        for i, stage in enumerate(finetune.stages):
            if stage.learning_rate == AUTO_RATE and str(stage.freeze) == "all":
                yield f"finetune.stages[{i}].learning_rate=auto finds a rate, {why}"
        used = {stage.optimizer_key for stage in _stages(config)}
        for where, optimizer in ((OPTIMIZER_KEY, config.optimizer), (HEAD_OPTIMIZER_KEY, finetune.head_optimizer)):
            if optimizer.learning_rate == AUTO_RATE and where not in used:
                yield f"{where}.learning_rate=auto finds a rate, {why}"
    rates = [stage.optimizer.learning_rate for stage in _stages(config) if not stage.overrides_learning_rate]
    if config.distribute == "mirrored" and AUTO_RATE in [*rates, *(stage.learning_rate for stage in finetune.stages)]:
        yield (
            "learning_rate=auto tests rates on one device, and distribute=mirrored has several: find the rate with "
            "find_rate on one of them, and set it"
        )


def _register_problems(config: Config) -> Iterator[str]:
    name = config.tracking.register
    if name is None:
        return
    if problem := registered_names.name_problem(name):
        yield f"tracking.register={name} cannot be a registered model's name: {problem}"
    for key, keeps in (
        ("log_model=false", config.tracking.log_model),
        ("complete=none", config.tracking.complete != "none"),
    ):
        if not keeps:
            yield f"tracking.register={name} registers the network in the store, and tracking.{key} keeps none there"


def _password_problems(config: Config) -> Iterator[str]:
    """Yield what would store a password: each run's config is in its folder and in the store, for all to read."""
    if database_urls.password_of(config.sweep.storage) is not None:
        yield (
            f"sweep.storage={database_urls.hide_password(config.sweep.storage)} has its password in a config file: "
            f"write *** for it there, and set the environment variable {database_urls.PASSWORD_VARIABLE}"
        )
    if database_urls.password_of(config.tracking.uri) is not None:
        yield (
            f"tracking.uri={database_urls.hide_password(config.tracking.uri)} has a password, and would be stored with "
            "every run. For a server set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD; a database's client "
            "finds it itself, PostgreSQL's in PGPASSWORD or ~/.pgpass"
        )


def no_effect_notes(config: Config, overrides: Iterable[str]) -> list[str]:
    """Return a line for each reason why keys of the command line have no effect; defaults and conf/ are not checked."""
    typed = list(dict.fromkeys(key for override in overrides if (key := _key(override))))
    keys_of_reason: dict[str, list[str]] = {}
    for idle, why in _idle(config):
        keys = [key for key in typed if key == idle or key.startswith(f"{idle}.")]
        if keys:
            keys_of_reason.setdefault(why, []).extend(keys)
    lines = [f"note: {', '.join(keys)} {_has(keys)} no effect: {why}" for why, keys in keys_of_reason.items()]
    return [*lines, *(f"note: {line}" for line in _never_falls(config))]


def _has(keys: list[str]) -> str:
    return "have" if len(keys) > 1 else "has"


def _key(override: str) -> str | None:
    """Return the key that an override sets: `finetune.head_optimizer` of `optimizer@finetune.head_optimizer=adam`."""
    match = re.match(r"[+~]*(?:[^=@]+@)?([^=@]+)=", override)
    return match[1] if match else None


def _stages(config: Config) -> list[StageKeys]:
    """Return the stages that train by an optimizer."""
    finetune, solved = config.finetune, config.head.name == "logistic"
    if config.recipe == "scratch":
        return [StageKeys("scratch.epochs", config.scratch.epochs, OPTIMIZER_KEY, config.optimizer)]
    if config.recipe == "bottleneck":
        whole = StageKeys("bottleneck.epochs", config.bottleneck.epochs, OPTIMIZER_KEY, config.optimizer)
        return [] if solved else [whole]
    if not finetune.stages:
        head = StageKeys("finetune.head_epochs", finetune.head_epochs, HEAD_OPTIMIZER_KEY, finetune.head_optimizer)
        thaw = StageKeys("finetune.epochs", finetune.epochs, OPTIMIZER_KEY, config.optimizer)
        return [*([] if solved else [head]), *([] if solved and str(finetune.freeze) == "all" else [thaw])]
    stages = []
    for i, stage in enumerate(finetune.stages):
        if solved and str(stage.freeze) == "all":
            continue
        optimizer_key, optimizer = OPTIMIZER_KEY, config.optimizer
        if stage.optimizer:
            optimizer_key, optimizer = f"finetune.stages[{i}].optimizer", stage.optimizer
        elif takes_head_optimizer(i, finetune.stages):
            optimizer_key, optimizer = HEAD_OPTIMIZER_KEY, finetune.head_optimizer
        sets_rate = stage.learning_rate is not None
        stages.append(StageKeys(f"finetune.stages[{i}].epochs", stage.epochs, optimizer_key, optimizer, sets_rate))
    return stages


def _idle(config: Config) -> Iterator[tuple[str, str]]:
    """Yield keys and sections that have no effect, and why."""
    finetune, recipe = config.finetune, f"recipe={config.recipe}"
    if config.recipe == "auto":  # what it chooses is known later
        yield "scratch", recipe
        return
    yield "budget", recipe
    for section in ("scratch", "bottleneck", "finetune"):
        if section != config.recipe:
            yield section, recipe
    if config.recipe != "finetune":
        yield "backbone.freeze", recipe
    elif finetune.stages:
        for key in ("finetune.freeze", "finetune.head_epochs", "finetune.epochs", "finetune.steps", "backbone.freeze"):
            yield key, "finetune.stages takes its place"
    elif finetune.epochs is not None:
        yield "finetune.steps", "finetune.epochs is given"
    stages = finetune.stages or [StageConfig("", finetune.freeze)]
    if config.recipe == "finetune" and all(str(stage.freeze) == "all" for stage in stages):
        yield "finetune.batchnorm", "everything stays frozen"
        yield "finetune.fallback", "everything stays frozen"
    if config.recipe == "scratch":
        yield "frozen_precision", "recipe=scratch freezes nothing"
        if config.precision == "draft":
            yield "precision", "recipe=scratch freezes nothing"
    if config.recipe == "bottleneck":
        yield "training_step", "recipe=bottleneck thaws nothing"
    yield from _idle_optimizers(config)
    for where, optimizer in ((OPTIMIZER_KEY, config.optimizer), (HEAD_OPTIMIZER_KEY, finetune.head_optimizer)):
        if optimizer.schedule != "plateau":
            for key in ("plateau_patience", "plateau_factor"):
                yield f"{where}.{key}", f"{where}.schedule={optimizer.schedule}"
        if optimizer.schedule == "one_cycle":
            for key in ("warmup_epochs", "warmup_ratio"):
                yield f"{where}.{key}", f"{where}.schedule=one_cycle rises by itself"
        elif optimizer.warmup_epochs is not None:
            yield f"{where}.warmup_ratio", f"{where}.warmup_epochs is given"
    if config.head.name in ("linear", "logistic"):
        yield "head.hidden", f"head={config.head.name} has no hidden layer"
    if config.head.name == "logistic":
        yield from _idle_where_solved(config)
    if config.dataset.on_bad == "stop":
        yield "dataset.max_bad_fraction", "dataset.on_bad=stop ends the run at the first"
    if config.split.folds is not None:
        yield "dataset.val_fraction", "split.folds makes the validation set"
    if not config.augment.ops:
        yield "augment.magnitude", "augment.ops=0"
    if config.augment.place == "activations" and not config.augment.changes_batches:
        yield "augment.place", f"augment={config.augment.name} changes nothing"
    if config.train.patience:
        yield "train.keep", "train.patience keeps the best epoch's weights"
    if config.tracking.complete == "none" and config.tracking.log_model:
        yield "tracking.log_model", "tracking.complete=none keeps no network"


def _idle_where_solved(config: Config) -> Iterator[tuple[str, str]]:
    """Yield what is without effect where logistic regression takes the place of steps."""
    why = "head=logistic is solved for in one step; head=gap_dense, say, is trained"
    if config.recipe == "finetune" and not config.finetune.stages:
        yield "finetune.head_epochs", why
    if config.recipe == "bottleneck":
        keys = ("bottleneck.epochs", "augment", "train.patience", "train.val_loss", "head.dropout")
        for key in (*keys, "head.label_smoothing"):
            yield key, why


def _idle_optimizers(config: Config) -> Iterator[tuple[str, str]]:
    stages = _stages(config)
    for where in (OPTIMIZER_KEY, HEAD_OPTIMIZER_KEY) if config.recipe == "finetune" else (OPTIMIZER_KEY,):
        users = [stage for stage in stages if stage.optimizer_key == where]
        if not users:
            yield where, "no stage trains with it"
        elif all(stage.overrides_learning_rate for stage in users):
            yield f"{where}.learning_rate", "every stage that trains with it has a learning_rate of its own"


def _never_falls(config: Config) -> Iterator[str]:
    """Yield a line for each stage that ends before its rate can fall, even if no epoch is better than the first."""
    for stage in _stages(config):
        optimizer = stage.optimizer
        if optimizer.schedule == "plateau" and stage.epochs and stage.epochs < optimizer.plateau_patience + 2:
            yield (
                f"with {stage.epochs_key}={stage.epochs} and {stage.optimizer_key}.plateau_patience="
                f"{optimizer.plateau_patience} the learning rate never falls"
            )
