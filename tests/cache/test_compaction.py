"""Many small segments: few descriptors read them, and they are merged without a row being lost."""

import os
import signal
import threading

import numpy as np
import pytest

from thaw.cache import DiskCache, compaction, eviction, file_pool, rows, segment, writer
from thaw.common.errors import UserError

from .synthetic_rows import KEY, assert_clean, content, count, digest, fill, scatter, start
from .test_row_store import flip

FEW = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
rows.MAX_MEMORY_BYTES = 0
space = DiskCache(Path(sys.argv[1]), 1e9).space(KEY)
def opened():
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
"""


def run(script: str, *arguments: object) -> str:
    process = start(FEW + script, *arguments)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0, out
    return out


@pytest.fixture(autouse=True)
def posix():
    pytest.importorskip("resource", reason="limits on open files are a matter of POSIX")


def test_ten_thousand_small_segments_open_with_few_descriptors_and_are_merged(store):
    """As a long extraction once left them, a file for every few seconds."""
    space = store.space(KEY)
    scatter(space, range(10_000))
    script = """
digests = [digest(n) for n in range(10_000)]
before = opened()
asked = space.get(digests)
most = opened()
rows_read = space.get_or_compute(digests, lambda missing: 1 / 0)
for of in (asked, rows_read):
    assert all(of.row(n).tobytes() == content(n).tobytes() for n in range(0, 10_000, 7))
print("opened", most - before, opened() - before)
"""
    most, end = (int(x) for x in run(script, store.folder).split()[1:])
    assert end <= most <= 16
    assert count(space) == 1
    assert_clean(space)
    assert fill(space, range(10_010))[1] == list(range(10_000, 10_010))


def test_a_space_of_many_commits_is_opened_by_reading_few_files(space, monkeypatch):
    """However many runs have each added a row: the next one reads as few indexes as the first of them."""
    monkeypatch.setattr(os, "fsync", lambda file: None)
    reads: list[int] = []
    read_index = segment.read_index

    def counted(path):
        reads.append(1)
        return read_index(path)

    monkeypatch.setattr(segment, "read_index", counted)
    most = 0
    for n in range(300):
        fill(space, [n])
        most = max(most, count(space))
    assert most <= compaction.MAX_SMALL_SEGMENTS + 1
    reads.clear()
    assert fill(space, range(300))[1] == []
    assert len(reads) <= 3 * (compaction.MAX_SMALL_SEGMENTS + 1)


def test_many_short_calls_leave_few_segments_and_few_open_files(store):
    """A scan commits every few thousand files, and whoever reads the rows may keep all that it was given."""
    script = """
results = []
for n in range(200):
    results.append(space.get_or_compute([digest(n)], Work([n])))
assert all(each.row(0).tobytes() == content(n).tobytes() for n, each in enumerate(results))
print("opened", opened())
"""
    assert int(run(script, store.folder).split()[1]) < 40
    assert count(store.space(KEY)) <= compaction.MAX_SMALL_SEGMENTS + 1
    assert fill(store.space(KEY), range(200))[1] == []


def test_rows_that_come_along_make_one_segment_however_often_they_are_committed(store, monkeypatch):
    monkeypatch.setattr(writer, "COMMIT_SECONDS", 0.0)
    space = store.space(KEY)
    fill(space, [3])

    numbers = [n for n in range(100) if n != 3]

    def compute(positions):
        for before, position in zip([None, *positions], positions, strict=False):
            if before is not None:
                assert len(space.missing([digest(numbers[before])])) == 0, "committed at once"
            yield content(numbers[position])

    space.get_or_compute([digest(n) for n in numbers], compute)
    assert count(space) == 2
    assert_clean(space)
    assert fill(space, range(100))[1] == []
    assert sum(len(each.table) for each in segment.read_segments(space._folder)[0]) == 100, "no row twice"


def test_a_computation_that_ends_early_lets_go_of_other_spaces_at_once(store):
    """Their locks would stop the next job of the same process."""
    space, other = store.space(KEY), store.space(KEY | {"view": 1})

    def compute(positions):
        def of_other(of_positions):
            yield content(0)
            for _ in positions:
                yield np.array([object()])  # no row

        yield from other.get_or_compute([digest(0), digest(1)], of_other)

    with pytest.raises(ValueError, match="array of numbers") as error_info:
        space.get_or_compute([digest(n) for n in range(3)], compute)
    assert fill(other, range(2))[1] == [1]
    del error_info


KILLS = {
    "when the rows are copied": "os.fsync = lambda file: die()",
    "before the index has its name": "Path.replace = lambda self, target: die()",
    "when the new segment is committed": "os.utime = lambda path, times: die()",
    "between the old segments": """
from thaw.cache import segment
remove, calls = segment.SegmentFiles.remove, []
def some(self):
    calls.append(1)
    if len(calls) == 7: die()
    remove(self)
segment.SegmentFiles.remove = some
""",
    "between an old index and its rows": """
unlink, calls = Path.unlink, []
def some(self, **how):
    calls.append(1)
    if len(calls) == 8: die()
    unlink(self, **how)
Path.unlink = some
""",
}


@pytest.mark.parametrize("moment", KILLS)
def test_a_merge_that_is_killed_loses_no_row(store, moment):
    space = store.space(KEY)
    scatter(space, range(100), per=2)
    script = "def die(): os.kill(os.getpid(), signal.SIGKILL)\n" + KILLS[moment] + "\ncompaction.merge_small_segments("
    script += "Path(sys.argv[1]), Path(sys.argv[1]) / DiskCache(Path(sys.argv[1]), 1e9).space(KEY).id, 1e9)\n"
    process = start(script, store.folder)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, out
    assert space.missing([digest(n) for n in range(100)]) == []
    assert fill(space, range(101))[1] == [100]
    assert count(space) <= compaction.MAX_SMALL_SEGMENTS + 1
    assert_clean(space)


@pytest.mark.parametrize("most", [1, 128])
def test_rows_that_are_being_read_stay_readable_when_they_are_merged(space, monkeypatch, most):
    """Also when there are more files than may be open: then the rows are looked for again."""
    monkeypatch.setattr(file_pool, "MAX_OPEN_FILES", most)
    monkeypatch.setattr(rows, "MAX_MEMORY_BYTES", 0)
    monkeypatch.setattr(compaction, "MAX_SMALL_SEGMENTS", 50)
    scatter(space, range(40))
    opened, _ = fill(space, range(40))
    monkeypatch.setattr(compaction, "MAX_SMALL_SEGMENTS", 32)
    wrong = []

    def read(seed):
        generator = np.random.default_rng(seed)
        try:
            for n in generator.integers(0, 40, 200).tolist():
                if opened.row(n).tobytes() != content(n).tobytes():
                    wrong.append(n)
        except UserError as error:
            wrong.append(error)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    assert fill(space, range(40))[1] == []
    assert count(space) == 1
    for thread in threads:
        thread.join()
    assert wrong == []
    read(9)
    assert wrong == []


def test_rows_that_were_evicted_and_are_no_longer_open_are_one_clear_error(space, monkeypatch):
    monkeypatch.setattr(file_pool, "MAX_OPEN_FILES", 1)
    monkeypatch.setattr(rows, "MAX_MEMORY_BYTES", 0)
    scatter(space, range(5))
    opened, _ = fill(space, range(5))
    for each in eviction.list_space_segments(space._folder):
        each.remove()
    with pytest.raises(UserError, match=r"the cache can no longer be read: .* Run again"):
        [opened.row(n) for n in range(5)]
    assert fill(space, range(5))[1] == list(range(5))


def test_a_segment_that_is_damaged_is_not_merged_and_costs_its_own_rows_only(space, capsys):
    scatter(space, range(60))
    bad = sorted(space._folder.glob("*.rows"))[7]
    (number,) = [n for n in range(60) if content(n).tobytes() == bad.read_bytes()]
    flip(bad, 100)
    compaction.merge_small_segments(space._cache_folder, space._folder, 1e9)
    assert count(space) == 2
    assert fill(space, range(60))[1] == [number]
    assert "1 damaged row dropped" in capsys.readouterr().out


def test_a_row_that_lies_in_several_segments_is_merged_once(space):
    for _ in range(3):
        scatter(space, range(20))
    compaction.merge_small_segments(space._cache_folder, space._folder, 1e9)
    (merged,) = segment.read_segments(space._folder)[0]
    assert len(merged.table) == 20
    assert fill(space, range(20))[1] == []
    assert_clean(space)


def test_a_merged_segment_was_used_when_the_latest_of_its_rows_was(space):
    scatter(space, range(40))
    latest = max(each.last_used for each in eviction.list_space_segments(space._folder))
    compaction.merge_small_segments(space._cache_folder, space._folder, 1e9)
    (merged,) = eviction.list_space_segments(space._folder)
    assert merged.last_used == pytest.approx(latest, abs=0.01)


@pytest.mark.parametrize("spare", [0, 20])
def test_merging_keeps_to_the_budget(tmp_path, monkeypatch, spare):
    """And goes step by step where there is little room, or leaves all as it is."""
    one = 240 + segment.index_size(1)
    store = DiskCache(tmp_path / "cache", (100 + spare) * one)
    space = store.space(KEY)
    scatter(space, range(100))
    most = [0]
    reserve = compaction._reserve

    def watched(*arguments):
        group = reserve(*arguments)
        most[0] = max(most[0], sum(each.nbytes for each in eviction.list_segments(store.folder)))
        return group

    monkeypatch.setattr(compaction, "_reserve", watched)
    assert fill(space, range(100))[1] == []
    assert most[0] <= store.max_bytes
    assert count(space) == 100 if spare == 0 else count(space) < 20


def test_segments_that_are_large_enough_are_left_alone(space, monkeypatch):
    monkeypatch.setattr(writer, "SEGMENT_BYTES", 2000)
    scatter(space, range(80), per=2)  # each more than an eighth of that
    compaction.merge_small_segments(space._cache_folder, space._folder, 1e9)
    assert count(space) == 40


def test_two_runs_that_merge_and_read_compute_nothing(store):
    space = store.space(KEY)
    scatter(space, range(1500))
    script = """
space = DiskCache(Path(sys.argv[1]), 1e9).space(KEY)
rows.MAX_MEMORY_BYTES, file_pool.MAX_OPEN_FILES = 0, 2
for turn in range(4):
    rows_read = space.get_or_compute([digest(n) for n in range(1500)], lambda missing: 1 / 0)
    assert all(rows_read.row(n).tobytes() == content(n).tobytes() for n in range(0, 1500, 3))
"""
    runs = [start(script, store.folder) for _ in range(3)]
    outs = [run.communicate(timeout=120)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0], outs
    assert outs == [""] * 3, "nothing was waited for or damaged"
    assert count(space) == 1


def test_a_cache_that_may_not_be_written_to_is_read_unmerged(space, monkeypatch):
    scatter(space, range(50))

    def read_only(store, path, todo, max_bytes):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(compaction, "_reserve", read_only)
    assert fill(space, range(50))[1] == []
    assert count(space) == 50


def test_a_quarter_of_what_the_process_may_open_is_enough(monkeypatch):
    import resource

    for allowed, most in ((20_000, 128), (256, 64), (2, 1), (resource.RLIM_INFINITY, 128)):
        monkeypatch.setattr(resource, "getrlimit", lambda kind, allowed=allowed: (allowed, allowed))
        assert file_pool.descriptor_limit() == most
