"""Shards on a real Ray on this machine: in order, again when a worker dies, and with one error for a user's mistake."""

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from thaw.common.errors import UserError
from thaw.config.tool_schemas import ExtractConfig, RayConfig
from thaw.extract import ray_workers as module
from thaw.extract.ray_workers import RayWorkers, _shares, check_ray_is_installed, ray_workers
from thaw.extract.worker_environment import check_worker_environment, worker_environment


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("127.0.0.1:9", "nothing answers there"),
        ("no.such.host.invalid:6379", "nothing answers there"),
        ("ray://127.0.0.1:10001", "it is not HOST:PORT"),
        ("head", "it is not HOST:PORT"),
    ],
)
def test_a_cluster_that_does_not_answer_is_named(address: str, why: str) -> None:
    config = ExtractConfig(on="ray", ray=RayConfig(address=address))
    with pytest.raises(UserError, match=f"^ray.address={re.escape(address)}: the cluster cannot be joined: {why}"):
        ray_workers(config).__enter__()


@pytest.fixture(scope="module")
def workers() -> Iterator[RayWorkers]:
    """Two workers of one thread; on one core they take turns."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "cpu_count", lambda: 2)
        with ray_workers(ExtractConfig(on="ray", workers="2", threads=1)) as started:
            yield started


def test_shards_come_in_order_and_a_killed_worker_loses_nothing(workers: RayWorkers, tmp_path: Path) -> None:
    died, handler = tmp_path / "died", signal.getsignal(signal.SIGTERM)

    def squares(offset: int, shard: np.ndarray, threads: int) -> tuple[np.ndarray, int]:
        if 40 in shard and not died.exists():
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.05 if 0 in shard else 0)  # the first one ends last
        return shard**2 + offset, threads

    taken: list[int] = []

    def source() -> Iterator[np.ndarray]:
        for start in range(0, 100, 10):
            taken.append(start)
            yield np.arange(start, start + 10)

    results = workers.map(squares, 5, source())
    first = next(results)
    assert len(taken) <= 8  # not all of a large data set at once
    rows = [first, *results]
    assert died.exists()
    assert np.concatenate([row for row, _ in rows]).tolist() == [n**2 + 5 for n in range(100)]
    assert {threads for _, threads in rows} == {1}
    assert signal.getsignal(signal.SIGTERM) is handler


def test_a_users_mistake_comes_out_of_a_worker_as_it_is(workers: RayWorkers) -> None:
    def refuse(_: None, shard: int, threads: int) -> int:
        if shard == 1:
            raise UserError("photo.jpg: truncated: the file ends early")
        return shard

    results = workers.map(refuse, None, range(3))
    assert next(results) == 0
    with pytest.raises(UserError, match=r"^photo.jpg: truncated: the file ends early$"):
        next(results)


def test_images_that_kill_every_worker_end_in_one_error(workers: RayWorkers, monkeypatch) -> None:
    def die(_: None, shard: int, threads: int) -> int:
        os._exit(1)

    monkeypatch.setattr(workers, "_task", workers._task.options(max_retries=0))
    with pytest.raises(UserError, match="died 6 times over the same images"):
        list(workers.map(die, None, range(1)))


def test_a_machine_that_computes_other_bits_is_refused(workers: RayWorkers, monkeypatch) -> None:
    monkeypatch.setattr(workers, "_environment", {**worker_environment(), "openvino": "2020.1"})
    with pytest.raises(UserError, match=r"would compute other bits .*: openvino is '20.*' there and '2020.1' here"):
        list(workers.map(lambda *_: 0, None, range(1)))


def test_the_number_of_threads_makes_no_other_bits(monkeypatch) -> None:
    expected = dict(worker_environment())
    worker_environment.cache_clear()
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    check_worker_environment(expected)
    worker_environment.cache_clear()
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41")
    with pytest.raises(UserError, match="ONEDNN_MAX_CPU_ISA is 'SSE41' there and 'absent' here"):
        check_worker_environment(expected)
    worker_environment.cache_clear()


def test_without_ray_the_error_names_the_extra(monkeypatch) -> None:
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"on=ray needs the package ray.*pip install 'thaw\[ray\]'"):
        check_ray_is_installed()


@pytest.mark.parametrize(
    ("workers", "threads", "nodes", "expected"),
    [
        (None, None, [2], (1, 2)),
        (None, None, [64], (16, 4)),
        (None, None, [8, 8, 8], (6, 4)),
        (None, 1, [8], (8, 1)),
        (2, None, [2], (2, 1)),
        (2, None, [8, 8], (2, 8)),
        (1, None, [8, 8], (1, 8)),
        (3, None, [8], (3, 2)),
    ],
)
def test_cores_are_shared_among_the_workers(workers, threads, nodes: list[int], expected: tuple[int, int]) -> None:
    assert _shares(workers, threads, sum(nodes), nodes) == expected


def test_more_workers_than_cores_are_refused() -> None:
    with pytest.raises(UserError, match="workers=3 of 4 threads each need more than 8 cores, which are enough for 2"):
        _shares(3, 4, 8, [8])
