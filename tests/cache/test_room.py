"""What plans may count on: the budget, or what the disk has room for beside what is kept already."""

import shutil
from pathlib import Path

import pytest

from thaw.cache import RESERVE, Room, Store, eviction
from thaw.cache.store import BLOCKS

from .made import KEY, fill
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
    assert Store(tmp_path / "cache", 20 * GB, beside=tmp_path).room() == Room(20 * GB)


def test_on_a_disk_that_is_nearly_full_its_free_bytes_are_the_room(tmp_path, free):
    free(3 * GB)
    store = Store(tmp_path / "cache", 20 * GB, beside=tmp_path / "outputs" / "of runs")
    assert store.room() == Room(3 * GB * (1 - BLOCKS) - RESERVE, disk=True)
    assert store.room(2 * GB).bytes == 3 * GB * (1 - BLOCKS) - 2 * GB, "a large network's checkpoints need more"
    free(0.5 * GB)
    assert store.room() == Room(0.0, disk=True)


def test_what_is_kept_already_counts_as_room(tmp_path, free):
    """Rows that are wanted again take no more, and others are removed for new ones."""
    store = Store(tmp_path / "cache", 20 * GB)
    fill(store.space(KEY), range(10))
    free(1000)
    assert store.room().bytes == store.used() + 1000 * (1 - BLOCKS)


def test_on_another_disk_than_the_outputs_nothing_is_left_free_for_them(tiny, tmp_path):
    room = Store(tiny / "cache", GB, beside=tmp_path).room()
    assert room.disk
    assert 0.9e6 < room.bytes < 1.05e6
    assert Store(tiny / "cache", GB, beside=tiny / "outputs").room().bytes == 0


def test_rows_that_were_used_the_longest_ago_make_room_on_a_full_disk(tiny):
    """Plans count on what they take. Once such a run ended in 'No space left on device'."""
    store = Store(tiny / "cache", GB)
    old, newer, new = spaces(store, 3)
    fill(old, range(16), large)
    age(old, 1000)
    fill(newer, range(16, 24), large)
    assert store.room().bytes > 20 * 24_000
    fill(new, range(24, 48), large)
    assert [bool(eviction.kept_in(space._folder)) for space in (old, newer, new)] == [False, True, True]


def test_older_rows_make_room_for_what_else_a_run_writes(tmp_path, free, monkeypatch):
    store = Store(tmp_path / "cache", GB, beside=tmp_path)
    old, new = spaces(store, 2)
    fill(old, range(10))
    free(RESERVE // 2)  # more than enough for rows alone
    fill(new, range(10))
    assert not eviction.kept_in(old._folder)
    assert eviction.kept_in(new._folder), "what is left free is no limit: what was planned with more is kept"


def test_a_cache_that_is_off_has_no_room(tmp_path: Path):
    assert Store(tmp_path / "cache", 0).room() == Room(0)
