"""How many workers a machine gets, and on which cores each computes."""

import os

import pytest

from thaw.common.errors import UserError
from thaw.sweeps import worker_pool
from thaw.sweeps.worker_pool import WorkerPlace, places_of


def machine(monkeypatch: pytest.MonkeyPatch, cores: int, gb: int = 64, gpus: str | None = "") -> None:
    monkeypatch.setattr(worker_pool, "usable_cores", lambda: list(range(cores)))
    monkeypatch.setattr(worker_pool, "_memory_gb", lambda: gb)
    monkeypatch.setitem(os.environ, "CUDA_VISIBLE_DEVICES", gpus)


@pytest.mark.parametrize(
    ("cores", "gb", "workers"), [(2, 24, 1), (8, 64, 1), (16, 64, 2), (64, 256, 8), (64, 8, 2), (1, 1, 1)]
)
def test_auto_is_a_worker_for_each_eight_cores_and_four_gigabytes(monkeypatch, cores, gb, workers) -> None:
    machine(monkeypatch, cores, gb)
    assert len(places_of("auto", 100)) == workers


def test_with_gpus_each_worker_has_one(monkeypatch) -> None:
    machine(monkeypatch, 8, gpus="0,3")
    assert places_of("auto", 100) == [WorkerPlace(gpu="0"), WorkerPlace(gpu="3")]
    assert [place.gpu for place in places_of(3, 100)] == ["0", "3", "0"]


def test_workers_share_the_cores_without_sharing_one(monkeypatch) -> None:
    machine(monkeypatch, 8)
    assert places_of(1, 100) == [WorkerPlace()]
    assert [place.cores for place in places_of("3", 100)] == [(0, 1), (2, 3), (4, 5)]
    assert [place.cores for place in places_of(16, 100)] == [(i % 8,) for i in range(16)]


def test_there_are_no_more_workers_than_jobs(monkeypatch) -> None:
    machine(monkeypatch, 64, 256)
    assert len(places_of("auto", 3)) == 3
    assert len(places_of(5, 1)) == 1
    assert len(places_of(5, 0)) == 1


@pytest.mark.parametrize("workers", ["some", "0", "-1", "1.5"])
def test_what_is_no_number_of_workers_is_refused(monkeypatch, workers: str) -> None:
    machine(monkeypatch, 2)
    with pytest.raises(UserError, match="is no number of workers"):
        places_of(workers, 1)
