"""Hydra's callback: one parent run for a sweep, and no run in a folder that holds another run's files."""

import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from thaw.cli import sweep_parent
from thaw.cli.compose import job_config, to_config
from thaw.cli.swept_keys import swept_keys
from thaw.common.errors import UserError
from thaw.config import run_names
from thaw.config.schema import Config

if TYPE_CHECKING:
    from hydra.core.utils import JobReturn


THAW_SWEEPER = "hydra_plugins.thaw_sweeper.sweeper.ThawSweeper"


class RunRefused(BaseException):
    """A run or a sweep must not begin. No `Exception`: of those in a callback Hydra makes a warning."""

    def __init__(self, error: UserError) -> None:
        super().__init__(error)
        self.error = error


class SweepCallback(Callback):
    """Opens one parent run for a sweep, whose jobs find its id in the sweep's folder.

    It refuses folders that hold another run's files, before Hydra writes into them.

    Attributes:
        resumed_run_id: the run that may start in its own folder again.
        task: what runs a job.
        job_tags: that the job gets which runs now.
        errors: those of the sweep's end, which Hydra would turn into warnings.
    """

    resumed_run_id: str | None = None
    task: ClassVar[Any] = None
    job_tags: ClassVar[dict[str, str]] = {}
    errors: ClassVar[list[UserError]] = []
    _open: "SweepCallback | None" = None

    def __init__(self) -> None:
        self._jobs = self._failed = 0

    @classmethod
    def close_open_sweep(cls, error: BaseException) -> None:
        """End the parent run of a sweep that an error or a signal ended early."""
        if cls._open is not None:
            reason = str(error) or type(error).__name__
            cls._open._close("FAILED" if isinstance(error, Exception) else "KILLED", reason)

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Refuse the folder of a single run when another run has its files there."""
        with _refusing():
            check_job_folder(Path(config.hydra.run.dir).absolute(), self.resumed_run_id)

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Open the sweep's parent run, in the store and experiment of its first job; thaw's sweeper does so itself."""
        from thaw import tracking

        if config.hydra.sweeper._target_ == THAW_SWEEPER:
            return
        with _refusing():
            with job_config(config) as first_job:
                checked: Config = to_config(first_job, Config)
            self._folder = Path(config.hydra.sweep.dir).absolute()
            typed: Any = OmegaConf.to_container(config.hydra.overrides.task, resolve=False)
            name = run_names.sweep_name(checked, typed, swept_keys(typed))
            overrides = " ".join(typed) or "sweep"
            self._sweep = tracking.open_sweep(checked.tracking, Path(checked.outputs), name, self._folder, overrides)
        (self._folder / sweep_parent.PARENT_ID_FILE).write_text(self._sweep.id)
        SweepCallback._open = self

    def on_job_end(self, config: DictConfig, job_return: "JobReturn", **_: Any) -> None:
        """Count a failed job, and free what Hydra would hold of each job until the sweep ends."""
        self._jobs += 1
        if job_return.status.name != "COMPLETED":
            self._failed += 1
            drop_traceback_frames(job_return._return_value)
        job_return.cfg = job_return.hydra_cfg = None

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Train the best draft again in full precision, end the parent run and print the best job and the folds."""
        if SweepCallback._open is self:
            try:
                self._train_best_drafts_again(config)
            except Exception as error:  # Hydra would make a warning of it, and the sweep would stay open
                self.errors.append(error if isinstance(error, UserError) else UserError(str(error)))
            reason = f"{self._failed} of its jobs failed" if self._failed else ""
            try:
                self._close("FAILED" if self._failed else "FINISHED", reason)
            except UserError as error:
                self.errors.append(error)

    def _train_best_drafts_again(self, config: DictConfig) -> None:
        """Run one more job for the best draft, or for each fold of the best setting, in full precision."""
        from hydra._internal.callbacks import Callbacks
        from hydra._internal.core_plugins.basic_launcher import BasicLauncher
        from hydra.core.global_hydra import GlobalHydra
        from hydra.types import HydraContext

        from thaw import tracking

        children = tracking.ranked_children(self._sweep)
        callbacks, launcher = Callbacks(), BasicLauncher()
        callbacks.callbacks = [self]
        context = HydraContext(config_loader=GlobalHydra.instance().config_loader(), callbacks=callbacks)
        launcher.setup(hydra_context=context, task_function=self.task, config=config)

        def train(draft: "tracking.StoredRun", overrides: Sequence[str]) -> BaseException | None:
            SweepCallback.job_tags = {tracking.REPEATS_DRAFT_TAG: draft.id}
            try:
                number = max(self._jobs, len(children))  # a parallel launcher's jobs end in other processes
                (done,) = launcher.launch([overrides], number)
            finally:
                SweepCallback.job_tags = {}
            return None if done.status.name == "COMPLETED" else done._return_value

        sweep_parent.train_best_drafts_again(children, train)

    def _close(self, status: Literal["FINISHED", "FAILED", "KILLED"], reason: str) -> None:
        SweepCallback._open = None
        sweep_parent.close_sweep(self._sweep, self._folder, status, reason)


def check_job_folder(folder: Path, resumed_run_id: str | None) -> None:
    """Raise UserError when a run works in `folder`, or when it holds files of a run other than the resumed one."""
    from thaw.tracking import folder_owner

    folder_owner.check_not_running(folder)
    folder_owner.check_run_folder(folder, run_id=resumed_run_id)


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise RunRefused(error) from error


def drop_traceback_frames(error: BaseException) -> None:
    """Drop a failed job's frames, and with them its network and data: Hydra keeps the error until the sweep ends.

    A defect's traceback becomes a note, which is printed with it. `traceback.clear_frames` is not enough: a frame keeps
    its function, and the function its closure.
    """
    if not isinstance(error, UserError):
        error.add_note("In the job:\n" + "".join(traceback.format_exception(error)))
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        link = waiting.pop()
        if link is not None and id(link) not in seen:
            seen.add(id(link))
            link.__traceback__ = None
            waiting += [link.__cause__, link.__context__]
