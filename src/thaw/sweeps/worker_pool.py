"""The worker processes of a sweep on one machine: started, watched, and replaced when they die."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from thaw.common.console import say
from thaw.common.errors import UserError
from thaw.sweeps.ledger import Ledger
from thaw.sweeps.worker_id import this_worker

_STOP_SECONDS = 60.0  # that a worker gets to close its run after SIGTERM
_MIN_SECONDS = 60.0  # a worker that died earlier than this, without a job, could not start
_MAX_FALSE_STARTS = 2
_POLL_SECONDS = 0.2
_CORES_EACH, _GB_EACH = 8, 4  # of a worker, where nothing is asked for
_SOURCE = Path(__file__).parents[2]
_LOG_TAIL = 12  # lines of a worker's log in an error


@dataclass
class _Worker:
    """A worker process. log: where its lines go; attempts: at all jobs, by all workers, when it was started."""

    index: int
    process: subprocess.Popen[bytes]
    log: Path
    started: float
    attempts: int


@dataclass(frozen=True)
class WorkerPlace:
    """What one worker of this machine may use. cores: their numbers, empty for all; gpu: its number, None for none."""

    cores: tuple[int, ...] = ()
    gpu: str | None = None


@dataclass
class WorkerPool:
    """Worker processes of one machine.

    Attributes:
        ledger: of the sweep.
        places: one for each worker.
        folder: of the workers' logs.
        each: called five times a second while the workers work.
    """

    ledger: Ledger
    places: Sequence[WorkerPlace]
    folder: Path
    each: Callable[[], None] = lambda: None
    _workers: list[_Worker] = field(default_factory=list)
    _false_starts: int = 0

    def start(self) -> None:
        """Start the workers, which import TensorFlow while the caller goes on."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for index in range(len(self.places)):
            self._workers.append(self._start(index))

    def run(self) -> None:
        """Return when all workers have found nothing left to do.

        Raises:
            UserError: workers die before their first job; the message has the end of a log.
        """
        try:
            while self._workers:
                for worker in list(self._workers):
                    code = worker.process.poll()
                    if code is None:
                        continue
                    self._workers.remove(worker)
                    if code != 0:
                        self._replace(worker, code)
                self.each()
                time.sleep(_POLL_SECONDS)
        except BaseException:
            self.stop()
            raise
        self.each()

    def logs(self) -> list[Path]:
        """Return the workers' logs, by their numbers."""
        return [self._log(index) for index in range(len(self.places))]

    def stop(self) -> None:
        """Let every worker give its job back and close its run; one that takes too long is killed."""
        for worker in self._workers:
            if worker.process.poll() is None:
                worker.process.send_signal(signal.SIGTERM)
        end = time.monotonic() + _STOP_SECONDS
        for worker in self._workers:
            try:
                worker.process.wait(max(end - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
        self._workers = []

    def _replace(self, worker: _Worker, code: int) -> None:
        """Start another worker in the place of one that died, which costs its job an attempt and no other job."""
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        say(f"worker {worker.index} ended with {how}; another takes its place. Its log: {worker.log}")
        self.ledger.note_death(worker.process.pid, f"its process ended with {how}")
        if self.ledger.is_complete():
            return
        worked = self._attempts() > worker.attempts
        if not worked and time.monotonic() - worker.started < _MIN_SECONDS:
            self._false_starts += 1
        else:
            self._false_starts = 0
        if self._false_starts > _MAX_FALSE_STARTS:
            tail = "\n".join(worker.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_TAIL:])
            raise UserError(f"workers of the sweep die before their first job. The end of {worker.log}:\n{tail}")
        self._workers.append(self._start(worker.index))

    def _start(self, index: int) -> _Worker:
        log = self._log(index)
        place = self.places[index]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(_SOURCE), *filter(None, [os.environ.get("PYTHONPATH")])]),
            "PYTHONUNBUFFERED": "1",
        }
        if place.gpu is not None:
            environment["CUDA_VISIBLE_DEVICES"] = place.gpu
        cores = ",".join(map(str, place.cores))
        command = [sys.executable, "-m", "thaw.cli.sweep_worker", self.ledger.url, self.ledger.name, str(os.getpid())]
        with log.open("ab") as output:
            process = subprocess.Popen(
                [*command, cores],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,  # Ctrl-C is for the parent, which lets the workers give their jobs back
            )
        return _Worker(index, process, log, time.monotonic(), self._attempts())

    def _attempts(self) -> int:
        return sum(job.attempts for job in self.ledger.jobs())

    def _log(self, index: int) -> Path:
        return self.folder / f"worker-{this_worker().host}-{index}.log"


def places_of(workers: object, jobs: int) -> list[WorkerPlace]:
    """Return a place for each worker of this machine.

    Args:
        workers: `sweep.workers`: a number, or auto: one for each GPU, else as many as have eight cores and 4 GB each.
            A job uses all cores that it has, and two halves are no faster than a whole for networks that train;
            many small jobs on kept features are: `sweep.workers=2` on two cores.
        jobs: that are left; no more workers than these.

    Raises:
        UserError: it is neither.
    """
    cores = usable_cores()
    gpus = _gpus()
    if str(workers) == "auto":
        count = len(gpus) or max(1, min(len(cores) // _CORES_EACH, _memory_gb() // _GB_EACH))
    elif str(workers).isdigit() and int(str(workers)) > 0:
        count = int(str(workers))
    else:
        raise UserError(f"sweep.workers={workers} is no number of workers: auto, or a number from 1 on")
    count = max(1, min(count, jobs))
    if gpus:
        return [WorkerPlace(gpu=gpus[i % len(gpus)]) for i in range(count)]
    if count == 1:
        return [WorkerPlace()]
    if count > len(cores):
        return [WorkerPlace((cores[i % len(cores)],)) for i in range(count)]
    each = len(cores) // count
    return [WorkerPlace(tuple(cores[i * each : (i + 1) * each])) for i in range(count)]


def usable_cores() -> list[int]:
    """Return the numbers of the cores that this process may use; without names for them, as on macOS, from 0 on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _gpus() -> list[str]:
    """Return the numbers of the NVIDIA GPUs that this process may use, without importing TensorFlow."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [number for number in visible.split(",") if number.strip() not in ("", "-1")]
    folder = Path("/proc/driver/nvidia/gpus")
    return [str(i) for i, _ in enumerate(folder.iterdir())] if folder.is_dir() else []


def _memory_gb() -> int:
    return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9)
