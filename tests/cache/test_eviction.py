import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from thaw.cache import DiskCache, eviction, locks, rows, segment, writer
from thaw.common.errors import UserError

from .synthetic_rows import KEY, Work, assert_clean, content, digest, fill, start

# Ten rows are 2400 bytes and an index of 928.
TEN = 2400 + segment.index_size(10)


def spaces(store, count):
    return [store.space(KEY | {"view": view}) for view in range(count)]


def age(space, seconds):
    for path in space._folder.glob("*.index"):
        status = path.stat()
        os.utime(path, (status.st_atime - seconds, status.st_mtime - seconds))


@pytest.fixture
def watched(monkeypatch):
    """Whatever the writer does, the files of all spaces are looked at before and after; returns the largest seen."""
    largest = [0.0]

    def look(original):
        def wrapped(*arguments):
            result = original(*arguments)
            for folder in folders:
                largest[0] = max(largest[0], sum(each.nbytes for each in eviction.list_segments(folder)))
            return result

        return wrapped

    folders: list[Path] = []
    for module, name in ((os, "write"), (os, "ftruncate"), (os, "fsync"), (segment, "write_index")):
        monkeypatch.setattr(module, name, look(getattr(module, name)))
    return folders, largest


def test_used_counts_all_spaces(store):
    for space in spaces(store, 3):
        fill(space, range(10))
    assert store.used_bytes() == 3 * TEN


def test_the_least_recently_used_goes_first(tmp_path, watched, monkeypatch):
    monkeypatch.setattr(writer, "SEGMENT_BYTES", TEN)
    store = DiskCache(tmp_path / "cache", 8 * TEN)  # a segment is an eighth of it
    watched[0].append(store.folder)
    all_spaces = spaces(store, 12)
    for space in all_spaces[:8]:
        fill(space, range(10))
        age(space, 1000 - int(space.key["view"]))
    assert store.used_bytes() == 8 * TEN
    fill(all_spaces[0], range(10))  # used again: now the newest
    fill(all_spaces[8], range(10))
    assert [bool(space.missing([digest(0)])) for space in all_spaces[:9]] == [False, True] + [False] * 7
    for space in all_spaces[9:]:
        fill(space, range(10))
    assert [bool(space.missing([digest(0)])) for space in all_spaces] == [False] + [True] * 4 + [False] * 7
    assert 0 < watched[1][0] <= store.max_bytes


def test_the_budget_holds_while_several_run(tmp_path):
    store = DiskCache(tmp_path / "cache", 30_000)
    script = """
from thaw.cache import writer
writer.BUFFER_BYTES = 500
for turn in range(6):
    space = DiskCache(Path(sys.argv[1]), 30_000).space(KEY | {"view": int(sys.argv[2]) * 10 + turn})
    work = Work(range(25))
    rows = space.get_or_compute(work.digests, work)
    assert all(rows.row(n).tobytes() == content(n).tobytes() for n in range(25))
"""
    runs = [start(script, store.folder, number) for number in range(3)]
    most = 0
    while any(run.poll() is None for run in runs):
        with locks.cache_lock(store.folder):  # a look that takes time sees what is gone and what took its place
            most = max(most, sum(each.nbytes for each in eviction.list_segments(store.folder)))
        time.sleep(0.001)
    outs = [run.communicate()[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0], outs
    assert 20_000 < most <= store.max_bytes


def test_room_is_promised_before_a_byte_is_written(space, monkeypatch):
    """Or two runs would each find the same room free."""
    monkeypatch.setattr(writer, "BUFFER_BYTES", 1000)
    write, short = os.write, []

    def looked(file, data):
        short.append(os.fstat(file).st_size < os.lseek(file, 0, os.SEEK_CUR) + len(data))
        return write(file, data)

    monkeypatch.setattr(os, "write", looked)
    fill(space, range(20))
    assert short == [False] * 5


def test_what_this_call_needs_is_not_removed(tmp_path):
    store = DiskCache(tmp_path / "cache", 20 * TEN)
    other, space = spaces(store, 2)
    fill(space, range(10))
    age(space, 1000)
    fill(other, range(100))
    assert fill(space, range(120))[1] == list(range(10, 120))
    assert fill(space, range(120))[1] == []
    assert store.used_bytes() <= store.max_bytes


def test_rows_that_exceed_the_budget_are_refused(tmp_path):
    store = DiskCache(tmp_path / "cache", 5 * TEN)
    space = store.space(KEY)
    with pytest.raises(
        UserError, match=r"cache.max_gb=1.6605e-05 is too small: 80 rows of one kind need more than .* GB"
    ):
        fill(space, range(80))
    assert store.used_bytes() <= store.max_bytes
    assert_clean(space)
    fill(space, range(10))


def test_a_few_rows_of_many_segments_do_not_fill_the_budget(tmp_path, monkeypatch):
    """Every segment holds a needed row, but few: the least needed goes, and its needed rows are computed again."""
    monkeypatch.setattr(writer, "SEGMENT_BYTES", 2400)
    store = DiskCache(tmp_path / "cache", 10 * TEN)
    space = store.space(KEY)
    fill(space, range(80))
    wanted = [*range(0, 80, 10), *range(100, 150)]
    _, computed = fill(space, wanted)
    assert set(range(100, 150)) <= set(computed)
    assert set(computed) < set(wanted), "only as much as the room demanded"
    assert store.used_bytes() <= store.max_bytes
    assert fill(space, wanted)[1] == []


def test_evicted_while_it_is_read_is_computed_again_or_still_there(space, monkeypatch):
    fill(space, range(10))
    opening = segment.Segment.open

    def evicted(self):
        monkeypatch.setattr(segment.Segment, "open", opening)
        self.remove()
        return opening(self)

    monkeypatch.setattr(segment.Segment, "open", evicted)
    assert fill(space, range(10))[1] == list(range(10))


def test_evicted_while_it_is_written_is_still_ours(space, monkeypatch):
    monkeypatch.setattr(writer, "COMMIT_SECONDS", 0.0)

    def make(number):
        if number == 5:  # as another run would, whose budget it is too
            for each in eviction.list_space_segments(space._folder):
                each.remove()
        return content(number)

    opened, _ = fill(space, [0])
    opened = space.get_or_compute([digest(n) for n in range(10)], work := Work(range(10), make))
    assert work.done == list(range(1, 10))
    assert [opened.row(n).tobytes() == content(n).tobytes() for n in range(10)] == [True] * 10
    assert fill(space, range(10))[1] == [0, 1, 2, 3, 4, 5]
    assert_clean(space)


def test_garbage_of_a_killed_run_makes_room(tmp_path):
    store = DiskCache(tmp_path / "cache", 4 * TEN)
    dead, live = spaces(store, 2)
    fill(dead, [0])
    (dead._folder / "0123456789abcdef.rows").write_bytes(bytes(3 * TEN))
    fill(live, range(20))
    assert [path.suffix for path in dead._folder.iterdir() if path.suffix == ".rows"] == [".rows"]
    assert fill(dead, [0])[1] == []


def large(number):
    return content(number).repeat(100)  # 24 kB


@pytest.mark.parametrize("foreseen", [True, False])
def test_a_full_disk(tiny, monkeypatch, foreseen):
    if not foreseen:  # somebody else fills it between our look and our write
        monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(1e12, 0, 1e12))
    monkeypatch.setattr(writer, "BUFFER_BYTES", 100_000)
    monkeypatch.setattr(writer, "SEGMENT_BYTES", 300_000)
    space = DiskCache(tiny / "cache", 1e9).space(KEY)
    with pytest.raises(
        UserError, match=r"the cache cannot be written to .*tiny/cache: No space left on device. Set cache"
    ):
        fill(space, range(100), large)
    assert_clean(space)
    committed = 100 - len(space.missing([digest(n) for n in range(100)]))
    assert 20 < committed < 44
    assert fill(space, range(committed), large)[1] == []
    monkeypatch.undo()
    assert fill(space, [*range(100, 102)], content)[1] == [100, 101]


def test_a_disk_without_room_is_not_filled_to_the_brim(space, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(1e12, 1e12, 3000))
    with pytest.raises(UserError, match="No space left on device"):
        fill(space, range(20))
    assert len(space.missing([digest(n) for n in range(20)])) == 20
    fill(space, range(5))


def test_a_write_that_fails_half_way_leaves_nothing_half_written(space, monkeypatch):
    monkeypatch.setattr(writer, "BUFFER_BYTES", 1000)
    write, calls = os.write, []

    def full(file, data):
        calls.append(1)
        if len(calls) == 2:
            return write(file, data[:333])
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        return write(file, data)

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(UserError, match="No space left on device"):
        fill(space, range(10))
    assert_clean(space)
    monkeypatch.undo()
    assert fill(space, range(10))[1] == list(range(10))


def test_an_index_that_cannot_be_written_leaves_nothing(space, monkeypatch):
    def fails(self, target):
        raise OSError(5, "Input/output error")

    fill(space, range(5))
    monkeypatch.setattr(locks.Path, "replace", fails)
    with pytest.raises(UserError, match="Input/output error"):
        fill(space, range(10))
    monkeypatch.undo()
    assert_clean(space)
    assert fill(space, range(10))[1] == [5, 6, 7, 8, 9]


def test_an_error_of_compute_is_not_taken_for_the_disks(space):
    def broken(number):
        raise FileNotFoundError(2, "No such file or directory", "cat.jpg")

    with pytest.raises(FileNotFoundError, match=r"cat\.jpg"):
        fill(space, range(3), broken)


def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "cache").write_text("notes")
    space = DiskCache(tmp_path / "cache", 1e9).space(KEY)
    with pytest.raises(UserError, match=r"cannot be written to .*cache: it is not a folder"):
        fill(space, range(3))


def test_a_cache_that_may_only_be_read_is_read(tiny):
    space = DiskCache(tiny / "cache", 1e9).space(KEY)
    fill(space, range(3))
    subprocess.run(["mount", "-o", "remount,ro", tiny], check=True)
    assert fill(space, range(3))[1] == []
    with pytest.raises(UserError, match="Read-only file system"):
        fill(space, range(4))


def test_memory_stays_flat_while_checking(space, monkeypatch):
    monkeypatch.setattr(rows, "MAX_MEMORY_BYTES", 0)
    monkeypatch.setattr(rows, "CHUNK_BYTES", 10_000)
    sizes = []
    empty = rows.np.empty

    def counted(shape, dtype=float):
        sizes.append(shape)
        return empty(shape, dtype)

    monkeypatch.setattr(rows.np, "empty", counted)
    space.get_or_compute([digest(n) for n in range(20)], Work(range(20), large))
    assert max(size for size in sizes if isinstance(size, int)) <= 10_000
