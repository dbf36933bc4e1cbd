"""Processes of Ray as `ShardWorkers`: on this machine, or on all machines of a cluster."""

import importlib.util
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from thaw.common import environment
from thaw.common.console import say
from thaw.common.errors import UserError
from thaw.common.hardware import cpu_count
from thaw.config.tool_schemas import ExtractConfig
from thaw.extract.worker_environment import check_worker_environment, worker_environment

CORES_PER_WORKER = 4  # by default: processes share no lock of Python's, and each has a copy of the network
MAX_RETRIES = 5  # of a shard whose process or machine died: more deaths are no accident
ANSWER_SECONDS = 5.0  # until a cluster's address counts as wrong
SUBMITTED_PER_WORKER = 2  # shards: one that is computed and one that waits, so that no process waits for the next

Item = TypeVar("Item")
Result = TypeVar("Result")
Shared = TypeVar("Shared")


def check_ray_is_installed() -> None:
    """Raise UserError that names the extra."""
    if importlib.util.find_spec("ray") is None:
        raise UserError(
            "on=ray needs the package ray, which is not installed: it is thaw's extra ray. Install it with "
            "pip install 'thaw[ray]', in a checkout with pip install '.[ray]', or set on=here"
        )


class RayWorkers:
    """A number of processes on the cluster that this one is connected to.

    Shards are tasks of Ray: it computes one again whose process or machine died. One that runs on a machine whose
    results would differ raises UserError.

    ray: the module. workers: tasks that run at a time, at most. threads: of each.
    """

    def __init__(self, ray: Any, workers: int, threads: int) -> None:
        self._ray, self.workers, self.threads = ray, workers, threads
        self._task = ray.remote(num_cpus=threads, max_retries=MAX_RETRIES)(run_shard)
        self._environment = worker_environment()
        # Ray holds tasks for which no cores are free; where more are free than asked for, this process does.
        spare = ray.cluster_resources().get("CPU", 0) >= (workers + 1) * threads
        self._submitted = workers if spare else SUBMITTED_PER_WORKER * workers

    def map(
        self, function: Callable[[Shared, Item, int], Result], shared: Shared, shards: Iterable[Item]
    ) -> Iterator[Result]:
        """As of `ShardWorkers`."""
        sent = self._ray.put(shared)
        source, more = iter(shards), True
        order: deque[Any] = deque()  # of all that are not yielded
        running: set[Any] = set()
        try:
            while True:
                while more and len(running) < self._submitted and len(order) < 2 * self._submitted:
                    try:
                        shard = next(source)
                    except StopIteration:
                        more = False
                        break
                    order.append(self._task.remote(function, sent, shard, self.threads, self._environment))
                    running.add(order[-1])
                if not order:
                    return
                running -= self._finished(running, wait=order[0] in running)
                if order[0] not in running:
                    yield self._result(order.popleft())
        finally:  # after an error, Ctrl-C included
            for task in running:
                self._ray.cancel(task)

    def _finished(self, tasks: set[Any], *, wait: bool) -> set[Any]:
        """Return those of the tasks that have ended, after waiting for one if asked to."""
        if not tasks:
            return set()
        done, _ = self._ray.wait(list(tasks), num_returns=1 if wait else len(tasks), timeout=None if wait else 0)
        return set(done)

    def _result(self, task: Any) -> Any:
        errors = self._ray.exceptions
        try:
            return self._ray.get(task)
        except errors.RayTaskError as error:
            if isinstance(error.cause, UserError):
                raise error.cause from None
            raise
        except (errors.WorkerCrashedError, errors.OutOfMemoryError, errors.ObjectLostError) as error:
            raise UserError(
                f"Ray's workers died {MAX_RETRIES + 1} times over the same images: {str(error).splitlines()[0]} What "
                "is computed stays in the cache. If memory ran out, set fewer workers; then start again"
            ) from error


def run_shard(
    function: Callable[[Any, Any, int], Any], shared: Any, shard: Any, threads: int, expected: dict[str, str]
) -> Any:
    """Compute a shard, in a process of Ray."""
    check_worker_environment(expected)
    return function(shared, shard, threads)


@contextmanager
def ray_workers(config: ExtractConfig) -> Iterator[RayWorkers]:
    """Join the configured cluster, or start one on this machine that ends with the block.

    Raises:
        UserError: Ray is not installed, the cluster does not answer, or it has not as many cores as were asked for.
    """
    check_ray_is_installed()
    asked = None if config.workers == "auto" else int(config.workers)
    with _ray_imported() as ray:
        if config.ray.address is None:
            cores = cpu_count()
            workers, threads = _shares(asked, config.threads, cores, [cores])
            _connect(ray, address="local", num_cpus=workers * threads, include_dashboard=False)
            where = "this machine"
        else:
            _check_answers(config.ray.address)
            _connect(ray, address=config.ray.address)
            nodes = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
            workers, threads = _shares(asked, config.threads, sum(nodes), nodes)
            where = f"{len(nodes)} machine{'s' * (len(nodes) != 1)} of the cluster {config.ray.address}"
        try:
            say(
                f"ray: {workers} worker{'s' * (workers != 1)} of {threads} thread{'s' * (threads != 1)} each on {where}"
            )
            yield RayWorkers(ray, workers, threads)
        finally:
            ray.shutdown()


def _shares(workers: int | None, threads: int | None, cores: int, nodes: list[int]) -> tuple[int, int]:
    """Return the number of workers and the threads of each. nodes: the cores of each machine."""
    if workers is None:
        workers = max(1, cores // (threads or CORES_PER_WORKER))
    if threads is None:
        threads = max(1, min(cores // workers, max(nodes, default=1)))
    possible = sum(node // threads for node in nodes)
    if possible < workers:
        raise UserError(
            f"workers={workers} of {threads} thread{'s' * (threads != 1)} each need more than {cores} cores, which are "
            f"enough for {possible}. Lower workers or threads, or leave them out"
        )
    return workers, threads


@contextmanager
def _ray_imported() -> Iterator[Any]:
    """Import Ray without its reports on usage, and with this process's handlers of signals."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # or it warns that it will once do so
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    import ray

    yield ray
    for number, handler in handlers.items():
        signal.signal(number, handler)


def _check_answers(address: str) -> None:
    """Raise UserError if nothing listens at an address: Ray would try for minutes."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if "/" in address or not host or not port.isdecimal():
        raise _not_joined(address, "it is not HOST:PORT, the address that ray start --head prints")
    try:
        socket.create_connection((host, int(port)), ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise _not_joined(address, "nothing answers there") from error


def _not_joined(address: str, reason: str) -> UserError:
    return UserError(
        f"ray.address={address}: the cluster cannot be joined: {reason}. ray start --head starts one, and ray status "
        "shows it; if it asks for a token, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN as where it was started. Without "
        "ray.address one is started on this machine"
    )


def _connect(ray: Any, **options: Any) -> None:
    """Connect to a cluster, whose processes import this checkout if it is at the same path there."""
    source = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH", "")]))
    variables = {**environment.numerical_variables(), "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"}
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ray.init(log_to_driver=False, logging_level="ERROR", runtime_env={"env_vars": variables}, **options)
    except (ray.exceptions.RayError, ConnectionError, RuntimeError, ValueError, OSError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise _not_joined(options["address"], reason.rstrip(".")) from error
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    sys.stdout.flush()
