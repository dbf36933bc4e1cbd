import hashlib

import numpy as np

from thaw.data import scan
from thaw.data.catalog import Catalog
from thaw.data.decode import BadImage

from .pictures import noise, write


def of_files(paths):
    n = len(paths)
    return Catalog(
        tuple(path.name for path in paths),
        tuple(map(str, paths)),
        None,
        np.zeros(n, np.int32),
        ("a",),
        np.zeros(n, np.int8),
    )


def of_arrays(arrays):
    n = len(arrays)
    return Catalog(tuple(map(str, range(n))), None, arrays, np.zeros(n, np.int32), ("a",), np.zeros(n, np.int8))


def test_verdicts_come_in_the_order_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(scan, "BLOCK", 4)
    monkeypatch.setattr(scan, "TASK", 3)
    paths = [write(tmp_path / f"{i}.png", noise(i + 1, 1, seed=i)) for i in range(11)]
    order = [7, 0, 10, 3, 5, 1, 2, 9, 8, 6, 4]
    assert [seen.width - 1 for seen in scan.scan(of_files(paths), order, 32)] == order


def test_a_sound_file_shows_its_size_hash_and_pixels(tmp_path):
    path = write(tmp_path / "1.png", noise(6, 4))
    (seen,) = scan.scan(of_files([path]), [0], 32)
    assert (seen.width, seen.height) == (6, 4)
    assert seen.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert np.array_equal(seen.pixels, np.asarray(noise(6, 4)))


def test_a_picture_that_does_not_fit_is_brought_to_size_but_keeps_its_own_width_and_height(tmp_path):
    (seen,) = scan.scan(of_files([write(tmp_path / "1.png", noise(6, 40))]), [0], 32)
    assert (seen.width, seen.height) == (6, 40)
    assert seen.pixels.shape == (32, 32, 3)


def test_a_bad_file_is_a_verdict_and_not_the_end(tmp_path):
    paths = [write(tmp_path / f"{i}.png") for i in range(3)]
    paths[1].write_bytes(b"no picture")
    first, bad, last = scan.scan(of_files(paths), [0, 1, 2], 32)
    assert isinstance(first, scan.Sound)
    assert isinstance(last, scan.Sound)
    assert isinstance(bad, BadImage)
    assert bad.path == str(paths[1])


def test_arrays_are_scanned_as_files_are():
    arrays = np.stack([np.asarray(noise(4, 4, seed)) for seed in range(2)])
    first, second = scan.scan(of_arrays(arrays), [0, 1], 8)
    assert np.array_equal(second.pixels, arrays[1])
    assert first.sha256 == hashlib.sha256(arrays[0].tobytes()).hexdigest()
