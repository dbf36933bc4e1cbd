"""One worker of a sweep: claims a job, runs it, writes what came of it, until nothing is left."""

import errno
import os
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import SQLAlchemyError

from thaw.common.console import say
from thaw.common.errors import UserError
from thaw.config.job import Pruned, Terminated
from thaw.sweeps import search
from thaw.sweeps.ledger import CAN_PASS, EPOCH_OBJECTIVES, PERMANENT, RELEASED, Claim, JobLost, Ledger, Wait
from thaw.sweeps.plan import SweepPlan
from thaw.sweeps.study_storage import HEARTBEAT_SECONDS
from thaw.sweeps.worker_id import this_worker

_POLL_SECONDS = 1.0  # between two looks for a job while others work on the last ones
_PROGRESS_SECONDS = 1.0  # between two writes of a job's progress: an epoch on kept features takes less
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EAGAIN, errno.ENOMEM}


@dataclass(frozen=True)
class Outcome:
    """What a job's run ended with: the value of each objective, and what the ledger keeps of it."""

    values: tuple[float, ...]
    result: dict[str, Any] = field(default_factory=dict)


EpochReport = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True)
class JobRunner:
    """What runs a job.

    Attributes:
        run: runs a claim; its second argument is to be called after each epoch, and may raise `Pruned`.
        can_pass: errors after which another attempt may do better, besides a full disk and too little memory.
    """

    run: Callable[[Claim, EpochReport], Outcome]
    can_pass: tuple[type[BaseException], ...] = ()


def work(ledger: Ledger, runner: JobRunner) -> int:
    """Run jobs until none is left, and return how many were run.

    Ctrl-C and SIGTERM give the job that runs back: whoever claims it next resumes its run.
    """
    worker, done = this_worker(), 0
    while True:
        claim = ledger.claim(worker)
        if claim is None:
            return done
        if isinstance(claim, Wait):
            time.sleep(_POLL_SECONDS)
            continue
        plan = ledger.known_plan()
        say(f"job {claim.number} ({claim.number + 1} of {search.total(plan)}) · {' '.join(claim.overrides)}")
        try:
            with _heartbeat(ledger, claim):
                _run_job(ledger, plan, claim, runner)
        except JobLost as lost:
            say(f"note: {lost}")
        done += 1


def _run_job(ledger: Ledger, plan: SweepPlan, claim: Claim, runner: JobRunner) -> None:
    started = time.time()
    report = EpochReporter(ledger, plan, claim)

    def kept() -> dict[str, Any]:
        return {"seconds": round(time.time() - started, 3), "curve": report.curve}

    try:
        outcome = runner.run(claim, report)
        ledger.finish(claim, outcome.values, **{**kept(), **outcome.result})
    except JobLost:
        raise
    except Pruned as pruned:
        say(f"job {claim.number} is stopped: {pruned}")
        ledger.prune(claim, reason=str(pruned), **kept())
    except (KeyboardInterrupt, Terminated):
        with suppress(Exception):  # the storage may be what is gone; the claim is found dead then
            ledger.fail(claim, RELEASED, "its process was stopped", **kept())
        raise
    except Exception as error:
        if not isinstance(error, UserError):
            say(traceback.format_exc())
        say(f"job {claim.number} failed: {error}")
        kind = CAN_PASS if _can_pass(error, runner) else PERMANENT
        reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        ledger.fail(claim, kind, reason, **kept())


def _can_pass(error: BaseException, runner: JobRunner) -> bool:
    """Whether another attempt may do better: no memory, a full or lost disk, a store that cannot be reached."""
    link: BaseException | None = error
    while link is not None:
        if (
            isinstance(link, (MemoryError, SQLAlchemyError, StorageInternalError, *runner.can_pass))
            or type(link).__name__ == "ResourceExhaustedError"
        ):
            return True
        if isinstance(link, OSError) and link.errno in _DISK:
            return True
        link = link.__cause__ or link.__context__
    return False


class EpochReporter:
    """Writes a job's epochs to the ledger, and stops the job that the pruner finds hopeless."""

    def __init__(self, ledger: Ledger, plan: SweepPlan, claim: Claim) -> None:
        self._ledger, self._plan, self._claim = ledger, plan, claim
        self._written = 0.0
        self.curve: dict[int, float] = {}

    def __call__(self, entry: Mapping[str, Any]) -> None:
        """Report an epoch, as `Job.on_epoch` gets it; raises `Pruned`."""
        epoch, value = int(entry["epoch"]), _epoch_value(self._plan, entry)
        if value is not None:
            self.curve[epoch] = round(value, 6)
        now = time.monotonic()
        if now - self._written >= _PROGRESS_SECONDS:
            self._written = now
            progress = {"stage": entry["stage"], "epoch": epoch, "epochs": self._plan.epochs, "value": value}
            with suppress(SQLAlchemyError, StorageInternalError):  # the next one may be written
                self._ledger.report_progress(self._claim, progress)
        if value is None or self._plan.pruner == "none":
            return
        hopeless = self._ledger.should_prune(self._claim, epoch, value)
        if hopeless and entry["epoch_of_stage"] > self._plan.pruner_warmup:
            raise Pruned(f"{value:.4f} after epoch {epoch}, worse than others by then ({self._plan.pruner})")


def _epoch_value(plan: SweepPlan, entry: Mapping[str, Any]) -> float | None:
    """Return an epoch's value of the first objective; None when epochs have none."""
    value = entry.get(EPOCH_OBJECTIVES.get(plan.objectives[0][0], ""))
    return float(value) if isinstance(value, int | float) else None


@contextmanager
def _heartbeat(ledger: Ledger, claim: Claim) -> Iterator[None]:
    """Tell the ledger now and then that this process lives, from a thread: an epoch may take hours."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(HEARTBEAT_SECONDS):
            with suppress(Exception):  # the database is away for a while: the next beat may reach it
                ledger.heartbeat(claim)

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(timeout=5)


def end_with_parent(parent: int) -> None:
    """Stop this process when its parent is gone, whatever ended that one: nobody would see its work.

    SIGTERM lets the run close in order; a process that has not ended 30 seconds later ends at once.
    """
    import signal

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(30)
        os._exit(143)

    threading.Thread(target=watch, name="parent watch", daemon=True).start()
