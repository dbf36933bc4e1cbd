"""`train -m`: finds or opens the study, lets workers run what is missing, and closes the sweep."""

import os
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.plugins import Plugins
from hydra.core.utils import JobStatus
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from thaw import code_hash, tracking
from thaw.cli import sweep_checks, sweep_end, sweep_jobs, sweep_parent, sweep_request
from thaw.cli.argument_quoting import quote, quote_texts
from thaw.cli.compose import job_config, to_config
from thaw.common.console import display_path, say
from thaw.common.errors import UserError
from thaw.config.schema import Config
from thaw.sweeps import search
from thaw.sweeps.ledger import Ledger
from thaw.sweeps.plan import SweepPlan
from thaw.sweeps.progress import SweepProgress
from thaw.sweeps.study_storage import sqlite_file
from thaw.sweeps.worker_pool import WorkerPool, places_of
from thaw.tracking.run_lock import FolderInUse

if TYPE_CHECKING:
    from thaw.tracking.sweep_runs import Sweep

_LAUNCHED = "THAW_SWEEP_START"  # the sweep's start that a launcher's worker belongs to, see `_StopCheck`
_STOP_CHECK_SECONDS = 5.0
_BASIC_LAUNCHER = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"


@dataclass(frozen=True)
class OpenSweep:
    """A sweep that runs.

    Attributes:
        ledger: what it tries, and what came of it.
        config: of a job without the keys that are swept.
        parent: its run in the store, whose folder this process has locked.
        folder: of the sweep.
    """

    ledger: Ledger
    config: Config
    parent: "Sweep"
    folder: Path


def run_sweep(
    context: HydraContext, task: TaskFunction, config: DictConfig, params: Mapping[str, Any], arguments: list[str]
) -> None:
    """Run what is missing of a sweep, and close it.

    Args:
        context: as Hydra gives it to a sweeper.
        task: likewise.
        config: likewise.
        params: `hydra.sweeper.params`, more keys with their values, as of Hydra's own sweeper.
        arguments: of the command line, which has been checked.

    Raises:
        UserError: the sweep cannot begin, or jobs of it failed.
    """
    if params:
        given = [f"{key}={value}" for key, value in params.items()]
        arguments = [*quote_texts(given, Config), *arguments]
        sweep_checks.check_sweep([*sweep_request.hydra_arguments(config), *arguments])
    with job_config(config) as first:
        checked: Config = to_config(first, Config)
    sweep = _open(config, checked, arguments)
    progress = SweepProgress(sweep.ledger)
    try:
        if not sweep.ledger.is_complete():
            _work(sweep, progress, context, task, config)
        _repeat_best_draft(sweep, progress)
    except BaseException as error:
        sweep_end.close_stopped(sweep.ledger, sweep.parent, sweep.folder, error)
        raise
    register = checked.tracking.register
    sweep_end.close_complete(sweep.ledger, sweep.parent, sweep.folder, progress.seconds, register)


def join_study(config: Config, folder: Path) -> None:
    """Work for a study of this or another machine until nothing is left of it: `train sweep.join=STUDY`.

    Args:
        config: of the command line; `sweep.storage` and `sweep.workers` count.
        folder: for the workers' logs.

    Raises:
        UserError: there is no such study, or it is of another version of the code.
    """
    name, url = str(config.sweep.join), storage_url(config)
    if (file := sqlite_file(url)) is not None and not file.exists():  # which looking for a study in it would create
        raise UserError(f"sweep.storage={url}: there is no such file, and so no study {name}")
    ledger = Ledger.find(url, name)
    if ledger is None:
        raise UserError(
            f"sweep.join={name}: there is no such study in sweep.storage={url}. It has: "
            f"{', '.join(Ledger.names(url)) or 'none'}"
        )
    sweep_jobs.check_code(ledger)
    done, total = ledger.counts()
    pool = WorkerPool(ledger, places_of(config.sweep.workers, total - done), folder)
    say(f"working for sweep {name} · {total - done} settings left · {_count(len(pool.places), 'worker')}")
    if (start := os.environ.get(_LAUNCHED)) is not None:
        pool.each = _StopCheck(ledger, int(start))
    pool.start()
    pool.run()


class _StopCheck:
    """Ends the worker of a launcher whose sweep was stopped where it was started: nobody would see its work."""

    def __init__(self, ledger: Ledger, start: int) -> None:
        self._ledger, self._start = ledger, start
        self._looked = time.monotonic()

    def __call__(self) -> None:
        """Look now and then; called five times a second."""
        if time.monotonic() - self._looked < _STOP_CHECK_SECONDS:
            return
        self._looked = time.monotonic()
        stopped = False
        with suppress(Exception):  # the database is away for a while: the next look may reach it
            stopped = self._ledger.is_stopped(self._start)
        if stopped:
            raise UserError("the sweep was stopped where it was started")


def storage_url(config: Config) -> str:
    """Return the URL of the studies' database, with a SQLite file's path made absolute."""
    url = config.sweep.storage
    file = url.removeprefix("sqlite:///")
    return f"sqlite:///{Path(file).expanduser().absolute()}" if file not in ("", url) else url


def _open(config: DictConfig, checked: Config, arguments: list[str]) -> OpenSweep:
    """Find the study of this command, or create it, and open its parent run."""
    url = storage_url(checked)
    places_of(checked.sweep.workers, 1)  # a mistake in it is told before anything is opened
    plan = sweep_request.requested_plan(config, checked, arguments)
    name = checked.sweep.study or f"{sweep_request.slug(plan.name)}-{plan.digest[:12]}"
    with Ledger.opening(url, name):  # the same command may be started twice at one moment
        known = Ledger.find(url, name)
        if known is None:
            return _begin(config, plan, checked, url, name)
        sweep = _take_up(known, plan, checked)
    _repeat_deleted(sweep.ledger, sweep.parent)
    return sweep


def _begin(config: DictConfig, plan: SweepPlan, checked: Config, url: str, name: str) -> OpenSweep:
    """Create the parent run and the study of a command."""
    folder, typed = Path(plan.folder), " ".join(plan.arguments) or "sweep"
    parent = tracking.open_sweep(checked.tracking, Path(plan.outputs), plan.name, folder, typed, study=name)
    (folder / sweep_parent.PARENT_ID_FILE).write_text(parent.id)
    OmegaConf.save(config, folder / "multirun.yaml")
    ledger = Ledger.create(url, name, replace(plan, parent_run_id=parent.id))
    say(
        f"sweep {parent.id} · {name} · {_count(search.total(plan), 'setting')} · {plan.sampler} · "
        f"{display_path(folder)}"
    )
    return OpenSweep(ledger, checked, parent, folder)


def _take_up(ledger: Ledger, plan: SweepPlan, checked: Config) -> OpenSweep:
    """Go on with the study of this command."""
    known = ledger.known_plan()
    sweep_jobs.check_code(ledger)
    if known.digest != plan.digest:
        raise UserError(
            f"sweep.study={ledger.name} began as another sweep: {sweep_request.difference(known, plan)}. Choose a new "
            "name, or leave sweep.study out"
        )
    folder = Path(known.folder)
    try:
        parent = tracking.reopen_sweep(checked.tracking, Path(checked.outputs), known.parent_run_id, folder)
    except FolderInUse as error:
        raise UserError(f"{error} Or let this process help: {sweep_end.join_line(ledger)}") from None
    ledger.write_plan(known.started_again(plan))
    done, total = ledger.counts()
    say(
        f"sweep {parent.id} · {ledger.name} · {done} of {_count(total, 'setting')} done before · {known.sampler} · "
        f"{display_path(folder)}"
    )
    return OpenSweep(ledger, checked, parent, folder)


def _repeat_deleted(ledger: Ledger, parent: "Sweep") -> None:
    """Let the finished jobs be claimed again whose runs were deleted since, as one does with a run that went wrong."""
    alive = {child.id for child in tracking.finished_children(parent)}
    gone = [job for job in ledger.jobs() if job.state == "finished" and job.result.get("run_id") not in alive]
    for job in gone:
        ledger.release(job, "its run was deleted")
    if gone:
        numbers = ", ".join(str(job.number) for job in gone)
        say(f"note: the runs of {_count(len(gone), 'job')} were deleted and are made again: {numbers}")


def _work(
    sweep: OpenSweep, progress: SweepProgress, context: HydraContext, task: TaskFunction, config: DictConfig
) -> None:
    """Let workers run the jobs, on this machine or where Hydra's launcher starts them."""
    if config.hydra.launcher._target_ == _BASIC_LAUNCHER:
        done, total = sweep.ledger.counts()
        pool = WorkerPool(sweep.ledger, places_of(sweep.config.sweep.workers, total - done), sweep.folder)
        with progress.shown(pool.logs()):
            pool.each = progress.update
            pool.start()
            pool.run()
        return
    workers = sweep.config.sweep.workers
    if not str(workers).isdigit():
        raise UserError(
            f"hydra/launcher={config.hydra.runtime.choices.get('hydra/launcher')} needs a number of workers: "
            "sweep.workers=4"
        )
    launcher = Plugins.instance().instantiate_launcher(hydra_context=context, task_function=task, config=config)
    jobs = [_worker_overrides(sweep, i) for i in range(int(workers))]
    errors: list[BaseException] = []

    def launch() -> None:
        try:
            ended = launcher.launch(jobs, initial_job_idx=0)
        except BaseException as error:
            errors.append(error)
        else:
            errors.extend(worker._return_value for worker in ended if worker.status == JobStatus.FAILED)

    _let_workers_import_thaw()
    os.environ[_LAUNCHED] = str(sweep.ledger.known_plan().start)
    thread = threading.Thread(target=launch, name="launcher", daemon=True)
    thread.start()
    with progress.shown([]):
        while thread.is_alive() and not sweep.ledger.is_complete():
            progress.update()
            time.sleep(1.0)
        progress.update()
    if errors and not sweep.ledger.is_complete():
        raise _launcher_error(str(config.hydra.runtime.choices.get("hydra/launcher")), errors[0])
    if not sweep.ledger.is_complete():
        raise UserError("all workers of the launcher have ended, and settings are left. Start the same command again")


def _let_workers_import_thaw() -> None:
    """Let the processes that a launcher starts import the thaw that runs here, which need not be installed."""
    source = str(Path(code_hash.__file__).parents[1])
    known = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if source not in known:
        os.environ["PYTHONPATH"] = os.pathsep.join([source, *filter(None, known)])


def _launcher_error(launcher: str, error: BaseException) -> BaseException:
    """Return what is raised for an error of a launcher: a plugin of others', whose traceback tells users nothing."""
    if isinstance(error, UserError) or not isinstance(error, Exception):
        return error
    reason = str(error).strip().splitlines() or ["no reason is given"]
    failed = UserError(f"hydra/launcher={launcher} cannot run the sweep's workers: {type(error).__name__}: {reason[0]}")
    failed.__cause__ = error
    return failed


def _worker_overrides(sweep: OpenSweep, index: int) -> list[str]:
    """Return the command line of a worker that a launcher starts: it joins the study."""
    return [
        f"sweep.join={quote(sweep.ledger.name)}",
        f"sweep.storage={quote(sweep.ledger.url)}",
        "sweep.workers=1",
        f"hydra.sweep.subdir=worker-{index}",
    ]


def _repeat_best_draft(sweep: OpenSweep, progress: SweepProgress) -> None:
    """Train the best draft of a sweep in draft precision again, in full precision."""
    if any(job.state == "failed" for job in sweep.ledger.jobs()):
        return
    children = tracking.ranked_children(sweep.parent)
    plan = sweep.ledger.known_plan()

    def train(draft: Any, overrides: Sequence[str]) -> BaseException | None:
        try:
            sweep_jobs.train_again(plan, draft, overrides)
        except UserError as error:
            return error
        return None

    sweep_parent.train_best_drafts_again(children, train)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"
