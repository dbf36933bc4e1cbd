"""Runs one job of a sweep in this process: resumes it, takes over a run that has done the same, or trains."""

import dataclasses
import itertools
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import hydra
from hydra.types import RunMode
from omegaconf import DictConfig, open_dict

from thaw import code_hash, tracking
from thaw.cli import instantiation_guard
from thaw.cli.compose import initialized_hydra, job_config, register_schema, resolve_hydra_values, to_config
from thaw.cli.resume import prepare_resume
from thaw.common.console import say
from thaw.common.errors import UserError, did_you_mean
from thaw.config import checks, install_paths, run_names
from thaw.config.job import Job
from thaw.config.schema import Config
from thaw.sweeps.ledger import Claim, Ledger
from thaw.sweeps.plan import DEFAULT_OBJECTIVES, SweepPlan
from thaw.sweeps.worker import EpochReport, JobRunner, Outcome

if TYPE_CHECKING:
    from thaw.tracking import StoredRun

_SAME_AS_DEFAULT = (("val/accuracy", "maximize"),)
_MAX_NAMED = 40  # metrics in an error
_MAX_FOLDERS = 100  # of one setting whose attempts left folders that cannot be resumed


def check_code(ledger: Ledger) -> None:
    """Raise UserError when this process would train with other code than the study's jobs were trained with."""
    theirs, ours = ledger.known_plan().code_sha256, code_hash.code_sha256()
    if theirs and theirs != ours:
        raise UserError(
            f"the code here, {ours[:12]} in {Path(code_hash.__file__).parent}, is not that of study {ledger.name}, "
            f"{theirs[:12]}: their figures would not compare. It counts what makes a run's numbers, and the versions "
            f"of {', '.join(code_hash.PACKAGES)}. Bring this checkout and its environment to the study's version, or "
            "start a sweep with the code here, under a name of its own"
        )


def job_runner(plan: SweepPlan) -> JobRunner:
    """Return what runs the jobs of a sweep."""
    from thaw.tracking.retry import StoreUnreachable
    from thaw.tracking.run_lock import FolderInUse

    def run(claim: Claim, on_epoch: EpochReport) -> Outcome:
        return run_job(plan, claim, on_epoch)

    return JobRunner(run, (StoreUnreachable, FolderInUse))


def config_of(plan: SweepPlan, overrides: Sequence[str]) -> Config:
    """Return a job's config as it is composed from its command line."""
    register_schema("config", Config)
    with job_config(_composed(plan, overrides, 0)) as cfg:
        config: Config = to_config(cfg, Config)
    return config


def run_job(plan: SweepPlan, claim: Claim, on_epoch: EpochReport) -> Outcome:
    """Return what came of a setting, by the cheapest way that gives the same numbers.

    Raises:
        UserError: the setting cannot be trained, or has no value of an objective.
        Pruned: `on_epoch` found it hopeless.
    """
    register_schema("config", Config)
    composed = _composed(plan, claim.overrides, claim.number)
    subdir = str(composed.hydra.sweep.subdir)
    folder = Path(plan.folder) / subdir
    with job_config(composed, claim.number) as cfg:
        config: Config = to_config(cfg, Config)
        overrides = [*plan.hydra_arguments, *resolve_hydra_values(claim.overrides, cfg)]
    config = _of_sweep(config, plan)
    checks.check_config(config, new_run=True)
    for attempt in range(_MAX_FOLDERS):
        own = folder if attempt == 0 else folder.with_name(f"{folder.name}-{attempt + 1}")
        if (outcome := _earlier_attempt(plan, own, config)) is not None:
            return outcome
        if (job := _resumed_job(plan, own, config, on_epoch)) is not None:
            return _train(plan, *job)
        if tracking.owner_of_folder(own) is None:
            break
    timed = any(metric.startswith(("time/", "images_per_second/")) for metric, _ in plan.objectives)
    if plan.reuse and not timed and (outcome := _reused(plan, config)) is not None:
        return outcome
    own.mkdir(parents=True, exist_ok=True)
    swept = [parameter.key for parameter in plan.parameters]
    name = run_names.run_name(config, overrides, swept)
    root = install_paths.checkout_root()
    return _train(plan, config, Job(root, own, overrides, plan.parent_run_id, name=name, on_epoch=on_epoch))


def train_again(plan: SweepPlan, draft: "StoredRun", overrides: Sequence[str]) -> None:
    """Train a draft again in full precision, in this process, as one more run of its sweep.

    Raises:
        UserError: of the run.
    """
    config = _of_sweep(config_of(plan, overrides), plan)
    folder = _free_folder(Path(plan.folder))
    folder.mkdir(parents=True, exist_ok=True)
    name = run_names.run_name(config, overrides, [parameter.key for parameter in plan.parameters])
    tags = {tracking.REPEATS_DRAFT_TAG: draft.id}
    root = install_paths.checkout_root()
    from thaw.run import run

    typed = [*plan.hydra_arguments, *overrides]  # those of Hydra say where its config files are
    run(config, Job(root, folder, typed, plan.parent_run_id, tags=tags, name=name))


def _free_folder(sweep_folder: Path) -> Path:
    """Return the first folder of a number in a sweep's folder that does not exist."""
    return next(folder for i in itertools.count() if not (folder := sweep_folder / str(i)).exists())


def _of_sweep(config: Config, plan: SweepPlan) -> Config:
    """Return a job's config with the sweep's outputs and store, wherever this process works.

    "Best so far", of which the networks are kept, is by validation accuracy: for another objective all are kept.
    """
    from thaw import run_data

    stored = dataclasses.replace(config.tracking, uri=plan.tracking_uri)
    if stored.complete == "best" and plan.objectives not in (DEFAULT_OBJECTIVES, _SAME_AS_DEFAULT):
        stored = dataclasses.replace(stored, complete="all")
    return run_data.with_pinned_backbone(dataclasses.replace(config, outputs=plan.outputs, tracking=stored))


def _composed(plan: SweepPlan, overrides: Sequence[str], number: int) -> DictConfig:
    arguments = [*plan.hydra_arguments, *overrides]
    with instantiation_guard.forbid_instantiation(arguments), initialized_hydra():
        composed = hydra.compose("config", arguments, return_hydra_config=True)
    with open_dict(composed):
        composed.hydra.job.num, composed.hydra.job.id = number, str(number)
        composed.hydra.mode = RunMode.MULTIRUN
    return composed


def _earlier_attempt(plan: SweepPlan, folder: Path, config: Config) -> Outcome | None:
    """Return the outcome of an attempt that finished its run and died before the ledger knew."""
    run = _run_in(plan, folder, config)
    if run is None or run.status != "FINISHED" or run.objective is None:
        return None
    say(f"run {run.id} had finished already")
    return _outcome_of(plan, run, _durations(json.loads((folder / "result.json").read_text(encoding="utf-8"))))


def _run_in(plan: SweepPlan, folder: Path, config: Config) -> "StoredRun | None":
    """Return the run of this setting that a folder holds; None for another setting's, and for one that was deleted."""
    from thaw.code_hash import setting_sha256

    owner = tracking.owner_of_folder(folder)
    if owner is None:
        return None
    try:
        run = tracking.find_run(plan.tracking_uri, Path(config.outputs), owner[0])
    except UserError as error:
        say(f"note: {folder} is passed over: {error}")
        return None
    return run if run.tags.get(tracking.SETTING_TAG) == setting_sha256(config) and not run.deleted else None


def _resumed_job(plan: SweepPlan, folder: Path, config: Config, on_epoch: EpochReport) -> tuple[Config, Job] | None:
    """Return how an attempt that was stopped goes on; None when there is none that can."""
    if _run_in(plan, folder, config) is None:
        return None
    try:
        resumed = prepare_resume([f"resume={folder}"])
    except UserError as error:
        say(f"note: the attempt in {folder} cannot be resumed, and starts anew: {error}")
        return None
    if resumed is None:
        return None
    with instantiation_guard.forbid_instantiation(resumed.arguments), initialized_hydra():
        composed = hydra.compose("config", resumed.arguments, return_hydra_config=True)
    with job_config(composed) as cfg:
        stored: Config = to_config(cfg, Config)
    root = install_paths.checkout_root()
    # Its folder is no setting: by the command line the folds of a setting are found.
    typed = resumed.typed(resumed.arguments)
    overrides = [argument for argument in typed if not argument.startswith("hydra.run.dir=")]
    return stored, Job(root, folder, overrides, resumed.parent_run_id, resumed.run_id, on_epoch=on_epoch)


def _reused(plan: SweepPlan, config: Config) -> Outcome | None:
    """Return the outcome of a finished run of the same config, code, data and precisions, if its figures do.

    One without its network is taken over only when a better run of this sweep has kept its own.
    """
    from thaw import run_data
    from thaw.run import is_computed_alike
    from thaw.run_context import open_cache
    from thaw.tracking import reusable_runs

    found = tracking.finished_runs_of_setting(plan.tracking_uri, Path(config.outputs), code_hash.setting_sha256(config))
    if not found:
        return None
    data = run_data.current_data_sha256(config, open_cache(config))
    by_accuracy = plan.objectives in (DEFAULT_OBJECTIVES, _SAME_AS_DEFAULT)
    for run in found:
        if not by_accuracy and not reusable_runs.is_complete(run):
            continue
        if reusable_runs.data_sha256(run) != data or not is_computed_alike(run.tags, config):
            continue
        if not reusable_runs.may_replace(run, plan.parent_run_id):
            continue
        try:
            outcome = _outcome_of(plan, run)
        except UserError:  # it lacks a metric that is an objective of this sweep
            continue
        run.set_tag(reusable_runs.reused_tag(plan.parent_run_id), "True")
        say(f"run {run.id} ({run.name}) has done the same: it is taken over")
        spared = (run.ended - run.started) / 1000 if run.ended and run.started else 0.0
        return dataclasses.replace(outcome, result={**outcome.result, "reused": True, "spared_seconds": spared})
    return None


def _train(plan: SweepPlan, config: Config, job: Job) -> Outcome:
    from thaw.run import run

    result = run(config, job)
    figures = {"objective": result.objective.value, **result.metrics} | _durations(dataclasses.asdict(result))
    if not {metric for metric, _ in plan.objectives} <= set(figures):  # it may be one that only the store has
        figures |= tracking.find_run(plan.tracking_uri, Path(config.outputs), result.run_id).metrics
    kept = {"run_id": result.run_id, "name": job.name, "folder": str(job.folder), "metrics": _kept(figures)}
    if not all(stage["kept"] for stage in result.stages):
        kept["kept"] = tracking.HEAD
    return Outcome(_values(plan, figures), {**kept, "cache": dict(result.cache)})


def _outcome_of(plan: SweepPlan, run: "StoredRun", durations: Mapping[str, float] = MappingProxyType({})) -> Outcome:
    figures = {**run.metrics, "objective": float(run.objective or 0.0), **durations}
    found: dict[str, Any] = {"run_id": run.id, "name": run.name, "folder": run.tags.get(tracking.FOLDER_TAG, "")}
    if run.is_head_alone:
        found["kept"] = tracking.HEAD
    return Outcome(_values(plan, figures), {**found, "metrics": _kept(figures)})


def _durations(result: Mapping[str, Any]) -> dict[str, float]:
    """Return the durations and speeds of result.json by the names that objectives give them."""
    durations = {f"time/{step}": float(seconds) for step, seconds in result["seconds"].items()}
    return durations | {f"images_per_second/{step}": float(rate) for step, rate in result["images_per_second"].items()}


def _values(plan: SweepPlan, figures: Mapping[str, float]) -> tuple[float, ...]:
    values = []
    for metric, _ in plan.objectives:
        if metric not in figures:
            kind = "/class/" in metric
            names = [name for name in figures if ("/class/" in name) is kind]
            raise UserError(
                f"sweep.objectives: a run has no metric {metric}.{did_you_mean(metric, names)} It has: "
                f"{', '.join(sorted(names)[:_MAX_NAMED])}{', ...' * (len(names) > _MAX_NAMED)}"
            )
        values.append(float(figures[metric]))
    return tuple(values)


def _kept(figures: Mapping[str, float]) -> dict[str, Any]:
    """Return the figures that a sweep's page shows; those of single classes stay in the runs."""
    return {name: round(value, 6) for name, value in figures.items() if name.count("/") <= 1 and "class" not in name}


def work_from(cwd: str) -> None:
    """Change to where the sweep's command was typed, if this machine has that folder: relative paths start there."""
    if Path(cwd).is_dir():
        os.chdir(cwd)
