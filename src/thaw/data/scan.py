"""Scan a whole data set: what every file is, and which cannot be used."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import numpy.typing as npt

from thaw.common.parallel import SHARD_IMAGES, ShardWorkers, prefetch_map, with_progress
from thaw.data.catalog import Catalog
from thaw.data.dataset_cache import DatasetCache
from thaw.data.probe import FileProbe, ProbeResult, ProbeShardOptions, probe_files, probe_shard, reprobe, stat_hash

COMMIT_FILES, COMMIT_BYTES = 8192, 128e6  # files and their pixels in one write to the cache; an interrupt loses no more


@dataclass(frozen=True)
class BadFile:
    """A file that cannot be used."""

    name: str  # relative to the dataset's folder, as in Catalog.names
    path: str  # absolute
    label: str  # its class
    kind: str  # a key of `corrupt_files.KINDS`
    reason: str  # one line for people
    sha256: str  # of its bytes; "" when they cannot be read


@dataclass(frozen=True, eq=False)
class ScanResult:
    """The N sound images of a catalog, in its order, and the bad files."""

    catalog: Catalog  # of the N images; a class all of whose images are bad stays in its class_names
    sha256: tuple[str, ...]  # N, of the file's bytes, or of the array's
    stat_hashes: tuple[str, ...]  # N, of the files before they were read (see `stat_hash`); of arrays none
    sizes: npt.NDArray[np.int32]  # int32 (N, 2): width, height, upright, in pixels of the file
    modes: tuple[str, ...]  # N, Pillow's: RGB, L, P, RGBA, CMYK, I;16, ...
    formats: tuple[str, ...]  # N, by content: JPEG, PNG, ...; "" of arrays
    notes: tuple[str, ...]  # N, for people, such as "first of 12 frames"; mostly ""
    max_values: tuple[int | None, ...]  # N, see `DecodedImage.max_value`
    bad_files: tuple[BadFile, ...]


def scan_catalog(
    catalog: Catalog, spaces: DatasetCache, *, with_pixels: bool = True, workers: ShardWorkers | None = None
) -> ScanResult:
    """Hash every image of a catalog, and decode content that the cache has no probe result of.

    Files whose stat is as it was when they were last read are not read. Bad files are listed and never touched; the
    caller decides what follows (see `quarantine`). Images in arrays are sound.

    Args:
        catalog: The images.
        spaces: What the cache knows and stores of them.
        with_pixels: Whether all images will be used, so that pixels are stored as soon as they are decoded.
        workers: Processes that read and decode the files; None: this one does.
    """
    if catalog.arrays is not None:
        return _scan_arrays(catalog, catalog.arrays)
    paths, labels = catalog.paths, catalog.labels
    assert paths is not None  # a catalog has one of both
    stat_hashes = [stat_hash(path) for path in paths]
    hashes, results = _probe_unknown(paths, stat_hashes, spaces, with_pixels, workers)
    sound_rows = np.flatnonzero([result.kind == "" for result in results])
    sound = [results[row] for row in sound_rows]
    return ScanResult(
        catalog=catalog.subset(sound_rows),
        sha256=tuple(hashes[row] for row in sound_rows),
        stat_hashes=tuple(stat_hashes[row] or "" for row in sound_rows),
        sizes=np.array([(result.width, result.height) for result in sound], np.int32).reshape(-1, 2),
        modes=tuple(result.mode for result in sound),
        formats=tuple(result.format for result in sound),
        notes=tuple(result.note for result in sound),
        max_values=tuple(result.max_value for result in sound),
        bad_files=tuple(
            BadFile(name, path, catalog.class_names[label], result.kind, result.reason, sha256)
            for name, path, label, result, sha256 in zip(catalog.names, paths, labels, results, hashes, strict=True)
            if result.kind
        ),
    )


def _scan_arrays(catalog: Catalog, arrays: npt.NDArray[np.uint8]) -> ScanResult:
    def sha256(index: int) -> str:
        return hashlib.sha256(arrays[index].tobytes()).hexdigest()

    n = len(arrays)
    hashes = tuple(with_progress(prefetch_map(sha256, range(n)), "hashing images", n))
    sizes = np.tile(np.array([arrays.shape[2], arrays.shape[1]], np.int32), (n, 1))
    return ScanResult(catalog, hashes, (), sizes, ("RGB",) * n, ("",) * n, ("",) * n, (None,) * n, ())


def _probe_unknown(
    paths: Sequence[str],
    stat_hashes: Sequence[str | None],
    spaces: DatasetCache,
    with_pixels: bool,
    workers: ShardWorkers | None,
) -> tuple[list[str], list[ProbeResult]]:
    """Return the sha256 ("" of unreadable files) and result of every file; probe and store what the cache lacks."""
    hashes = spaces.known_hashes(stat_hashes)
    known = [sha256 for sha256 in hashes if sha256]
    without_result = {known[position] for position in spaces.without_result(known)}
    todo = [row for row, sha256 in enumerate(hashes) if not sha256 or sha256 in without_result]
    todo_paths, options = [paths[row] for row in todo], spaces.decode_options
    if workers is None:
        needs_decoding = spaces.without_result
        probes = probe_files(todo_paths, spaces.image_size, needs_decoding, with_pixels=with_pixels, options=options)
    else:
        probes = _probe_in_shards(workers, todo_paths, [stat_hashes[row] for row in todo], spaces, with_pixels)
    results: dict[int, ProbeResult] = {}
    for chunk in _commit_chunks(zip(todo, with_progress(probes, "checking images", len(todo), "images"), strict=True)):
        for row, probe in chunk:
            hashes[row] = probe.sha256
            if probe.result is not None:
                results[row] = probe.result
        spaces.add(probe for _, probe in chunk)
    cached = [row for row in range(len(paths)) if row not in results]

    def reprobe_cached(position: int) -> ProbeResult:
        row = cached[position]
        result = reprobe(paths[row], spaces.image_size, hashes[row], options).result
        assert result is not None  # it was decoded just now
        return result

    results.update(zip(cached, spaces.results([hashes[row] for row in cached], reprobe_cached), strict=True))
    return hashes, [results[row] for row in range(len(paths))]


def _probe_in_shards(
    workers: ShardWorkers,
    paths: Sequence[str],
    stat_hashes: Sequence[str | None],
    spaces: DatasetCache,
    with_pixels: bool,
) -> Iterator[FileProbe]:
    """Yield a probe of each file, in order, made by other processes; pixels only if the cache has room for them.

    A file's stat hash is this machine's, from before it was read: another one numbers disks in another way.
    """
    shared = ProbeShardOptions(spaces.image_size, with_pixels and spaces.pixels is not None, spaces.decode_options)
    shards = (list(paths[i : i + SHARD_IMAGES]) for i in range(0, len(paths), SHARD_IMAGES))
    probes = chain.from_iterable(workers.map(probe_shard, shared, shards))
    for probe, own in zip(probes, stat_hashes, strict=True):
        yield replace(probe, stat_hash=own if probe.stat_hash is not None else None)


def _commit_chunks(probes: Iterable[tuple[int, FileProbe]]) -> Iterator[list[tuple[int, FileProbe]]]:
    """Yield rows with their probes in lists, each for one write to the cache; the last one may be empty."""
    chunk: list[tuple[int, FileProbe]] = []
    total = 0
    for row, probe in probes:
        chunk.append((row, probe))
        total += probe.pixels.nbytes if probe.pixels is not None else 0
        if len(chunk) == COMMIT_FILES or total > COMMIT_BYTES:
            yield chunk
            chunk, total = [], 0
    yield chunk
