"""recipe=auto on the command line: chooses the recipe, and goes on as if its keys had been typed."""

import re
from dataclasses import fields, replace
from typing import Any

from thaw.cli.compose import compose_config
from thaw.common.console import say
from thaw.common.durations import seconds_of
from thaw.common.errors import UserError
from thaw.common.files import write_json
from thaw.config import checks, run_names
from thaw.config.job import Job
from thaw.config.schema import AUTO_RATE, AugmentConfig, CacheConfig, Config, OptimizerConfig
from thaw.results.auto_record import AUTO_FILE

DEFAULT_BUDGET = "5m"
_CHOSEN = ("finetune.freeze", "finetune.epochs", "finetune.stages", "finetune.head_epochs", "backbone.freeze")


def with_chosen_recipe(config: Config, job: Job) -> tuple[Config, Job]:
    """Return the config of recipe=auto with what was chosen, and its job with the arguments that stand for it.

    The record of the choice is written into the job's folder.

    Args:
        config: of recipe=auto.
        job: as it was started, from when on the budget counts.

    Raises:
        UserError: an argument sets what recipe=auto chooses, or the data cannot be used.
    """
    typed = {_key(override) for override in job.overrides}
    if set_by_hand := sorted(key for key in typed if key.startswith(_CHOSEN)):
        raise UserError(
            f"recipe=auto chooses {set_by_hand[0]}: leave it out, or choose the rest too, with recipe=finetune"
        )
    from thaw.advice.auto_recipe import choose_recipe  # late: scikit-learn

    seconds = seconds_of(config.budget or DEFAULT_BUDGET)
    assert seconds is not None, "checked with the config"
    compared = not any(re.match(r"(backbone|experiment)\b", key) for key in typed)
    choice = choose_recipe(config, seconds, job.started, compare_networks=compared)
    head = [] if "head" in typed else [f"head={config.head.name}"]
    kept = [override for override in job.overrides if _key(override) not in ("recipe", "budget")]
    frozen = "recipe=bottleneck" in choice.overrides
    if frozen:
        kept = _without_steps(kept, config)
    overrides = [*head, *choice.overrides, *kept]
    chosen: Any = compose_config("config", Config, overrides)
    if frozen and (undone := _undone_steps(chosen)):  # an experiment's file sets them
        say(f"set, as the network stays frozen: {' '.join(undone)}")
        overrides = [*overrides, *undone]
        chosen = compose_config("config", Config, overrides)
    checks.check_config(chosen, new_run=True)
    write_json(choice.record, job.folder / AUTO_FILE)
    # outputs may come from the environment, which hydra.run.dir was made with.
    chosen = replace(chosen, outputs=config.outputs)
    name = run_names.run_name(chosen, overrides)
    job = replace(job, deadline=choice.deadline, tracing_seconds=choice.tracing_seconds)
    return chosen, replace(job, overrides=overrides, name=name)


def _without_steps(overrides: list[str], config: Config) -> list[str]:
    """Return the arguments for a network that stays frozen: without those that only training in steps has; say which.

    Its features are kept, once for each image, and a head that is solved for has no rate to find.
    """
    solved = config.head.name == "logistic"
    left_out = [
        each
        for each in overrides
        if re.match(r"(augment|cache\.views)\b", _key(each)) or (solved and each.endswith(f"learning_rate={AUTO_RATE}"))
    ]
    if left_out:
        say(f"left out, as the network stays frozen: {' '.join(left_out)}")
    return [each for each in overrides if each not in left_out]


def _undone_steps(config: Config) -> list[str]:
    """Return the arguments that undo what `_without_steps` leaves out, where it comes from a file."""
    values = {f"augment.{f.name}": (getattr(config.augment, f.name), f.default) for f in fields(AugmentConfig)}
    values["cache.views"] = (config.cache.views, CacheConfig().views)
    if config.head.name == "logistic" and config.optimizer.learning_rate == AUTO_RATE:
        values["optimizer.learning_rate"] = (AUTO_RATE, OptimizerConfig().learning_rate)
    return [f"{key}={default}" for key, (value, default) in values.items() if value != default]


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")
