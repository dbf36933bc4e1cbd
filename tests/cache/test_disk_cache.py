"""The budget that plans may count on: cache.max_gb, or less on a disk that is nearly full."""

import shutil
from pathlib import Path

import pytest

from thaw.cache import RESERVED_BYTES, CacheBudget, DiskCache, eviction
from thaw.cache.disk_cache import BLOCK_OVERHEAD

from .synthetic_rows import KEY, fill
from .test_eviction import age, large, spaces

GB = 1_000_000_000


@pytest.fixture
def free(monkeypatch):
    """Say how many bytes the disk has free."""

    def set_to(bytes: float) -> None:
        usage = shutil._ntuple_diskusage(1e12, 1e12 - bytes, int(bytes))
        monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)

    return set_to


def test_on_a_large_disk_the_budget_is_the_room(tmp_path, free):
    free(100 * GB)
    assert DiskCache(tmp_path / "cache", 20 * GB, outputs=tmp_path).budget() == CacheBudget(20 * GB)


def test_on_a_disk_that_is_nearly_full_its_free_bytes_are_the_room(tmp_path, free):
    free(3 * GB)
    store = DiskCache(tmp_path / "cache", 20 * GB, outputs=tmp_path / "outputs" / "of runs")
    assert store.budget() == CacheBudget(3 * GB * (1 - BLOCK_OVERHEAD) - RESERVED_BYTES, limited_by_disk=True)
    assert store.budget(2 * GB).nbytes == 3 * GB * (1 - BLOCK_OVERHEAD) - 2 * GB, (
        "a large network's checkpoints need more"
    )
    free(0.5 * GB)
    assert store.budget() == CacheBudget(0.0, limited_by_disk=True)


def test_what_is_kept_already_counts_as_room(tmp_path, free):
    """Rows that are wanted again take no more, and others are removed for new ones."""
    store = DiskCache(tmp_path / "cache", 20 * GB)
    fill(store.space(KEY), range(10))
    free(1000)
    assert store.budget().nbytes == store.used_bytes() + 1000 * (1 - BLOCK_OVERHEAD)


def test_on_another_disk_than_the_outputs_nothing_is_left_free_for_them(tiny, tmp_path):
    room = DiskCache(tiny / "cache", GB, outputs=tmp_path).budget()
    assert room.limited_by_disk
    assert 0.9e6 < room.nbytes < 1.05e6
    assert DiskCache(tiny / "cache", GB, outputs=tiny / "outputs").budget().nbytes == 0


def test_rows_that_were_used_the_longest_ago_make_room_on_a_full_disk(tiny):
    """Plans count on what they take. Once such a run ended in 'No space left on device'."""
    store = DiskCache(tiny / "cache", GB)
    old, newer, new = spaces(store, 3)
    fill(old, range(16), large)
    age(old, 1000)
    fill(newer, range(16, 24), large)
    assert store.budget().nbytes > 20 * 24_000
    fill(new, range(24, 48), large)
    assert [bool(eviction.list_space_segments(space._folder)) for space in (old, newer, new)] == [False, True, True]


def test_older_rows_make_room_for_what_else_a_run_writes(tmp_path, free, monkeypatch):
    store = DiskCache(tmp_path / "cache", GB, outputs=tmp_path)
    old, new = spaces(store, 2)
    fill(old, range(10))
    free(RESERVED_BYTES // 2)  # more than enough for rows alone
    fill(new, range(10))
    assert not eviction.list_space_segments(old._folder)
    assert eviction.list_space_segments(new._folder), (
        "what is left free is no limit: what was planned with more is kept"
    )


def test_a_cache_that_is_off_has_no_room(tmp_path: Path):
    assert DiskCache(tmp_path / "cache", 0).budget() == CacheBudget(0)
