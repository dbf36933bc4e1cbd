import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from thaw.cache import DiskCache
from thaw.common.errors import UserError
from thaw.data import dataset_cache, pixel_stores, pixels, probe, scan
from thaw.data.dataset_cache import OVERHEAD_BYTES
from thaw.data.decode import decode, resize

from .catalogs import catalog_of_arrays, catalog_of_files
from .pictures import noise, photo, turned, write_image

MIXED = [(6, 4), (30, 20), (8, 8), (6, 4), (9, 2)]


def files(folder, sizes):
    return [write_image(folder / f"{i}.png", noise(*size, seed=i)) for i, size in enumerate(sizes)]


def read(catalog, image_size, store=None):
    return pixels.of_catalog(catalog, np.arange(len(catalog)), image_size, store)


def take_all(loaded):
    return loaded.take(loaded.indices)


def resized(image, size=8):
    return np.asarray(resize(image, (size, size)))


@pytest.fixture
def store(tmp_path):
    return DiskCache(tmp_path / "store", 1e9)


@pytest.fixture
def decoded(monkeypatch):
    """The paths that were decoded, in any order."""
    paths, decode = [], probe.decode
    monkeypatch.setattr(probe, "decode", lambda content, name, *how: paths.append(name) or decode(content, name, *how))
    return paths


@pytest.fixture(params=["no cache", "in the cache", "too large for the cache", "too large for memory too"])
def any_store(request, tmp_path, monkeypatch):
    """Return a cache, or None, such that pixels come from each place in turn."""
    if request.param == "too large for memory too":
        monkeypatch.setattr(pixel_stores, "MAX_BUFFER_BYTES", 300)
    budget = {"in the cache": 1e9, "too large for the cache": len(MIXED) * dataset_cache.OVERHEAD_BYTES}.get(
        request.param
    )
    return DiskCache(tmp_path / "store", budget) if budget else None


def test_every_picture_has_one_size_and_the_same_pixels_wherever_they_come_from(tmp_path, any_store):
    catalog = catalog_of_files(files(tmp_path, MIXED))
    for _ in range(2):
        loaded = read(catalog, 8, any_store)
        assert take_all(loaded).shape == (5, 8, 8, 3)
        for i, size in enumerate(MIXED):
            assert np.array_equal(loaded.get(i), resized(noise(*size, seed=i)))
        assert np.array_equal(loaded.sample(np.array([3, 1, 3])), loaded.take(np.array([3, 1, 3])))
        assert list(zip(loaded.widths, loaded.heights, strict=True)) == MIXED


def test_photos_are_what_prediction_sees_and_keep_the_size_of_their_files(tmp_path, any_store):
    paths = [tmp_path / f"{i}.jpg" for i in range(5)]
    for i, path in enumerate(paths):
        path.write_bytes(turned(photo(300 + i, 200, i), 1 + i))
    for _ in range(2):
        loaded = read(catalog_of_files(paths), 8, any_store)
        assert np.array_equal(take_all(loaded), np.stack([decode(path, size=(8, 8)).resized(8) for path in paths]))
        assert loaded.widths.tolist() == [300, 301, 302, 303, 200]
        assert loaded.heights.tolist() == [200, 200, 200, 200, 304]


def test_a_second_read_decodes_nothing_and_gives_the_same(tmp_path, store, decoded):
    catalog = catalog_of_files(files(tmp_path, MIXED))
    first = read(catalog, 8, store)
    before = take_all(first)
    assert sorted(decoded) == sorted(catalog.paths)
    decoded.clear()
    second = read(catalog, 8, store)
    assert np.array_equal(take_all(second), before)
    assert second.sha256 == first.sha256
    assert np.array_equal([second.widths, second.heights], [first.widths, first.heights])
    assert decoded == []


def test_another_folder_with_the_same_pictures_is_known(tmp_path, store, decoded):
    read(catalog_of_files(files(tmp_path / "a", MIXED)), 8, store)
    shutil.move(tmp_path / "a", tmp_path / "b")
    decoded.clear()
    moved = sorted((tmp_path / "b").iterdir(), reverse=True)
    assert np.array_equal(read(catalog_of_files(moved), 8, store).get(0), resized(noise(9, 2, seed=4)))
    assert decoded == []


def test_another_image_size_decodes_once_when_pixels_are_wanted(tmp_path, store, decoded):
    catalog = catalog_of_files(files(tmp_path, MIXED))
    read(catalog, 8, store)
    decoded.clear()
    loaded = read(catalog, 16, store)
    assert list(zip(loaded.widths, loaded.heights, strict=True)) == MIXED
    assert decoded == []  # probe results do not depend on the image size
    for _ in range(2):
        assert np.array_equal(loaded.get(1), resized(noise(30, 20, seed=1), 16))
        assert sorted(decoded) == sorted(catalog.paths)
        loaded = read(catalog, 16, store)


def test_a_changed_file_alone_is_decoded_anew(tmp_path, store, decoded):
    paths = files(tmp_path, MIXED)
    take_all(read(catalog_of_files(paths), 8, store))
    decoded.clear()
    write_image(paths[2], noise(5, 5, seed=77))
    loaded = read(catalog_of_files(paths), 8, store)
    assert np.array_equal(loaded.get(2), resized(noise(5, 5, seed=77)))
    assert np.array_equal(loaded.get(3), resized(noise(6, 4, seed=3)))
    assert decoded == [str(paths[2])]


def test_another_version_of_the_decoder_decodes_anew(tmp_path, store, decoded, monkeypatch):
    catalog = catalog_of_files(files(tmp_path, MIXED))
    read(catalog, 8, store)
    decoded.clear()
    monkeypatch.setattr(dataset_cache.decode, "VERSION", -1)
    take_all(read(catalog, 8, store))
    assert sorted(decoded) == sorted(catalog.paths)


def rows_of(store, kind):
    for folder in store.folder.iterdir():
        key = folder / "space.json"
        if key.exists() and f'"{kind}"' in key.read_text():
            return next(folder.glob("*.rows"))
    raise AssertionError(f"no space of {kind}")


@pytest.mark.parametrize("kind", ["pixels", "verdicts"])
def test_what_is_damaged_on_disk_is_decoded_again(tmp_path, store, decoded, kind):
    catalog = catalog_of_files(files(tmp_path, MIXED))
    before = take_all(read(catalog, 8, store))
    decoded.clear()
    rows = rows_of(store, kind)
    content = bytearray(rows.read_bytes())
    content[5] ^= 255  # in the first row
    rows.write_bytes(content)
    loaded = read(catalog, 8, store)
    assert np.array_equal(take_all(loaded), before)
    assert list(zip(loaded.widths, loaded.heights, strict=True)) == MIXED
    assert decoded == [catalog.paths[0]]


@pytest.mark.parametrize("off", [None, 0.0])
def test_without_a_store_nothing_is_written_and_a_file_is_decoded_once_a_run(tmp_path, decoded, off):
    store = None if off is None else DiskCache(tmp_path / "store", off)
    catalog = catalog_of_files(files(tmp_path / "pictures", MIXED))
    loaded = read(catalog, 8, store)
    take_all(loaded)
    take_all(loaded)
    assert sorted(decoded) == sorted(catalog.paths)
    assert [path.name for path in tmp_path.iterdir()] == ["pictures"]


def test_pixels_too_large_for_the_budget_are_not_written_but_probe_results_are(tmp_path, decoded):
    catalog = catalog_of_files(files(tmp_path, MIXED))
    tight = DiskCache(tmp_path / "store", len(MIXED) * (3 * 8 * 8 + dataset_cache.OVERHEAD_BYTES) - 1)
    read(catalog, 8, tight)
    assert {path.name for path in tight.folder.iterdir() if path.is_dir()} - {"locks"} == {result_folder(tight)}
    decoded.clear()
    loaded = read(catalog, 8, tight)
    assert decoded == []
    take_all(loaded)
    take_all(loaded)
    assert sorted(decoded) == sorted(catalog.paths)  # in memory from the first access on


def test_cache_bytes_cover_what_is_written(tmp_path, store):
    loaded = read(catalog_of_files(files(tmp_path / "data", [(30, 20), (8, 8), (5, 7), (90, 40)])), 16, store)
    take_all(loaded)
    assert loaded.cache_bytes >= sum(file.stat().st_size for file in store.folder.rglob("*") if file.is_file())
    assert loaded.cache_bytes <= 3 * (16 * 16 * 2 + 64 + 35) + OVERHEAD_BYTES * 4
    assert (
        read(catalog_of_files(files(tmp_path / "more", [(30, 20)] * 4)), 16).cache_bytes == OVERHEAD_BYTES * 4
    )  # in memory


def test_a_budget_that_is_met_to_the_byte_is_enough(tmp_path):
    catalog = catalog_of_files(files(tmp_path, [(20, 20)] * 30))
    exact = DiskCache(tmp_path / "store", 30 * (3 * 8 * 8 + dataset_cache.OVERHEAD_BYTES))
    for _ in range(2):
        assert take_all(read(catalog, 8, exact)).shape == (30, 8, 8, 3)
    assert exact.used_bytes() <= exact.max_bytes
    assert take_all(read(catalog, 8, DiskCache(tmp_path / "other", 10))).shape == (30, 8, 8, 3)


def result_folder(store):
    return rows_of(store, "verdicts").parent.name


def test_equal_files_share_their_pixels(tmp_path, store):
    paths = files(tmp_path, [(6, 4)] * 3)
    shutil.copy(paths[0], paths[2])
    loaded = read(catalog_of_files(paths), 8, store)
    assert np.array_equal(loaded.get(0), loaded.get(2))
    assert loaded.digests(np.array([0, 1]))[0] == loaded.digests(np.array([2]))[0] == loaded.sha256[2]


@pytest.mark.parametrize("change", ["changed", "gone"])
def test_a_file_that_is_no_longer_what_was_read_is_named_and_not_used(tmp_path, any_store, monkeypatch, change):
    paths = files(tmp_path, MIXED)
    catalog = catalog_of_files(paths)
    if any_store is None:
        monkeypatch.setattr(pixel_stores, "MAX_BUFFER_BYTES", 0)
    else:
        take_all(read(catalog, 32, any_store))  # stores probe results, and pixels of another size
    loaded = read(catalog, 8, any_store)
    paths[1].unlink() if change == "gone" else write_image(paths[1], noise(30, 20, seed=99))
    for method in (loaded.take, loaded.sample):
        with pytest.raises(UserError, match=r"1\.png: (no such file|it has changed since)"):
            method(np.array([1]))


def test_cached_pixels_need_no_files(tmp_path, store):
    paths = files(tmp_path, MIXED)
    loaded = read(catalog_of_files(paths), 8, store)
    for path in paths:
        path.unlink()
    assert take_all(loaded).shape == (5, 8, 8, 3)


def test_only_what_is_asked_for_is_read(tmp_path, store):
    paths = files(tmp_path, [(6, 4)] * 4)
    paths[1].write_bytes(b"bad")
    loaded = pixels.of_catalog(catalog_of_files(paths), np.array([3, 0]), 8, store)
    assert loaded.indices.tolist() == [0, 3]
    assert np.array_equal(loaded.take(np.array([3, 0, 3]))[0], resized(noise(6, 4, 3)))
    for index in (1, 2, 4):
        with pytest.raises(IndexError):
            loaded.get(index)
        with pytest.raises(IndexError):
            loaded.digests(np.array([index]))


def test_many_threads_see_the_same_pixels(tmp_path, any_store):
    loaded = read(catalog_of_files(files(tmp_path, MIXED)), 8, any_store)
    orders = [np.random.default_rng(n).integers(0, 5, 7) for n in range(40)]
    with ThreadPoolExecutor(8) as threads:
        taken = list(threads.map(loaded.take, orders))
    assert all(np.array_equal(images, loaded.take(order)) for images, order in zip(taken, orders, strict=True))


def test_arrays_are_returned_at_the_size_asked_for_and_never_written(store):
    arrays = np.stack([np.asarray(noise(16, 12, seed)) for seed in range(2)])
    for size in (8, 12, 16, 20):
        loaded = read(catalog_of_arrays(arrays), size, store)
        assert np.array_equal(take_all(loaded), np.stack([resized(noise(16, 12, seed), size) for seed in range(2)]))
        assert (loaded.widths[0], loaded.heights[0]) == (16, 12)
    assert not store.folder.exists()


def test_returned_images_may_be_changed(tmp_path, any_store):
    loaded = read(catalog_of_files(files(tmp_path, [(8, 8)] * 5)), 8, any_store)
    before = loaded.get(0).copy()
    loaded.take(np.array([0]))[:] = 0
    assert np.array_equal(loaded.get(0), before)


@pytest.mark.parametrize("cached", [False, True])
def test_all_bad_pictures_are_named_at_once_and_not_stored(tmp_path, store, cached):
    paths = files(tmp_path, [(64, 64)] * 3)
    paths[0].write_bytes(paths[0].read_bytes()[:500])
    paths[2].write_bytes(b"")
    for _ in range(1 + cached):
        with pytest.raises(UserError) as caught:
            read(catalog_of_files(paths), 8, store)
    message = str(caught.value)
    assert message.startswith("2 of 3 images cannot be used:")
    assert f"{paths[0]}: truncated: the PNG file is truncated" in message
    assert f"{paths[2]}: empty: the file is empty" in message
    assert "remove them" in message


def test_what_was_sound_among_bad_ones_is_cached(tmp_path, store, decoded):
    paths = files(tmp_path, MIXED)
    paths[0].write_bytes(b"bad")
    with pytest.raises(UserError):
        read(catalog_of_files(paths), 8, store)
    decoded.clear()
    take_all(read(catalog_of_files(paths[1:]), 8, store))
    assert decoded == []


def test_large_scans_are_committed_in_pieces(tmp_path, store, decoded, monkeypatch):
    monkeypatch.setattr(scan, "COMMIT_BYTES", 200)
    monkeypatch.setattr(probe, "BLOCK_FILES", 2)
    added, add = [], dataset_cache.DatasetCache.add
    monkeypatch.setattr(
        dataset_cache.DatasetCache,
        "add",
        lambda self, probes: add(self, [added.append(probed) or probed for probed in probes]),
    )
    catalog = catalog_of_files(files(tmp_path, MIXED))
    once = take_all(read(catalog, 8, store))
    assert [probed.sha256 for probed in added] == list(read(catalog, 8).sha256)  # each once
    decoded.clear()
    assert np.array_equal(take_all(read(catalog, 8, store)), once)
    assert decoded == []


def test_a_long_list_of_bad_pictures_is_cut(tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(25)]
    with pytest.raises(UserError, match=r"25 of 25 images[\s\S]*and 5 more") as caught:
        read(catalog_of_files(paths), 8)
    assert str(caught.value).count("no such file") == 20
