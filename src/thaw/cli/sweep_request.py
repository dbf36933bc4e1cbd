"""The plan of a sweep as a command line asks for it, and what makes two commands the same sweep."""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from thaw import code_hash
from thaw.cli import sweep_jobs
from thaw.cli.swept_keys import swept_keys
from thaw.common.console import say
from thaw.common.errors import UserError, did_you_mean, joined
from thaw.config import install_paths, run_names, stored_config
from thaw.config.schema import Config
from thaw.data import dataset_table, listing_hash
from thaw.sweeps import ledger as ledgers
from thaw.sweeps import plan as plans
from thaw.sweeps import search, space
from thaw.sweeps.plan import SweepPlan

_DECIDING = ("experiment", "dataset", "dataset.name", "dataset.path", "recipe")  # on data and epochs of a job


def requested_plan(config: DictConfig, checked: Config, arguments: Sequence[str]) -> SweepPlan:
    """Return the plan of a sweep that may not have begun: it has no parent run yet.

    Args:
        config: as Hydra composed it.
        checked: the same as a Config, without the keys that are swept.
        arguments: the command line's `key=value`.

    Raises:
        UserError: the space, the objectives or what they are combined with make no sweep.
    """
    sweep = checked.sweep
    last = {argument.partition("=")[0].lstrip("+"): argument for argument in arguments}  # as Hydra: the last one counts
    typed = [argument for argument in last.values() if not plans.is_sweep_key(argument)]
    parameters = _parameters(sweep.space, typed)
    keys = {parameter.key for parameter in parameters}
    objectives = plans.parse_objectives(sweep.objectives)
    _check_objectives(objectives, keys, checked, typed)
    size = space.grid_size(parameters)
    default = size if sweep.sampler == "grid" and size is not None else search.DEFAULT_TRIALS
    plan = SweepPlan(
        name=run_names.sweep_name(checked, typed, swept_keys(typed) | keys),
        arguments=tuple(typed),
        hydra_arguments=tuple(hydra_arguments(config)),
        parameters=parameters,
        sampler=sweep.sampler,
        trials=sweep.trials or default,
        pruner=sweep.pruner,
        pruner_warmup=sweep.pruner_warmup,
        objectives=objectives,
        seed=checked.seed,
        retries=sweep.retries,
        reuse=sweep.reuse,
        epochs=0,
        folder=str(Path(config.hydra.sweep.dir).expanduser().absolute()),
        cwd=str(Path.cwd()),
        tracking_uri=_absolute_uri(checked.tracking.uri),
        outputs=checked.outputs,
        parent_run_id="",
        code_sha256=code_hash.code_sha256(),
    )
    ledgers.check_plan(plan)
    configs = _varied(plan, checked)
    _check_classes(objectives, configs)
    plan = replace(plan, epochs=_most_epochs(configs))
    return replace(plan, digest=_digest(plan, checked, configs))


def _parameters(given: Any, typed: Sequence[str]) -> tuple[space.Parameter, ...]:
    """Return what varies, of the command line and of `sweep.space`."""
    swept, fixed = space.parse_swept_arguments(typed)
    drawn = _without_typed(space.parse_space(given), fixed)
    if twice := {p.key for p in swept} & {p.key for p in drawn}:
        raise UserError(f"{', '.join(sorted(twice))}: swept on the command line and in sweep.space; leave one out")
    return (*swept, *drawn)


def _without_typed(drawn: list[space.Parameter], fixed: Sequence[str]) -> list[space.Parameter]:
    """Leave out of the space what the command line sets: `sweep=first head.dropout=0.2`."""
    typed = {argument.partition("=")[0].lstrip("+") for argument in fixed}
    if ours := [parameter.key for parameter in drawn if parameter.key in typed]:
        say(f"note: {', '.join(ours)} {'is' if len(ours) == 1 else 'are'} set on the command line, and not drawn")
    return [parameter for parameter in drawn if parameter.key not in typed]


def _check_objectives(objectives: Any, keys: Iterable[str], config: Config, typed: Sequence[str]) -> None:
    """Raise UserError where only a run's own objective is compared: among folds, and among drafts."""
    if objectives == plans.DEFAULT_OBJECTIVES:
        return
    if "split.fold" in keys:
        raise UserError("folds are summarized by validation accuracy: leave sweep.objectives out")
    if config.precision == "draft" or any(argument.startswith("precision=draft") for argument in typed):
        raise UserError("drafts are compared by validation accuracy: leave sweep.objectives out")


def _check_classes(objectives: Any, configs: Sequence[Config]) -> None:
    """Raise UserError for an objective of a class that a job's data set does not have: each job would find that out."""
    named = {metric: match[1] for metric, _ in objectives if (match := re.fullmatch(r"\w+/class/(.+)/\w+", metric))}
    if not named:
        return
    from thaw.results.metrics import class_metric_names  # late: it imports scikit-learn

    for dataset in {str(each.dataset): each.dataset for each in configs}.values():
        classes = class_metric_names(dataset_table.load_named_catalog(dataset).class_names)
        for metric, name in named.items():
            if name not in classes:
                more = " and more" if len(classes) > 20 else ""
                raise UserError(
                    f"sweep.objectives: runs have no metric {metric}: no class of {run_names.dataset_name(dataset)} "
                    f"has the name {name}.{did_you_mean(name, classes)} There are: {joined(classes[:20])}{more}"
                )


def hydra_arguments(config: DictConfig) -> list[str]:
    """Return the command line's keys of Hydra that decide on a job's config; the folder and the launcher do not."""
    given = list(OmegaConf.to_container(config.hydra.overrides.hydra, resolve=False) or [])
    left_out = ("hydra.mode", "hydra.sweep.dir", "hydra.run.dir", "hydra/launcher", "hydra.launcher", "hydra/sweeper")
    return [a for a in given if not plans.is_sweep_key(a, left_out)]


def _varied(plan: SweepPlan, config: Config) -> list[Config]:
    """Return the configs of the jobs that may differ in their data or in how long they train.

    One has the largest number of epochs of each kind that varies; there is one for each value of `_DECIDING` keys.
    """
    first = {p.key: (p.values() or [getattr(p.distribution, "low", 0)])[0] for p in plan.parameters}
    first |= {p.key: max(p.values() or [0], key=_number) for p in plan.parameters if p.key.endswith("epochs")}
    points = [first]
    for parameter in plan.parameters:
        if parameter.key in _DECIDING:
            points += [first | {parameter.key: value} for value in parameter.values() or ()]
    if not any(key in _DECIDING or key.endswith("epochs") for key in first):
        return [config]
    return [sweep_jobs.config_of(plan, plan.overrides(point)) for point in points]


def _number(value: Any) -> float:
    return float(value) if str(value).isdigit() else 0.0


def _digest(plan: SweepPlan, config: Config, varied: Sequence[Config]) -> str:
    """Return a hash of what makes two commands the same sweep: their settings, the code and the data.

    varied: configs that have all data sets of the jobs.
    """
    content = {
        "arguments": sorted(plan.arguments),
        "config": sorted((key, str(value)) for key, value in stored_config.number_keys(config).items()),
        "space": space.as_attribute(plan.parameters),
        "sampler": plan.sampler,
        "objectives": plan.objectives,
        "store": [plan.tracking_uri, config.tracking.experiment],
        "code": code_hash.code_sha256(),
        "data": sorted(map(listing_hash.listing_sha256, {str(each.dataset): each.dataset for each in varied}.values())),
        "weights": str(code_hash.weights_identity(config.backbone.weights)),
        "choices": _choices_sha256(plan.hydra_arguments),  # those that are swept are not in the config
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def difference(known: SweepPlan, plan: SweepPlan) -> str:
    """Return what makes another sweep of a command than the one that a study began with."""
    if known.arguments != plan.arguments:
        then, now = (set(each.arguments) for each in (known, plan))
        return f"{' '.join(sorted(then - now)) or 'nothing'} then, {' '.join(sorted(now - then)) or 'nothing'} now"
    for name in ("sampler", "objectives", "parameters", "tracking_uri"):
        if getattr(known, name) != getattr(plan, name):
            return {"parameters": "another space", "tracking_uri": "another store"}.get(name, f"other {name}")
    return "other files of its data, its weights or its configs"


def _choices_sha256(hydra_arguments: Sequence[str]) -> str:
    """Return a hash of all config files that a choice may name: thaw's, and those of `--config-dir`."""
    given = [a.partition("=")[2].strip("[]'") for a in hydra_arguments if a.startswith("hydra.searchpath=")]
    folders = [install_paths.conf_dir(), *(Path(folder.removeprefix("file://")) for folder in given)]
    digest = hashlib.sha256()
    for file in (file for folder in folders for file in sorted(folder.rglob("*.yaml"))):
        digest.update(f"{file.name}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()


def _most_epochs(configs: Sequence[Config]) -> int:
    """Return the most epochs of any job; 0: not known."""
    epochs = [_epochs(config) for config in configs]
    return max(epochs) if all(epochs) else 0


def _epochs(config: Config) -> int:
    """Return the epochs that a job trains over all stages; 0 where they depend on how many images there are."""
    from thaw.training import recipes

    if config.recipe == "finetune" and not config.finetune.stages and config.finetune.epochs is None:
        return 0
    return sum(stage.epochs for stage in recipes.plan_recipe(config, images=1))


def _absolute_uri(uri: str) -> str:
    """Return a store's URI that means the same in every folder."""
    if uri.startswith("sqlite:///") and not uri.startswith("sqlite:////"):
        return f"sqlite:///{Path(uri.removeprefix('sqlite:///')).expanduser().absolute()}"
    return uri


def slug(name: str) -> str:
    """Return the beginning of a sweep's name in characters that no shell, file system or database minds."""
    words = "".join(c if c.isalnum() or c in "-_." else " " for c in name.removeprefix("sweep ")).split()
    return "_".join(words)[:40].strip("_.") or "sweep"
