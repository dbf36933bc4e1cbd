"""Rows that other processes compute are those that this one computes, bit for bit, whatever shard they are in."""

import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from thaw.cache import DiskCache
from thaw.common.errors import UserError
from thaw.data import pixel_stores, pixels, scan
from thaw.data.dataset_cache import plan_spaces
from thaw.data.pixel_stores import CacheStore, MemoryStore
from thaw.frozen import activations, shards
from thaw.frozen.activations import FrozenPart, build_frozen_part
from thaw.frozen.engine import EngineChoice

from .small_network import BACKBONE, SIZE, VIEW, read_photos

CHOICE = EngineChoice("openvino", "1", "bfloat16", "float32")
CUTS = (20, 50)
IMAGES = 21


class PickledWorkers:
    """Shards as other processes get them, and their results as they come back."""

    def __init__(self) -> None:
        self.shards = 0

    def map(self, function, shared, shards) -> Iterator:
        for shard in shards:
            self.shards += 1
            yield pickle.loads(pickle.dumps(function(*pickle.loads(pickle.dumps((shared, shard))), 1)))


@pytest.fixture(autouse=True)
def _no_part_of_another_test() -> Iterator[None]:
    shards._last = None
    yield
    shards._last = None


def last_part(joined, workers: PickledWorkers | None, stored_views: int | None = 0) -> FrozenPart:
    from thaw.models.network import cut_at

    part = None
    for index in (*CUTS, len(joined.backbone.layers)):
        part = build_frozen_part(
            joined, cut_at(joined, index), BACKBONE, CHOICE, part, stored_views=stored_views, workers=workers
        )
    assert part is not None
    return part


def stored_rows(part: FrozenPart, store: DiskCache, pictures: pixels.Pixels, view=None) -> bytes:
    return part.cached_activations(store, pictures, np.arange(IMAGES), view).take_rows(np.arange(IMAGES)).tobytes()


@pytest.mark.parametrize(("size", "count"), [(5, 5), (16, 2), (256, 1)])
@pytest.mark.parametrize("stored_views", [0, None], ids=["through stored cuts", "from the images"])
def test_a_row_does_not_depend_on_its_shard(tmp_path, joined, monkeypatch, size: int, count: int, stored_views) -> None:
    monkeypatch.setattr(activations, "SHARD_IMAGES", size)
    pictures = read_photos(tmp_path / "data", list(range(IMAGES)))
    here = stored_rows(last_part(joined, None, stored_views), DiskCache(tmp_path / "here", 1e9), pictures)
    workers = PickledWorkers()
    there = stored_rows(last_part(joined, workers, stored_views), DiskCache(tmp_path / "there", 1e9), pictures)
    assert there == here
    assert workers.shards == count * (3 if stored_views == 0 else 1)


def test_a_space_that_workers_filled_is_the_one_that_a_run_reads(tmp_path, joined) -> None:
    store, pictures = DiskCache(tmp_path / "cache", 1e9), read_photos(tmp_path / "data", list(range(IMAGES)))
    last_part(joined, PickledWorkers()).cached_activations(store, pictures, np.arange(IMAGES))
    part = last_part(joined, None)
    while part is not None:
        rows = part.cached_activations(store, pictures, np.arange(IMAGES)).rows
        assert (rows.hits, rows.misses) == (IMAGES, 0)
        part = part.source


def test_workers_augment_a_view_as_this_process_does(tmp_path, joined) -> None:
    pictures = read_photos(tmp_path / "data", list(range(IMAGES)))
    plain, here, there = (
        stored_rows(last_part(joined, workers, stored_views=1), DiskCache(tmp_path / name, 1e9), pictures, view)
        for name, workers, view in (
            ("plain", None, None),
            ("here", None, VIEW),
            ("there", PickledWorkers(), VIEW),
        )
    )
    assert there == here != plain


def test_an_engine_whose_results_depend_on_threads_is_not_sent(tmp_path, joined) -> None:
    from thaw.models.network import cut_at

    choice = EngineChoice("tensorflow", "1", "float32", "float32")
    part = build_frozen_part(joined, cut_at(joined, 20), BACKBONE, choice, workers=PickledWorkers())
    pictures = read_photos(tmp_path / "data", [1])
    with pytest.raises(ValueError, match="OpenVINO, not with tensorflow"):
        part.cached_activations(DiskCache(tmp_path / "cache", 1e9), pictures, np.arange(1))


def test_workers_decode_files_whose_pixels_are_not_stored(tmp_path, joined) -> None:
    pictures = read_photos(tmp_path / "data", list(range(IMAGES)))
    assert isinstance(pictures.pixel_store, MemoryStore)
    part = pickle.loads(pickle.dumps(pictures.part(np.array([3, 7]))))
    assert part.pixel_store.buffer.get(part.sha256[0]) is None  # of this process's memory nothing is sent
    assert part.take(np.arange(2)).tobytes() == pictures.take(np.array([3, 7])).tobytes()
    assert part.digests(np.arange(2)) == pictures.digests(np.array([3, 7]))


def test_a_machine_that_lacks_the_pictures_folder_says_so(tmp_path, joined, monkeypatch) -> None:
    pictures = read_photos(tmp_path / "data", list(range(IMAGES)))
    read = pictures.part(np.arange(IMAGES))
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    sent = last_part(joined, PickledWorkers(), None)._sent_part(None, from_source=False)
    with pytest.raises(UserError, match=r"finds no folder .*data: the pictures must lie where every machine"):
        shards.compute_shard(sent, read, 1)


def test_workers_scan_and_decode_as_this_process_does(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(scan, "SHARD_IMAGES", 4)
    monkeypatch.setattr(pixel_stores, "SHARD_IMAGES", 4)
    catalog = read_photos(tmp_path / "data", [*range(9), 3]).catalog
    Path(catalog.paths[5]).write_bytes(b"no picture")
    found = {}
    for name, workers in (("here", None), ("there", PickledWorkers())):
        spaces = plan_spaces(DiskCache(tmp_path / name, 1e9), SIZE, len(catalog))
        scanned = scan.scan_catalog(catalog, spaces, workers=workers)
        stored = spaces.pixels.get(list(scanned.sha256))
        found[name] = (scanned.sha256, scanned.bad_files, scanned.sizes.tolist(), stored.take(np.arange(9)).tobytes())
        # what limits the images stores no pixels in its scan
        later = plan_spaces(DiskCache(tmp_path / f"{name} later", 1e9), SIZE, len(catalog))
        limited = scan.scan_catalog(catalog, later, with_pixels=False, workers=workers)
        read = pixels.of_scan(limited, np.arange(9), later, workers)
        assert isinstance(read.pixel_store, CacheStore)
        assert later.pixels.missing(list(limited.sha256)) == list(range(8))  # two files have one content
        read.decode_missing()
        assert later.pixels.missing(list(limited.sha256)) == []
        assert read.take(np.arange(9)).tobytes() == found[name][-1]
    assert found["here"] == found["there"]
    assert [bad.name for bad in found["there"][1]] == [catalog.names[5]]


def test_a_scan_by_workers_need_not_be_repeated(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("thaw.data.probe.SETTLE_SECONDS", -10.0)
    catalog = read_photos(tmp_path / "data", list(range(5))).catalog
    workers, spaces = PickledWorkers(), plan_spaces(DiskCache(tmp_path / "cache", 1e9), SIZE, len(catalog))
    first = scan.scan_catalog(catalog, spaces, workers=workers)
    assert workers.shards == 1
    again = scan.scan_catalog(catalog, spaces, workers=workers)
    assert (workers.shards, again.sha256) == (1, first.sha256)
