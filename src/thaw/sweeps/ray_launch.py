"""Workers of a sweep on a Ray cluster: tasks that join the study, tried again elsewhere when their node dies."""

import logging
import os
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus

from thaw.common import environment
from thaw.common.errors import UserError
from thaw.config import database_urls
from thaw.sweeps.worker_pool import WorkerPlace, usable_cores

_SOURCE = Path(__file__).parents[2]
_ANSWER_SECONDS = 5.0


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
    ray = _import_ray(address)
    _connect(ray, address)
    studies = [_values(job) for job in job_overrides]
    work = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=-1, scheduling_strategy="SPREAD")(_work)
    password = os.environ.get(database_urls.PASSWORD_VARIABLE)  # Ray shows a cluster's variables, and no arguments
    tasks = [work.remote(study, int(max(cpus, 1)), password) for study in studies]
    try:
        ray.get(tasks)
    finally:
        ray.shutdown()
    done = JobReturn(status=JobStatus.COMPLETED)
    done._return_value = None
    return [done for _ in tasks]


def _values(overrides: Sequence[str]) -> dict[str, str]:
    """Return the value of each `key=value` of a command line, without the quotes of Hydra's grammar."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    return {override.key_or_group: str(override.value()) for override in parsed}


def _import_ray(address: str | None) -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # or it warns that it will once do so
    if address is not None and _has_token():
        os.environ.setdefault("RAY_AUTH_MODE", "token")  # which ray start does by itself, and ray.init does not
    try:
        import ray
    except ImportError:
        raise UserError("hydra/launcher=ray needs Ray: pip install 'thaw[ray]'") from None
    return ray


def _has_token() -> bool:
    """Whether a token of a cluster is where Ray looks for one."""
    named = any(os.environ.get(name) for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))
    return named or (Path.home() / ".ray" / "auth_token").is_file()


def _connect(ray: Any, address: str | None) -> None:
    """Connect to a cluster, whose processes import this checkout, which lies at the same path there."""
    path = os.pathsep.join([str(_SOURCE), *filter(None, [os.environ.get("PYTHONPATH")])])
    variables = {
        name: value for name, value in environment.numerical_variables().items() if "VISIBLE_DEVICES" not in name
    }
    if address is not None:
        _check_answers(address)
    where = {"address": "local", "include_dashboard": False} if address is None else {"address": address}
    try:
        ray.init(
            logging_level=logging.ERROR,
            log_to_driver=False,
            runtime_env={"env_vars": {**variables, "PYTHONPATH": path}},
            **where,
        )
    except (ray.exceptions.RayError, ConnectionError, RuntimeError, ValueError) as error:
        raise _not_joined(address, (str(error).strip() or type(error).__name__).splitlines()[0]) from error


def _check_answers(address: str) -> None:
    """Raise UserError when nothing listens at an address: Ray would try for minutes."""
    if address == "auto":
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise _not_joined(address, "it is not HOST:PORT, the address that ray start --head prints")
    try:
        socket.create_connection((host, int(port)), _ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise _not_joined(address, "nothing answers there") from error


def _not_joined(address: str | None, reason: str) -> UserError:
    return UserError(
        f"hydra.launcher.address={address}: there is no Ray cluster to join: {reason}. ray start --head starts one; if "
        "it asks for a token, ~/.ray/auth_token or RAY_AUTH_TOKEN has to be the same here. Without an address Ray "
        "starts on this machine"
    )


def _work(arguments: dict[str, str], cores: int, password: str | None) -> int:
    """Work for a study until nothing is left of it: what runs on a node of the cluster.

    The jobs run in a process below this one, which is replaced when a job crashes it, and ends with this one.
    """
    from thaw.sweeps import worker_pool
    from thaw.sweeps.ledger import Ledger

    if password is not None:
        os.environ[database_urls.PASSWORD_VARIABLE] = password
    name, url = arguments["sweep.join"], arguments["sweep.storage"]
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
