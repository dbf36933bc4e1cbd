import os
import threading
from pathlib import Path

import numpy as np
import pytest

from thaw.cache import DiskCache, rows, segment, writer
from thaw.cache import row_store as row_store_module
from thaw.common.errors import UserError

from .synthetic_rows import KEY, Work, assert_clean, content, digest, fill


def only(space, kind):
    (path,) = space._folder.glob(f"*.{kind}")
    return path


def flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))


def test_what_was_computed_once_is_never_computed_again(store):
    first, computed = fill(store.space(KEY), range(20))
    assert computed == list(range(20))
    assert (first.hits, first.misses) == (0, 20)
    second, computed = fill(DiskCache(store.folder, store.max_bytes).space(dict(reversed(KEY.items()))), range(20))
    assert computed == []
    assert (second.hits, second.misses, second.nbytes) == (20, 0, 20 * 240)


@pytest.mark.parametrize("name", KEY)
def test_whatever_the_key_differs_in_is_another_space(store, name):
    fill(store.space(KEY), range(3))
    other = store.space(KEY | {name: "different"})
    assert other.id != store.space(KEY).id
    assert other.missing([digest(0)]) == [0]
    assert store.space(KEY | {"view": 0}).get([digest(0)]) is None
    assert store.space({k: v for k, v in KEY.items() if k != name}).get([digest(0)]) is None


def test_only_new_images_are_computed(space):
    fill(space, range(10))
    assert space.missing([digest(n) for n in range(8, 13)]) == [2, 3, 4]
    rows, computed = fill(space, range(5, 15))
    assert computed == [10, 11, 12, 13, 14]
    assert (rows.hits, rows.misses) == (5, 5)


def test_one_changed_image_is_one_row_computed(space):
    fill(space, range(10))
    assert fill(space, [0, 1, 2, 77, 4, 5, 6, 7, 8, 9])[1] == [77]


def test_images_that_are_the_same_are_computed_once(space):
    numbers = [3, 1, 3, 2, 1, 3]
    assert space.missing([digest(n) for n in numbers]) == [0, 1, 3]
    rows, computed = fill(space, numbers)
    assert computed == [3, 1, 2]
    assert (rows.hits, rows.misses, len(rows), rows.nbytes) == (3, 3, 6, 3 * 240)


def test_asking_has_no_effect_on_disk(store):
    space = store.space(KEY)
    assert space.missing([digest(0)]) == [0]
    assert space.get([digest(0)]) is None
    assert store.used_bytes() == 0
    assert not store.folder.exists()


def test_nothing_wanted_is_nothing_done(space):
    rows, computed = fill(space, [])
    assert (len(rows), rows.nbytes, computed) == (0, 0, [])
    assert rows.take(np.array([], np.int64)).shape == (0, 0)


def test_a_cache_that_is_off_must_not_be_asked(tmp_path):
    store = DiskCache(tmp_path, 0)
    assert store.disabled
    for call in (lambda: store.space(KEY).get([]), lambda: store.space(KEY).get_or_compute([], Work([]))):
        with pytest.raises(ValueError, match="off"):
            call()


def test_a_digest_is_a_sha256(space):
    with pytest.raises(ValueError, match="64"):
        space.missing(["ab"])


@pytest.mark.parametrize("held", [True, False])
def test_a_flipped_byte_costs_its_own_row_only(space, monkeypatch, capsys, held):
    monkeypatch.setattr(rows, "MAX_MEMORY_BYTES", 1e9 if held else 0)
    fill(space, range(50))
    flip(only(space, "rows"), 17 * 240 + 100)
    assert space.get([digest(17)]) is None
    assert space.get([digest(16), digest(18)]) is not None
    opened, computed = fill(space, range(50))
    assert computed == [17]
    assert (opened.hits, opened.misses) == (49, 1)
    assert "1 damaged row dropped" in capsys.readouterr().out
    assert fill(space, range(50))[1] == []


def test_damaged_and_missing_rows_are_computed_in_one_go(space):
    fill(space, range(10))
    flip(only(space, "rows"), 0)
    flip(only(space, "rows"), 9 * 240)
    assert fill(space, range(12))[1] == [0, 9, 10, 11]


@pytest.mark.parametrize("end", [0, 30, -1])
def test_a_torn_index_is_not_believed(space, end):
    fill(space, range(10))
    index = only(space, "index")
    index.write_bytes(index.read_bytes()[:end])
    assert len(space.missing([digest(n) for n in range(10)])) == 10
    assert fill(space, range(10))[1] == list(range(10))
    assert_clean(space)


def test_an_index_with_a_flipped_byte_is_not_believed(space):
    fill(space, range(10))
    flip(only(space, "index"), 100)
    assert fill(space, range(10))[1] == list(range(10))
    assert_clean(space)


def test_a_missing_data_file_is_noticed(space):
    fill(space, range(10))
    only(space, "rows").unlink()
    assert len(space.missing([digest(n) for n in range(10)])) == 10
    assert fill(space, range(10))[1] == list(range(10))
    assert_clean(space)


def test_of_a_data_file_cut_short_the_rest_is_good(space):
    fill(space, range(10))
    os.truncate(only(space, "rows"), 6 * 240 + 5)
    assert fill(space, range(10))[1] == [6, 7, 8, 9]
    assert_clean(space)


def test_a_disk_that_damages_everything_is_named(space, monkeypatch):
    monkeypatch.setattr(rows.zlib, "crc32", lambda data, start=0: np.random.default_rng().integers(2**32))
    with pytest.raises(UserError, match="is its disk failing"):
        fill(space, range(2))


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_what_was_computed_before_an_exception_stays(space, error):
    def broken(number):
        if number == 6:
            raise error("broken off")
        return content(number)

    with pytest.raises(error):
        fill(space, range(10), broken)
    assert_clean(space)
    assert space.missing([digest(n) for n in range(10)]) == [6, 7, 8, 9]
    assert fill(space, range(10))[1] == [6, 7, 8, 9]


def test_too_few_rows_are_a_defect_and_no_row_is_taken_for_another(space):
    with pytest.raises(ValueError, match="yielded 1 rows of 3"):
        space.get_or_compute([digest(n) for n in range(3)], lambda positions: [content(0)])
    assert fill(space, range(3))[1] == [1, 2]


@pytest.mark.parametrize("held", [0, 10**9])
@pytest.mark.parametrize("pread", ["preadv", "pread", "seek"])
def test_rows_are_the_same_from_memory_and_from_disk(space, monkeypatch, held, pread):
    if pread != "preadv":
        monkeypatch.delattr(segment.os, "preadv")
    if pread == "seek":
        monkeypatch.delattr(segment.os, "pread")
    monkeypatch.setattr(rows, "MAX_MEMORY_BYTES", held)
    monkeypatch.setattr(rows, "CHUNK_BYTES", 1000)  # several rows a chunk, and several chunks
    numbers = [*range(30), 4, 4]
    opened, _ = fill(space, numbers)
    positions = np.array([31, 3, 0, 29, 3])
    taken = opened.take(positions)
    assert taken.dtype == np.uint8
    assert taken.shape == (5, 240)
    assert taken.tobytes() == b"".join(content(numbers[p]).tobytes() for p in positions)
    taken[:] = 0  # a copy
    assert opened.row(3).tobytes() == content(3).tobytes()
    with pytest.raises(ValueError, match="read-only"):
        opened.row(3)[0] = 1


@pytest.mark.parametrize("held", [0, 10**9])
def test_rows_of_any_length_and_type(space, monkeypatch, held):
    def make(number):
        generator = np.random.default_rng(number)
        shape = [(), (0,), (7,), (2, 3), (1000, 3, 1, 2)][number % 5]
        dtype = [np.uint8, np.float16, np.int64][number % 3]
        return np.asarray(generator.integers(0, 100, shape)).astype(dtype)

    monkeypatch.setattr(rows, "MAX_MEMORY_BYTES", held)
    monkeypatch.setattr(rows, "CHUNK_BYTES", 500)  # some rows are longer than a chunk
    fill(space, range(15), make)
    opened, computed = fill(space, range(14, -1, -1), make)
    assert computed == []
    with pytest.raises(ValueError, match="not all of one length"):
        opened.take(np.array([0]))


def test_an_array_that_the_caller_uses_again_is_copied(space):
    buffer = np.zeros(4, np.int64)

    def compute(positions):
        for position in positions:
            buffer[:] = position
            yield buffer

    opened = space.get_or_compute([digest(n) for n in range(5)], compute)
    assert [opened.row(p).view(np.int64).tolist() for p in range(5)] == [[p] * 4 for p in range(5)]


def test_more_than_a_buffer_and_a_segment(space, monkeypatch):
    monkeypatch.setattr(writer, "BUFFER_BYTES", 1000)
    monkeypatch.setattr(writer, "SEGMENT_BYTES", 5000)
    fill(space, range(100))
    assert len(list(space._folder.glob("*.index"))) == 5  # 21 rows are the first to reach 5000 bytes
    assert_clean(space)
    assert fill(space, range(100))[1] == []


def test_slow_work_is_committed_on_the_way_without_making_more_files(space, monkeypatch):
    monkeypatch.setattr(writer, "COMMIT_SECONDS", 0.0)
    seen = []

    def make(number):
        seen.append(10 - len(space.missing([digest(n) for n in range(10)])))
        return content(number)

    space.get_or_compute([digest(n) for n in range(10)], Work(range(10), make))
    assert seen == list(range(10))
    assert len(list(space._folder.glob("*.index"))) == 1
    assert_clean(space)


@pytest.mark.parametrize("held", [0, 10**9])
@pytest.mark.parametrize("pread", [True, False])
def test_threads_may_read_at_once(space, monkeypatch, held, pread):
    if not pread:
        monkeypatch.delattr(segment.os, "preadv")
        monkeypatch.delattr(segment.os, "pread")
    monkeypatch.setattr(rows, "MAX_MEMORY_BYTES", held)
    opened, _ = fill(space, range(100))
    whole = np.stack([content(n).reshape(-1).view(np.uint8) for n in range(100)])
    wrong = []

    def read(seed):
        generator = np.random.default_rng(seed)
        for _ in range(100):
            positions = generator.integers(0, 100, 16)
            if not (opened.take(positions) == whole[positions]).all():
                wrong.append(seed)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_rows_stay_readable_when_their_files_are_gone(space, monkeypatch):
    monkeypatch.setattr(rows, "MAX_MEMORY_BYTES", 0)
    opened, _ = fill(space, range(5))
    for path in space._folder.iterdir():
        path.unlink()
    assert opened.row(3).tobytes() == content(3).tobytes()


def test_no_descriptor_outlives_its_rows(space, monkeypatch):
    if not Path("/proc/self/fd").exists():
        pytest.skip("no /proc here to count open files in")
    fill(space, range(5))
    before = len(list(Path("/proc/self/fd").iterdir()))
    for held in (0, 10**9):
        monkeypatch.setattr(rows, "MAX_MEMORY_BYTES", held)
        for n in range(5):
            fill(space, range(5 + n))
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


def in_memory(opened):
    """Rows that are held are given out as they lie; those that are not are read anew each time."""
    return np.shares_memory(opened.row(0), opened.row(0))


def test_all_rows_of_the_process_share_what_may_be_held_in_memory(store, monkeypatch):
    monkeypatch.setattr(rows, "_held", {})  # without what other tests still hold
    monkeypatch.setattr(rows, "MAX_MEMORY_BYTES", 2 * 2400)
    splits = [fill(store.space(KEY | {"view": view}), range(10))[0] for view in range(3)]
    assert [in_memory(opened) for opened in splits] == [True, True, False]
    row = splits[0].row(3)
    del splits[0]
    assert not in_memory(fill(store.space(KEY), range(10))[0]), "somebody still has a row of it, and so all of it"
    del row
    opened, _ = fill(store.space(KEY), range(10))
    assert in_memory(opened)
    assert not in_memory(fill(store.space(KEY | {"view": 2}), range(1))[0])


def test_memory_of_damaged_rows_is_given_back(space, monkeypatch):
    monkeypatch.setattr(rows, "_held", {})
    monkeypatch.setattr(rows, "MAX_MEMORY_BYTES", 2400)
    fill(space, range(10))
    flip(only(space, "rows"), 100)
    opened, computed = fill(space, range(10))
    assert computed == [0]
    assert in_memory(opened)


def test_spaces_do_not_wait_for_each_other(store):
    outer, inner = store.space(KEY), store.space(KEY | {"kind": "pixels"})

    def make(number):
        return fill(inner, [number])[0].row(0)

    opened = outer.get_or_compute([digest(n) for n in range(3)], Work(range(3), make))
    assert opened.row(2).tobytes() == content(2).tobytes()


def test_the_key_is_written_down_for_people(space):
    fill(space, range(1))
    assert '"backbone": "inceptionv3"' in (space._folder / "space.json").read_text()


def test_rounds_end(space, monkeypatch):
    monkeypatch.setattr(row_store_module, "MAX_ATTEMPTS", 1)
    assert fill(space, range(2))[1] == [0, 1]
