"""`resume=RUN_ID_or_folder`: which run is meant, the command that began it, and that nothing in it has changed."""

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from thaw.cli.arguments import quote, unquote
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
    """A run to go on with. arguments: what train.py is to be given; parent: run id of its sweep, if any."""

    run_id: str
    parent_run_id: str | None
    arguments: list[str]


def prepare_resume(arguments: list[str]) -> ResumedRun | None:
    """Return what `resume=` asks for, None without it. The working directory becomes the one in which the run began.

    Raises UserError when there is no such run, when it has finished, and when today's config differs from the stored
    one, by whatever cause: an argument, or a file of conf/.
    """
    wanted = [unquote(a.partition("=")[2]) for a in arguments if a.partition("=")[0] == RESUME_KEY]
    if not wanted or wanted[-1] == "null":
        return None
    if not wanted[-1]:
        raise UserError("resume= needs the id or the folder of the run to go on with")
    if {"-m", "--multirun"} & set(arguments):
        raise UserError(
            f"resume={wanted[-1]} goes on with one run, -m starts a sweep: resume a sweep's job by its own id"
        )
    from thaw import tracking  # MLflow takes seconds

    given = [a for a in arguments if a.partition("=")[0] != RESUME_KEY]
    run, folder, uri = _find(wanted[-1], _compose(given))
    if run.status == "FINISHED":
        raise UserError(f"run {run.id} has finished: there is nothing to go on with. Its result: {folder}/result.json")
    _work_where_it_began(run)
    if tracking.CONFIG_LOGGED_TAG not in run.tags:
        raise UserError(f"run {run.id} ended before its config was stored: start it anew")
    began = run.artifact_path("overrides.txt").read_text(encoding="utf-8").splitlines()
    keys = {a.partition("=")[0] for a in given}
    own = [a for a in began if a and a.partition("=")[0] not in keys]
    file = run.artifact_path("config.yaml")
    before = stored_config.parse_stored_config(file.read_text(encoding="utf-8"), str(file))
    if Path(before.outputs).is_dir():
        os.environ["THAW_OUTPUTS"] = before.outputs  # today's may be another one
    now = _compose([*own, *given])
    newer = _as_then(before, now, keys)
    if newer:
        own += newer
        now = _compose([*own, *given])
    changed = stored_config.differences(before, now)
    if now.cache.max_gb != before.cache.max_gb and _has_no_cuts(run):
        changed.append(stored_config.ConfigDifference("cache.max_gb", before.cache.max_gb, now.cache.max_gb))
    if changed:
        lines = "".join(f"\n  {difference.line()}" for difference in changed)
        raise UserError(
            f"run {run.id} cannot go on with another config than it began with:{lines}\n"
            f"Leave that out ({command_lines.run_command('train', RESUME_KEY, run.id, folder, uri)} suffices), "
            "or train anew"
        )
    place = [a for a in (*own, *given) if a.partition("=")[0] != "hydra.run.dir"]
    if now.tracking.uri != uri:
        place.append(f"tracking.uri={quote(uri)}")
    return ResumedRun(run.id, run.tags.get(tracking.PARENT_TAG), [*place, f"hydra.run.dir={quote(str(folder))}"])


def _as_then(before: Config, now: Config, given: Collection[str]) -> list[str]:
    """Return arguments for keys whose default is newer than the run, so that it goes on by the rules it began with."""
    newer = [
        d
        for d in stored_config.differences(before, now)
        if d.key in stored_config.LEGACY_DEFAULTS and d.key not in given
    ]
    return [f"{difference.key}={difference.stored}" for difference in newer]


def _find(wanted: str, asked: Config) -> "tuple[StoredRun, Path, str]":
    """The run, its folder and the store that knows it, by the id or by the folder."""
    from thaw import tracking

    folder = Path(wanted).expanduser().absolute()
    if folder.is_dir():
        known = tracking.find_run_of_folder(folder, asked.tracking.uri, Path(asked.outputs))
        if known is None:
            raise UserError(
                f"resume={wanted} is not the folder of a run: it has no run.json that says which. "
                "Give the run's id instead"
            )
        _refuse_sweep(known[0])
        return known[0], folder, known[1]
    run = tracking.find_run(asked.tracking.uri, Path(asked.outputs), wanted)
    _refuse_sweep(run)
    folder = Path(run.tags.get(tracking.FOLDER_TAG, ""))
    if not folder.is_absolute() or not folder.is_dir():
        raise UserError(
            f"run {run.id} cannot go on: its folder {folder} is not there. Was it moved? Then give the folder: "
            "resume=FOLDER"
        )
    return run, folder, asked.tracking.uri


def _refuse_sweep(sweep: "StoredRun") -> None:
    """Only one run can go on: name those of the sweep that may."""
    if not sweep.is_sweep:
        return
    stopped = [job for status in ("KILLED", "FAILED", "RUNNING") for job in sweep.child_runs(status)]
    best = sweep.child_runs("FINISHED")[:1]
    if best and not stopped:
        raise UserError(
            f"run {sweep.id} is a sweep ({sweep.name}) whose runs have all finished: there is nothing to go on with. "
            f"Its best run: {best[0].id}"
        )
    these = joined(job.id for job in stopped) or "none, for no run of it has begun"
    named = f" Its best run, which has finished: {best[0].id}." if best else ""
    raise UserError(
        f"run {sweep.id} is a sweep ({sweep.name}): resume= goes on with one of its runs. "
        f"Those that have not finished: {these}.{named}"
    )


def _has_no_cuts(run: "StoredRun") -> bool:
    """Whether an earlier version planned the run: where its stages were cut is not recorded, and room decides on it."""
    return "fingerprint.weights_sha256" in run.tags and "fingerprint.graph_sha256" not in run.tags


def _work_where_it_began(run: "StoredRun") -> None:
    """Relative paths of the command were meant from there."""
    from thaw import tracking

    began = run.tags.get(tracking.CWD_TAG)
    if began and Path(began).is_dir():
        console.print_paths_from(Path.cwd())
        os.chdir(began)


def _compose(arguments: list[str]) -> Config:
    config = compose_config("config", Config, [a for a in arguments if not a.startswith("-")])
    assert isinstance(config, Config)
    return config
