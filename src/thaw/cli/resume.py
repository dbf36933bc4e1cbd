"""`resume=RUN_ID_or_folder`: finds the run, restores its arguments, and refuses others."""

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from thaw.cli.argument_quoting import quote, unquote
from thaw.cli.compose import compose_config
from thaw.common import console
from thaw.common.errors import UserError, joined
from thaw.config import command_lines, stored_config
from thaw.config.schema import Config

if TYPE_CHECKING:
    from thaw.tracking import StoredRun

RESUME_KEY = "resume"


@dataclass(frozen=True)
class ResumedRun:
    """A run that continues.

    Attributes:
        run_id: its id.
        parent_run_id: that of its sweep, if any.
        arguments: the command line that continues it.
        kept: those of the arguments that stand for what the run began with and nobody typed.
    """

    run_id: str
    parent_run_id: str | None
    arguments: list[str]
    kept: tuple[str, ...] = ()

    def typed(self, overrides: Sequence[str]) -> list[str]:
        """Return overrides without those that nobody typed: a run's name and setting are made of what was typed."""
        return [override for override in overrides if override not in self.kept]


def prepare_resume(arguments: list[str]) -> ResumedRun | None:
    """Return the run that `resume=` names, None without it. The working directory becomes the one the run began in.

    Raises:
        UserError: there is no such run, it has finished, or an argument differs from the stored config. What conf/ has
            otherwise today, by an edit or by a newer version, is taken from the stored config.
    """
    wanted = [unquote(a.partition("=")[2]) for a in arguments if a.partition("=")[0] == RESUME_KEY]
    if not wanted or wanted[-1] == "null":
        return None
    if not wanted[-1]:
        raise UserError("resume= needs the id or the folder of the run to resume")
    if {"-m", "--multirun"} & set(arguments):
        raise UserError(f"resume={wanted[-1]} resumes one run, -m starts a sweep: resume a sweep's job by its own id")
    from thaw import tracking  # MLflow takes seconds

    given = [a for a in arguments if a.partition("=")[0] != RESUME_KEY]
    run, folder, uri = _find(wanted[-1], _compose(given))
    if run.status == "FINISHED":
        raise UserError(f"run {run.id} has finished: there is nothing to resume. Its result: {folder}/result.json")
    _change_to_working_directory(run)
    if tracking.CONFIG_LOGGED_TAG not in run.tags:
        raise UserError(f"run {run.id} ended before its config was stored: start it anew")
    began = [a for a in run.artifact_path("overrides.txt").read_text(encoding="utf-8").splitlines() if a]
    given_keys = {a.partition("=")[0] for a in given}
    overrides = [a for a in began if a.partition("=")[0] not in given_keys]
    file = run.artifact_path("config.yaml")
    stored = stored_config.parse_stored_config(file.read_text(encoding="utf-8"), str(file))
    if Path(stored.outputs).is_dir():
        os.environ["THAW_OUTPUTS"] = stored.outputs  # today's may be another folder
    current = _compose([*overrides, *given])
    kept: list[str] = []
    if differences := _kept_differences(stored, current, {*given} - {*began}):
        kept = [f"{difference.key}={_argument(difference.stored)}" for difference in differences]
        overrides += kept
        kept_keys = {difference.key for difference in differences}
        given = [a for a in given if a.partition("=")[0] not in kept_keys]
        _report_kept(differences)
        current = _compose([*overrides, *given])
    changed = stored_config.config_differences(stored, current)
    if current.cache.max_gb != stored.cache.max_gb and _has_no_cuts(run):
        changed.append(stored_config.ConfigDifference("cache.max_gb", stored.cache.max_gb, current.cache.max_gb))
    if changed:
        lines = "".join(f"\n  {difference.line()}" for difference in changed)
        raise UserError(
            f"run {run.id} cannot be resumed with another config than it began with:{lines}\n"
            f"Leave that out ({command_lines.run_id_command('train', RESUME_KEY, run.id, folder, uri)} suffices), "
            "or train anew"
        )
    resumed = [a for a in (*overrides, *given) if a.partition("=")[0] != "hydra.run.dir"]
    if current.tracking.uri != uri:
        resumed.append(f"tracking.uri={quote(uri)}")
    arguments = [*resumed, f"hydra.run.dir={quote(str(folder))}"]
    return ResumedRun(run.id, run.tags.get(tracking.PARENT_TAG), arguments, tuple(kept))


# What a new run looks up once, see `run_data.with_pinned_backbone`: its stored config differs from any other.
_PINNED_KEYS = ("backbone.image_size", "backbone.weights")


def _kept_differences(stored: Config, current: Config, new: Collection[str]) -> list[stored_config.ConfigDifference]:
    """Return the keys that a run goes on with as it began, though conf/ or a newer version has other values for them.

    Those that are set by `new`, the arguments that the run did not begin with, are not among them, nor are values in
    lists, which no argument sets.
    """
    given = {argument.partition("=")[0] for argument in new}
    sections = tuple(f"{key}." for key in given)
    return [
        difference
        for difference in stored_config.config_differences(stored, current)
        if "[" not in difference.key
        and isinstance(difference.stored, str | int | float | None)
        and "experiment" not in given
        and difference.key not in given
        and (difference.key in _PINNED_KEYS or not difference.key.startswith(sections))
    ]


def _argument(value: object) -> str:
    return "null" if value is None else quote(value) if isinstance(value, str) else str(value)


def _report_kept(kept: Collection[stored_config.ConfigDifference]) -> None:
    """Print which values a new run would not have; rules that older versions had no key for are not named."""
    silent = (*_PINNED_KEYS, *stored_config.LEGACY_DEFAULTS)
    if told := [difference for difference in kept if difference.key not in silent]:
        values = ", ".join(f"{d.key}={d.stored} (now {d.current})" for d in told)
        console.say(f"note: the run goes on as it began, with {values}")


def _find(wanted: str, asked: Config) -> "tuple[StoredRun, Path, str]":
    """Return the run, its folder and the URI of its store, by the run's id or folder."""
    from thaw import tracking

    folder = Path(wanted).expanduser().absolute()
    if folder.is_dir():
        known = tracking.find_run_of_folder(folder, asked.tracking.uri, Path(asked.outputs))
        if known is None:
            raise UserError(
                f"resume={wanted} is not the folder of a run: it has no run.json that says which. "
                "Give the run's id instead"
            )
        _refuse_others(known[0])
        return known[0], folder, known[1]
    run = tracking.find_run(asked.tracking.uri, Path(asked.outputs), wanted)
    _refuse_others(run)
    folder = Path(run.tags.get(tracking.FOLDER_TAG, ""))
    if not folder.is_absolute() or not folder.is_dir():
        raise UserError(
            f"run {run.id} cannot be resumed: its folder {folder} is not there. Was it moved? Then give the folder: "
            "resume=FOLDER"
        )
    return run, folder, asked.tracking.uri


def _refuse_others(run: "StoredRun") -> None:
    """Raise UserError for what is not a single training."""
    if run.is_evaluation:
        raise UserError(f"run {run.id} ({run.name}) is an evaluation, which cannot be resumed: evaluate again")
    if run.is_sweep:
        _refuse_sweep(run)


def _refuse_sweep(sweep: "StoredRun") -> None:
    """Raise UserError that names those of a sweep's runs that can resume."""
    stopped = [job for status in ("KILLED", "FAILED", "RUNNING") for job in sweep.child_runs(status)]
    best = sweep.child_runs("FINISHED")[:1]
    if best and not stopped:
        raise UserError(
            f"run {sweep.id} is a sweep ({sweep.name}) whose runs have all finished: there is nothing to resume. "
            f"Its best run: {best[0].id}"
        )
    these = joined(job.id for job in stopped) or "none, for no run of it has begun"
    named = f" Its best run, which has finished: {best[0].id}." if best else ""
    raise UserError(
        f"run {sweep.id} is a sweep ({sweep.name}): resume= continues one of its runs. "
        f"Those that have not finished: {these}.{named}"
    )


def _has_no_cuts(run: "StoredRun") -> bool:
    """Whether an earlier version planned the run, which did not record its cuts: the cache's budget decides on them."""
    return "fingerprint.weights_sha256" in run.tags and "fingerprint.graph_sha256" not in run.tags


def _change_to_working_directory(run: "StoredRun") -> None:
    """Change to where the run began: relative paths of its command start there."""
    from thaw import tracking

    began = run.tags.get(tracking.CWD_TAG)
    if began and Path(began).is_dir():
        console.print_paths_from(Path.cwd())
        os.chdir(began)


def _compose(arguments: list[str]) -> Config:
    config = compose_config("config", Config, [a for a in arguments if not a.startswith("-")])
    assert isinstance(config, Config)
    return config
