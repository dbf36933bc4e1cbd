"""Workers of a sweep on a Ray cluster: tasks that join the study, tried again elsewhere when their node dies."""

import logging
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from hydra.core.utils import JobReturn, JobStatus

from thaw.common.errors import UserError
from thaw.sweeps.worker_pool import WorkerPlace, usable_cores

_SOURCE = Path(__file__).parents[2]


def launch(
    job_overrides: Sequence[Sequence[str]], address: str | None, cpus: float, gpus: float
) -> Sequence[JobReturn]:
    """Start a worker for each entry and return when all have ended.

    Args:
        job_overrides: of each worker `sweep.join=STUDY` and `sweep.storage=URL`.
        address: of the cluster; None starts Ray on this machine.
        cpus: cores that Ray keeps for a worker.
        gpus: GPUs that Ray keeps for a worker.

    Raises:
        UserError: Ray is not installed, or there is no cluster at the address.
    """
    ray = _import_ray()
    _connect(ray, address)
    work = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=-1, scheduling_strategy="SPREAD")(_work)
    tasks = [work.remote(dict(argument.split("=", 1) for argument in job), int(max(cpus, 1))) for job in job_overrides]
    try:
        ray.get(tasks)
    finally:
        ray.shutdown()
    done = JobReturn(status=JobStatus.COMPLETED)
    done._return_value = None
    return [done for _ in tasks]


def _import_ray() -> Any:
    try:
        import ray
    except ImportError:
        raise UserError("hydra/launcher=ray needs Ray: pip install 'thaw[ray]'") from None
    return ray


def _connect(ray: Any, address: str | None) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    path = os.pathsep.join([str(_SOURCE), *filter(None, [os.environ.get("PYTHONPATH")])])
    local = {"include_dashboard": False} if address is None else {}
    try:
        ray.init(
            address=address,
            configure_logging=True,
            logging_level=logging.WARNING,
            log_to_driver=False,
            runtime_env={"env_vars": {"PYTHONPATH": path}},
            **local,
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(
            f"hydra.launcher.address={address}: there is no Ray cluster to join ({str(error).splitlines()[0]}). Start "
            "one with ray start --head, or leave the address out: Ray then starts on this machine"
        ) from error


def _work(arguments: dict[str, str], cores: int) -> int:
    """Work for a study until nothing is left of it: what runs on a node of the cluster.

    The jobs run in a process below this one, which is replaced when a job crashes it, and ends with this one.
    """
    from thaw.sweeps import worker_pool
    from thaw.sweeps.ledger import Ledger

    name, url = arguments["sweep.join"].strip("'"), arguments["sweep.storage"].strip("'")
    ledger = Ledger.find(url, name)
    if ledger is None:
        raise UserError(f"{sys.executable}: there is no study {name} in this sweep.storage")
    folder = Path(ledger.known_plan().folder)
    with _own_cores(cores) as place:
        pool = worker_pool.WorkerPool(ledger, [place], folder / f"worker-{os.getpid()}")
        pool.start()
        pool.run()
    return 0


@contextmanager
def _own_cores(count: int) -> Iterator[WorkerPlace]:
    """Yield cores of this node that no other worker has; Ray counts cores and binds no process to any.

    Without free ones, which is when Ray was told of more cores than there are, the worker uses all.
    """
    cores = usable_cores()
    for start in range(0, len(cores) - count + 1, count) if count < len(cores) else ():
        lock = FileLock(Path(tempfile.gettempdir()) / f"thaw-cores-{os.getuid()}-{start}-{count}.lock")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            continue
        try:
            yield WorkerPlace(tuple(cores[start : start + count]))
        finally:
            lock.release()
        return
    yield WorkerPlace()
