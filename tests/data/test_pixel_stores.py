import shutil
import threading

import numpy as np
import pytest

from thaw.cache import DiskCache
from thaw.data import pixel_stores
from thaw.data.pixel_stores import CacheStore, MemoryBuffer, MemoryStore


class NumberedFiles:
    """Stands in for SourceFiles: the image of row n is filled with n."""

    sha256 = tuple(f"{n:064x}" for n in range(20))

    def __init__(self):
        self.decoded = []

    def decode(self, row):
        self.decoded.append(row)
        return np.full((2, 2, 3), row, np.uint8)


def numbers(images):
    return [int(image[0, 0, 0]) for image in images]


def test_what_fits_into_memory_is_decoded_once():
    files = NumberedFiles()
    store = MemoryStore(files, MemoryBuffer())
    assert numbers(store.take([3, 1, 3])) == numbers(store.sample([3, 1, 3])) == [3, 1, 3]
    assert files.decoded == [3, 1]


def test_a_buffer_that_is_exceeded_stays_empty(monkeypatch):
    monkeypatch.setattr(pixel_stores, "MAX_BUFFER_BYTES", 3 * 12)
    buffer = MemoryBuffer()
    for row in range(4):
        buffer.put(row, np.zeros((2, 2, 3), np.uint8))
        assert (buffer.get(0) is not None) == (row < 3)
    buffer.put(9, np.zeros((1, 1, 3), np.uint8))
    assert buffer.get(9) is None


def test_concurrent_threads_open_and_fill_the_space_once(tmp_path, monkeypatch):
    files, opened = NumberedFiles(), []
    space = DiskCache(tmp_path, 1e6).space({"kind": "test"})
    rows = space.get_or_compute
    monkeypatch.setattr(space, "get_or_compute", lambda *arguments: opened.append(1) or rows(*arguments))
    store = CacheStore(files, space)
    ready, results = threading.Barrier(8), []

    def work(n):
        ready.wait()
        results.append((n, numbers(store.take([n, 19 - n]))))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [(n, [n, 19 - n]) for n in range(8)]
    assert sorted(files.decoded) == list(range(20))
    assert len(opened) == 1


def test_without_room_on_the_disk_images_are_the_same_and_decoded_each_time(tmp_path, monkeypatch, capsys):
    files = NumberedFiles()
    store = CacheStore(files, DiskCache(tmp_path, 1e6).space({"kind": "test"}))
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(1e9, 1e9, 20))
    for _ in range(2):
        assert numbers(store.take([7, 3, 19])) == [7, 3, 19]
    assert numbers(store.sample([5])) == [5]
    assert capsys.readouterr().out.count("decoded images are not kept: the cache cannot be written to") == 1


def test_a_sample_decodes_what_it_shows_and_nothing_else(tmp_path):
    files = NumberedFiles()
    space = DiskCache(tmp_path, 1e6).space({"kind": "test"})
    store = CacheStore(files, space)
    assert numbers(store.sample([5, 2])) == [5, 2]
    assert files.decoded == [5, 2]
    assert numbers(store.take([5])) == [5]  # fills it
    files.decoded.clear()
    assert numbers(store.sample([7, 7, 1])) == numbers(CacheStore(files, space).sample([7, 7, 1])) == [7, 7, 1]
    assert files.decoded == []


def test_a_fill_that_fails_is_resumed(tmp_path):
    class Broken(NumberedFiles):
        def decode(self, row):
            if row == 17 and 17 not in self.decoded:
                self.decoded.append(17)
                raise ValueError("seventeen")
            return super().decode(row)

    files = Broken()
    store = CacheStore(files, DiskCache(tmp_path, 1e6).space({"kind": "test"}))
    with pytest.raises(ValueError, match="seventeen"):
        store.take([0])
    files.decoded = [17]
    assert numbers(store.take([0, 17])) == [0, 17]
    assert sorted(files.decoded[1:]) == [16, 17, 18, 19]  # those before the failure were stored
