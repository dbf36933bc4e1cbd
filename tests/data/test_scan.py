import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from thaw.cache import DiskCache
from thaw.common.errors import UserError
from thaw.config.schema import DatasetConfig
from thaw.data import corrupt_files, dataset_cache, image_folder, pixels, probe, scan

from .catalogs import catalog_of_arrays, catalog_of_files
from .pictures import encoded, noise, photo, write_image
from .planted import plant


@pytest.fixture
def store(tmp_path):
    return DiskCache(tmp_path / "store", 1e9)


def scan_with(catalog, store=None, **options):
    return scan.scan_catalog(catalog, dataset_cache.plan_spaces(store, 8, len(catalog)), **options)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "pictures"
    return folder, plant(folder)


@pytest.mark.parametrize("cached", [False, True])
def test_every_planted_fault_is_found_by_path_and_kind_and_nothing_else(planted, tmp_path, store, cached):
    folder, expected_files = planted
    assert len(expected_files.faults) >= 40
    assert len(set(expected_files.faults.values())) >= 25
    catalog = image_folder.load_catalog(DatasetConfig(name="image_folder", path=str(folder)))
    for _ in range(1 + cached):
        result = scan_with(catalog, store)
    assert {bad.name: bad.kind for bad in result.bad_files} == expected_files.faults
    assert set(result.catalog.names) == set(expected_files.clean)
    assert catalog.ignored == expected_files.ignored
    assert set(expected_files.faults.values()) <= set(corrupt_files.KINDS)


def test_a_planted_folder_is_left_as_it_was(planted, store):
    folder, _ = planted
    before = {path: path.lstat() for path in sorted(folder.rglob("*"))}
    scan_with(image_folder.load_catalog(DatasetConfig(name="image_folder", path=str(folder))), store)
    after = {path: path.lstat() for path in sorted(folder.rglob("*"))}
    assert [(p, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for p, s in before.items()] == [
        (p, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for p, s in after.items()
    ]


@pytest.fixture
def accesses(monkeypatch):
    """Return the paths that were read and decoded, in any order; every file counts as settled."""
    monkeypatch.setattr(probe, "SETTLE_SECONDS", -60.0)
    accesses, read, decode = {"read": [], "decoded": []}, probe.read_bytes_and_stats, probe.decode
    monkeypatch.setattr(probe, "read_bytes_and_stats", lambda path: accesses["read"].append(path) or read(path))
    monkeypatch.setattr(
        probe, "decode", lambda content, name, *how: accesses["decoded"].append(name) or decode(content, name, *how)
    )
    return accesses


def clear(accesses):
    accesses["read"].clear()
    accesses["decoded"].clear()


def assert_same(one, other):
    assert np.array_equal(one.sizes, other.sizes)
    for field in ("sha256", "modes", "formats", "notes", "bad_files"):
        assert getattr(one, field) == getattr(other, field)


def folder_of(path):
    paths = [write_image(path / f"{i}.png", noise(4 + i, 3, i)) for i in range(6)]
    paths[2].write_bytes(b"bad")
    paths[4].write_bytes(encoded(photo(20, 10).convert("CMYK"), "JPEG"))
    return paths


def test_results_are_in_the_catalogs_order(tmp_path):
    paths = folder_of(tmp_path)
    result = scan_with(catalog_of_files(paths))
    assert result.catalog.names == ("0.png", "1.png", "3.png", "4.png", "5.png")
    assert result.sizes.tolist() == [[4, 3], [5, 3], [7, 3], [20, 10], [9, 3]]
    assert result.modes == ("RGB", "RGB", "RGB", "CMYK", "RGB")
    assert result.formats == ("PNG", "PNG", "PNG", "JPEG", "PNG")
    (bad,) = result.bad_files
    assert (bad.name, bad.path, bad.label, bad.kind) == ("2.png", str(paths[2]), "a", "text")


def test_unchanged_files_are_not_read_again(tmp_path, store, accesses):
    catalog = catalog_of_files(folder_of(tmp_path / "pictures"))
    first = scan_with(catalog, store)
    assert sorted(accesses["decoded"]) == sorted(catalog.paths)
    clear(accesses)
    assert_same(scan_with(catalog, store), first)
    assert accesses == {"read": [], "decoded": []}


def test_a_file_that_was_touched_is_read_and_one_that_was_moved_is_not_decoded(tmp_path, store, accesses):
    paths = folder_of(tmp_path / "pictures")
    scan_with(catalog_of_files(paths), store)
    clear(accesses)
    os.utime(paths[0])
    paths[5] = paths[5].rename(tmp_path / "elsewhere.png")
    scan_with(catalog_of_files(paths), store)
    assert accesses == {"read": [str(paths[0]), str(paths[5])], "decoded": []}


def test_a_changed_file_is_probed_again(tmp_path, store, accesses):
    paths = folder_of(tmp_path / "pictures")
    scan_with(catalog_of_files(paths), store)
    clear(accesses)
    write_image(paths[2], noise(9, 9))
    paths[1].write_bytes(b"")
    result = scan_with(catalog_of_files(paths), store)
    assert [(bad.name, bad.kind) for bad in result.bad_files] == [("1.png", "empty")]
    assert result.sizes[1].tolist() == [9, 9]
    assert sorted(accesses["decoded"]) == [str(paths[1]), str(paths[2])]


@pytest.mark.parametrize("kind", ["stamps", "verdicts"])
def test_damage_on_the_caches_disk_changes_nothing(tmp_path, store, accesses, kind):
    catalog = catalog_of_files(folder_of(tmp_path / "pictures"))
    first = scan_with(catalog, store)
    (folder,) = (key.parent for key in store.folder.glob("*/space.json") if f'"{kind}"' in key.read_text())
    rows = next(folder.glob("*.rows"))
    content = bytearray(rows.read_bytes())
    content[5] ^= 255
    rows.write_bytes(content)
    for _ in range(2):
        assert_same(scan_with(catalog, store), first)
    clear(accesses)
    assert_same(scan_with(catalog, store), first)
    assert accesses == {"read": [], "decoded": []}  # recomputed


def test_a_file_that_vanishes_while_its_result_is_recomputed_is_named(tmp_path, store, accesses, monkeypatch):
    paths = folder_of(tmp_path / "pictures")
    scan_with(catalog_of_files(paths), store)
    monkeypatch.setattr(dataset_cache.DatasetCache, "results", lambda self, hashes, reprobe: [reprobe(0)])
    paths[0].unlink()
    monkeypatch.setattr(scan, "stat_hash", lambda path: None if path == str(paths[0]) else probe.stat_hash(path))
    monkeypatch.setattr(dataset_cache.DatasetCache, "known_hashes", lambda self, stat_hashes: ["0" * 64] * len(paths))
    monkeypatch.setattr(dataset_cache.DatasetCache, "without_result", lambda self, hashes: [])
    with pytest.raises(UserError, match=r"0\.png: no such file"):
        scan_with(catalog_of_files(paths), store)


def test_pixels_that_will_not_all_be_used_do_not_fill_the_cache(tmp_path, store):
    paths = [write_image(tmp_path / f"{i}.png", noise(8, 8, i)) for i in range(40)]
    spaces = dataset_cache.plan_spaces(store, 8, 40, 3)
    result = scan.scan_catalog(catalog_of_files(paths), spaces, with_pixels=False)
    before = store.used_bytes()
    assert before < 40 * 400
    chosen = pixels.of_scan(result, np.array([4, 7, 11]), spaces)
    assert np.array_equal(chosen.get(7), np.asarray(noise(8, 8, 7)))
    assert store.used_bytes() - before < 3 * 8 * 8 * 3 + 3 * dataset_cache.OVERHEAD_BYTES


def test_a_small_budget_is_not_exceeded_by_what_is_known_of_images_that_are_not_used(tmp_path):
    paths = [write_image(tmp_path / f"{i}.png", noise(8, 8, i)) for i in range(40)]
    for budget, verdicts, kept_pixels in [
        (40, True, False),
        (39.9, False, False),
        (40 + 3 * 8 * 8 * 3 / 640, True, True),
    ]:
        small = DiskCache(tmp_path / f"store{budget}", budget * dataset_cache.OVERHEAD_BYTES)
        spaces = dataset_cache.plan_spaces(small, 8, 40, 3)
        assert (spaces.probe_results is not None, spaces.pixels is not None) == (verdicts, kept_pixels)
        result = scan.scan_catalog(catalog_of_files(paths), spaces, with_pixels=False)
        pixels.of_scan(result, np.arange(3), spaces).get(1)
        assert small.used_bytes() <= small.max_bytes


def test_a_scan_on_a_disk_without_room_finds_what_it_finds_with_room(tmp_path, store, accesses, monkeypatch):
    """Files whose content is known are not decoded again."""
    paths = [write_image(tmp_path / f"{i}.png", noise(5, 5, seed=i)) for i in range(6)]
    (tmp_path / "7.png").write_bytes(b"no picture")
    paths += [shutil.copy(paths[0], tmp_path / "6.png"), tmp_path / "7.png", shutil.copy(paths[5], tmp_path / "8.png")]
    expected = scan_with(catalog_of_files(paths), DiskCache(tmp_path / "other", 1e9))
    scan_with(catalog_of_files(paths[:3]), store)
    clear(accesses)
    # After the plan: another process has filled the disk.
    spaces = dataset_cache.plan_spaces(store, 8, len(paths))
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(1e9, 1e9, 20))
    result = scan.scan_catalog(catalog_of_files(paths), spaces)
    assert {Path(path).name for path in accesses["decoded"]} >= {"3.png", "4.png", "7.png"}
    assert not {Path(path).name for path in accesses["decoded"]} & {"0.png", "1.png", "2.png"}
    assert (result.sha256, result.modes, result.bad_files) == (expected.sha256, expected.modes, expected.bad_files)
    assert np.array_equal(
        pixels.of_scan(result, np.arange(8), spaces).get(4),
        pixels.of_scan(expected, np.arange(8), spaces).get(4),
    )


def test_pixels_are_not_stored_where_the_disk_has_no_room_for_them(tmp_path, monkeypatch):
    store = DiskCache(tmp_path / "store", 1e9)
    usage = {"free": 1e9}
    monkeypatch.setattr(
        shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(1e9, 1e9 - usage["free"], int(usage["free"]))
    )
    assert dataset_cache.plan_spaces(store, 100, 100).pixels is not None  # 3 MB
    usage["free"] = 2e6
    assert dataset_cache.plan_spaces(store, 100, 100).pixels is None
    assert dataset_cache.plan_spaces(store, 100, 100).probe_results is not None
    usage["free"] = 0
    assert dataset_cache.plan_spaces(store, 100, 100).probe_results is None


def test_equal_content_is_decoded_once_and_has_one_hash(tmp_path, store, accesses):
    first = write_image(tmp_path / "0.png", noise(5, 5))
    scan_with(catalog_of_files([first]), store)
    clear(accesses)
    second = shutil.copy(first, tmp_path / "1.png")
    result = scan_with(catalog_of_files([first, second]), store)
    assert result.sha256[0] == result.sha256[1]
    assert accesses["decoded"] == []


def test_images_in_arrays_are_sound(store):
    arrays = np.stack([np.asarray(noise(16, 12, seed)) for seed in range(3)])
    result = scan_with(catalog_of_arrays(arrays), store)
    assert result.sizes.tolist() == [[16, 12]] * 3
    assert result.bad_files == ()
    assert len(set(result.sha256)) == 3
    assert not store.folder.exists()


@pytest.mark.slow
def test_ten_thousand_unchanged_files_take_less_than_two_seconds(tmp_path, store, monkeypatch):
    monkeypatch.setattr(probe, "SETTLE_SECONDS", -60.0)
    large = encoded(noise(300, 200), "JPEG", quality=95)  # 0.9 GB in all: too much to be read in that time from a disk
    paths = [tmp_path / "pictures" / f"{i}.jpg" for i in range(10_000)]
    paths[0].parent.mkdir()
    for i, path in enumerate(paths):
        path.write_bytes(large + str(i).encode())
    catalog = catalog_of_files(paths)
    first = scan_with(catalog, store, with_pixels=False)
    started = time.perf_counter()
    assert_same(scan_with(catalog, store, with_pixels=False), first)
    assert time.perf_counter() - started < 2
