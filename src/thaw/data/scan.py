"""The scan of a whole data set: what every file is, and which cannot be used."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thaw.common.parallel import prefetch_map, with_progress
from thaw.data.cache_spaces import CacheSpaces
from thaw.data.catalog import Catalog
from thaw.data.probe import FileProbe, ProbeResult, probe_files, reprobe, stat_hash

COMMIT_FILES, COMMIT_BYTES = (
    8192,
    128e6,
)  # files and their pixels, committed to the cache in one go; what Ctrl-C loses at most


@dataclass(frozen=True)
class BadFile:
    """A file that cannot be used."""

    name: str  # relative to the dataset's folder, as in Catalog.names
    path: str  # absolute
    label: str  # the class that it was meant for
    kind: str  # a key of `faults.KINDS`
    reason: str  # one line for people
    sha256: str  # of its bytes; "" when they cannot be read


@dataclass(frozen=True, eq=False)
class ScanResult:
    """What was found: the N sound images, in the catalog's order, and the bad ones that were taken out of it."""

    catalog: Catalog  # N images; its classes are those of before, though one may have lost all images
    sha256: tuple[str, ...]  # N, of the file's bytes, or of the array's
    stat_hashes: tuple[str, ...]  # N, of the files before they were read, as `look.stamp` says; of arrays none
    sizes: npt.NDArray[np.int32]  # int32 (N, 2): width, height of the upright picture as it is stored, in pixels
    modes: tuple[str, ...]  # N, Pillow's: RGB, L, P, RGBA, CMYK, I;16, ...
    formats: tuple[str, ...]  # N, by content: JPEG, PNG, ...; "" of arrays
    notes: tuple[str, ...]  # N, what people should know of it, such as "first of 12 frames"; mostly ""
    max_values: tuple[int | None, ...]  # N, of 16 bits a channel, as `Picture` says; None of others
    bad_files: tuple[BadFile, ...]


def scan_catalog(catalog: Catalog, spaces: CacheSpaces, *, with_pixels: bool = True) -> ScanResult:
    """Hash every image of the catalog, and decode whole whatever content the cache has no verdict on.

    A file that stands as it stood when it was last read is not even read. `pixels` says that all images will be used,
    so that the pixels of those that are decoded now are worth keeping. Bad files end up in `bad` and are left alone;
    what to do about them is the caller's (see `quarantine`). Images in arrays are sound.
    """
    if catalog.arrays is not None:
        return _of_arrays(catalog, catalog.arrays)
    assert catalog.paths is not None  # the catalog holds one of both
    stamps = [stat_hash(path) for path in catalog.paths]
    hashes, verdicts = _look(catalog.paths, stamps, spaces, with_pixels)
    sound = np.flatnonzero([verdict.kind == "" for verdict in verdicts])
    of = [verdicts[row] for row in sound.tolist()]
    return ScanResult(
        catalog=catalog.subset(sound),
        sha256=tuple(hashes[row] for row in sound.tolist()),
        stat_hashes=tuple(stamps[row] or "" for row in sound.tolist()),
        sizes=np.array([(verdict.width, verdict.height) for verdict in of], np.int32).reshape(-1, 2),
        modes=tuple(verdict.mode for verdict in of),
        formats=tuple(verdict.format for verdict in of),
        notes=tuple(verdict.note for verdict in of),
        max_values=tuple(verdict.max_value for verdict in of),
        bad_files=tuple(
            _bad(catalog, row, hashes[row], verdict) for row, verdict in enumerate(verdicts) if verdict.kind
        ),
    )


def _of_arrays(catalog: Catalog, arrays: npt.NDArray[np.uint8]) -> ScanResult:
    def sha256(index: int) -> str:
        return hashlib.sha256(arrays[index].tobytes()).hexdigest()

    n = len(arrays)
    hashes = tuple(with_progress(prefetch_map(sha256, range(n)), "hashing images", n))
    sizes = np.tile(np.array([arrays.shape[2], arrays.shape[1]], np.int32), (n, 1))
    return ScanResult(catalog, hashes, (), sizes, ("RGB",) * n, ("",) * n, ("",) * n, (None,) * n, ())


def _bad(catalog: Catalog, row: int, sha256: str, verdict: ProbeResult) -> BadFile:
    assert catalog.paths is not None
    label = catalog.class_names[catalog.labels[row]]
    return BadFile(catalog.names[row], catalog.paths[row], label, verdict.kind, verdict.reason, sha256)


def _look(
    paths: Sequence[str], stamps: Sequence[str | None], kept: CacheSpaces, pixels: bool
) -> tuple[list[str], list[ProbeResult]]:
    """Return every file's hash, "" where it cannot be read, and the verdict on it; keep what was found out."""
    hashes = _known_hashes(stamps, kept)
    unknown = _without_verdict(hashes, kept)
    verdicts: dict[int, ProbeResult] = {}
    todo = [row for row, sha256 in enumerate(hashes) if not sha256 or sha256 in unknown]
    looked = probe_files(
        [paths[row] for row in todo],
        kept.image_size,
        kept.without_result,
        with_pixels=pixels,
        options=kept.decode_options,
    )
    for chunk in _chunks(zip(todo, with_progress(looked, "checking images", len(todo)), strict=True)):
        for row, seen in chunk:
            hashes[row] = seen.sha256
            if seen.result is not None:
                verdicts[row] = seen.result
        kept.add(seen for _, seen in chunk)
    rest = [row for row in range(len(paths)) if row not in verdicts]

    def look_again(i: int) -> ProbeResult:
        verdict = reprobe(paths[rest[i]], kept.image_size, hashes[rest[i]], kept.decode_options).result
        assert verdict is not None  # it was decoded just now
        return verdict

    verdicts.update(zip(rest, kept.results([hashes[row] for row in rest], look_again), strict=True))
    return hashes, [verdicts[row] for row in range(len(paths))]


def _known_hashes(stamps: Sequence[str | None], kept: CacheSpaces) -> list[str]:
    """Return the hashes of files that stand as they stood when they were last read, "" of others."""
    if kept.stat_hashes is None:
        return [""] * len(stamps)
    there = [(row, found) for row, found in enumerate(stamps) if found is not None]
    hashes = [""] * len(stamps)
    for (row, _), sha256 in zip(there, kept.known_hashes([found for _, found in there]), strict=True):
        hashes[row] = sha256 or ""
    return hashes


def _without_verdict(hashes: list[str], kept: CacheSpaces) -> set[str]:
    known = [sha256 for sha256 in hashes if sha256]
    return {known[position] for position in kept.without_result(known)}


def _chunks(looked: Iterable[tuple[int, FileProbe]]) -> Iterator[list[tuple[int, FileProbe]]]:
    """Gather what was looked at, with its row, until it is worth a commit."""
    chunk: list[tuple[int, FileProbe]] = []
    total = 0
    for row, seen in looked:
        chunk.append((row, seen))
        total += seen.pixels.nbytes if seen.pixels is not None else 0
        if len(chunk) == COMMIT_FILES or total > COMMIT_BYTES:
            yield chunk
            chunk, total = [], 0
    yield chunk
