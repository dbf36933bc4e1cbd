import numpy as np
import pytest

from thaw.data import pixels, scan
from thaw.data.decode import resize
from thaw.errors import UserError

from .pictures import noise, write
from .test_scan import of_arrays, of_files


def files(folder, sizes):
    return [write(folder / f"{i}.png", noise(*size, seed=i)) for i, size in enumerate(sizes)]


def read(catalog, image_size, **options):
    return pixels.read(catalog, np.arange(len(catalog)), image_size, **options)


def test_pictures_of_one_small_size_are_kept_as_they_are(tmp_path):
    got = read(of_files(files(tmp_path, [(6, 4)] * 3)), 8)
    assert got.size == (4, 6)
    assert got.held.shape == (3, 4, 6, 3)
    assert np.array_equal(got.get(2), np.asarray(noise(6, 4, 2)))


@pytest.mark.parametrize(
    "sizes", [[(6, 4), (6, 4), (4, 6)], [(6, 4), (30, 4)], [(30, 30), (6, 4)], [(30, 20)] * 2, [(6, 4), (8, 8), (6, 4)]]
)
def test_pictures_of_several_sizes_are_each_resized_once_from_the_original(tmp_path, sizes):
    got = read(of_files(files(tmp_path, sizes)), 8)
    assert got.size == (8, 8)
    for i, size in enumerate(sizes):
        assert np.array_equal(got.get(i), np.asarray(resize(noise(*size, seed=i), (8, 8))))


@pytest.mark.parametrize("sizes", [[(6, 4)] * 3, [(6, 4), (30, 20), (8, 8)]])
def test_what_does_not_fit_in_memory_is_decoded_at_each_access_with_the_same_pixels(tmp_path, sizes):
    catalog = of_files(files(tmp_path, sizes))
    held, not_held = read(catalog, 8), read(catalog, 8, max_bytes=100)
    assert not_held.held is None
    assert not_held.size == held.size
    assert np.array_equal(not_held.take(np.arange(3)), held.take(np.arange(3)))
    assert not_held.sha256 == held.sha256


def test_pictures_that_stop_fitting_when_sizes_differ_are_let_go(tmp_path):
    got = read(of_files(files(tmp_path, [(2, 2), (2, 2), (9, 9)])), 8, max_bytes=3 * 8 * 8 * 3 - 1)
    assert got.held is None
    assert got.get(0).shape == (8, 8, 3)


def test_a_file_is_decoded_once(tmp_path, monkeypatch):
    seen = []
    decode = scan.decode
    monkeypatch.setattr(scan, "decode", lambda content, name: seen.append(name) or decode(content, name))
    catalog = of_files(files(tmp_path, [(6, 4), (30, 20), (8, 8)]))
    got = read(catalog, 8)
    got.take(np.array([0, 1, 2]))
    assert sorted(seen) == sorted(catalog.paths)


def test_only_what_is_asked_for_is_read(tmp_path):
    paths = files(tmp_path, [(6, 4)] * 4)
    paths[1].write_bytes(b"bad")
    got = pixels.read(of_files(paths), np.array([3, 0]), 8)
    assert got.indices.tolist() == [0, 3]
    assert np.array_equal(got.take(np.array([3, 0, 3]))[0], np.asarray(noise(6, 4, 3)))
    for index in (1, 2, 4):
        with pytest.raises(IndexError):
            got.get(index)


def test_arrays_too_large_are_shrunk():
    arrays = np.stack([np.asarray(noise(16, 16, seed)) for seed in range(2)])
    assert np.array_equal(read(of_arrays(arrays), 8).get(1), np.asarray(resize(noise(16, 16, 1), (8, 8))))
    assert np.array_equal(read(of_arrays(arrays), 16).held, arrays)


def test_all_bad_pictures_are_named_at_once(tmp_path):
    paths = files(tmp_path, [(64, 64)] * 3)
    paths[0].write_bytes(paths[0].read_bytes()[:500])
    paths[2].write_bytes(b"")
    with pytest.raises(UserError) as caught:
        read(of_files(paths), 8)
    said = str(caught.value)
    assert said.startswith("2 of 3 images cannot be read:")
    assert f"{paths[0]}: image file is truncated" in said
    assert f"{paths[2]}: the file is empty" in said
    assert "remove them" in said


def test_a_long_list_of_bad_pictures_is_cut(tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(25)]
    with pytest.raises(UserError, match=r"25 of 25 images[\s\S]*and 5 more") as caught:
        read(of_files(paths), 8)
    assert str(caught.value).count("no such file") == 20
