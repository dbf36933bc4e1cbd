"""A space: the rows that depend on one key, computed when they are missing."""

import hashlib
import json
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from thaw.cache import compaction, rows, segment
from thaw.cache.eviction import SegmentReservation
from thaw.cache.locks import cache_errors_explained, cache_lock, space_lock, try_space_lock
from thaw.cache.rows import CachedRows
from thaw.cache.segment import RowLocation, Segment
from thaw.cache.writer import SegmentWriter
from thaw.common.console import say
from thaw.common.errors import UserError
from thaw.common.files import write_atomically

# A disk that damages what was just written so often will not do better the next time.
MAX_ATTEMPTS = 5

ComputeRows = Callable[[list[int]], Iterable[np.ndarray]]


class RowStore:
    """Rows that depend on `key` and on the image's content alone. id: names its folder.

    reserve: bytes of the disk to leave free; older rows make room for them, as they do for new ones. Not a limit.
    """

    def __init__(self, folder: Path, max_bytes: float, key: Mapping[str, object], reserve: float = 0.0) -> None:
        self.key = dict(key)
        canonical = json.dumps(self.key, sort_keys=True, separators=(",", ":"), allow_nan=False)
        self.id = hashlib.sha256(canonical.encode()).hexdigest()[:24]
        self._cache_folder, self._max_bytes, self._reserve = folder, max_bytes, reserve
        self._folder = folder / self.id

    def missing(self, digests: Sequence[str]) -> list[int]:
        """Return the positions of the first occurrence of each digest without a committed row. Reads indexes only."""
        present: set[bytes] = set()
        if self._max_bytes > 0:
            for each in segment.read_segments(self._folder)[0]:
                readable = zip(each.digests(), each.readable_mask().tolist(), strict=True)
                present |= {digest for digest, is_readable in readable if is_readable}
        return [position for digest, position in _first_positions(digests).items() if digest not in present]

    def get_or_compute(
        self,
        digests: Sequence[str],
        compute: ComputeRows,
        *,
        wait_message: str = "another run is computing the same; waiting for it",
    ) -> CachedRows:
        """Return the rows of `digests`, after computing those that are missing or damaged.

        Args:
            digests: of the images, 64 hex digits each; a digest may occur again.
            compute: called under the space's lock with positions into digests; yields one array of at most 4 dimensions
                for each, in that order. Rows that it yielded before it raised stay in the cache.
            wait_message: printed when another process holds the lock.

        Raises:
            CacheFull: there is no room for the rows.
            UserError: the cache cannot be written to.
        """
        self._check_enabled()
        self._merge()
        first = _first_positions(digests)
        locations: dict[bytes, RowLocation] = {}
        computed: set[bytes] = set()
        for _ in range(MAX_ATTEMPTS):
            self._add_locations(first, locations)
            if len(locations) < len(first):
                # Before computing, so that damaged rows are computed together with the missing ones.
                self._drop(rows.find_damaged(rows.RowLayout.from_locations(locations)), locations)
                with space_lock(self._cache_folder, self.id, wait_message):
                    self._fill(first, locations, compute, computed)
            loaded, damaged = rows.load_rows(_parsed(digests), locations, len(computed), self._locate)
            if loaded is not None:
                return loaded
            self._drop(damaged, locations)
        raise UserError(
            f"rows written to the cache at {self._cache_folder} were damaged when read back, {MAX_ATTEMPTS} times: is "
            f"its disk failing? Set cache.dir to another, or cache.max_gb=0 to keep nothing"
        )

    def get(self, digests: Sequence[str]) -> CachedRows | None:
        """Return the rows of `digests`, or None when any is missing or damaged; never computes."""
        self._check_enabled()
        first = _first_positions(digests)
        for _ in range(segment.LISTING_ATTEMPTS):
            locations = self._locate(first)
            if len(locations) < len(first):
                return None
            loaded, damaged = rows.load_rows(_parsed(digests), locations, 0, self._locate)
            if loaded is not None or all(locations[digest][0].rows_path.exists() for digest in damaged):
                return loaded
        return None

    def _merge(self) -> None:
        """Merge small segments when there are many; what cannot be merged now stays as it is."""
        if len(compaction.small_segments(self._folder, self._max_bytes)) <= compaction.MAX_SMALL_SEGMENTS:
            return
        with suppress(OSError, UserError), try_space_lock(self._cache_folder, self.id) as locked:
            if locked:
                compaction.merge_small_segments(self._cache_folder, self._folder, self._max_bytes)

    def _check_enabled(self) -> None:
        if self._max_bytes <= 0:
            raise ValueError("the cache is off: nothing is read or written")

    def _locate(self, wanted: Collection[bytes]) -> dict[bytes, RowLocation]:
        locations: dict[bytes, RowLocation] = {}
        self._add_locations(wanted, locations)
        return locations

    def _add_locations(self, wanted: Collection[bytes], locations: dict[bytes, RowLocation]) -> None:
        """Add the locations of rows that are on disk; their data files are open from now on."""
        for _ in range(segment.LISTING_ATTEMPTS):
            if len(locations) == len(wanted) or not self._add_listed_locations(wanted, locations):
                return

    def _add_listed_locations(self, wanted: Collection[bytes], locations: dict[bytes, RowLocation]) -> bool:
        """As `_add_locations`; return whether a segment was removed meanwhile, whose rows may be in another one now."""
        vanished = False
        # The larger first: of a segment and those that it was merged from, the one that stays.
        for each in sorted(segment.read_segments(self._folder)[0], key=lambda each: -len(each.table)):
            readable = zip(each.digests(), each.readable_mask().tolist(), strict=True)
            hits = [
                (digest, row)
                for row, (digest, is_readable) in enumerate(readable)
                if is_readable and digest in wanted and digest not in locations
            ]
            if hits and each.open():
                locations.update((digest, (each, row)) for digest, row in hits)
            elif hits:
                vanished = True
        return vanished

    def _drop(self, damaged: Iterable[bytes], locations: dict[bytes, RowLocation]) -> None:
        """Take damaged rows out of their indexes, and out of `locations`."""
        by_segment: dict[str, tuple[Segment, list[int]]] = {}
        for digest in damaged:
            holder, row = locations.pop(digest)
            if holder.rows_path.exists():  # else evicted or merged since it was located: nothing is damaged
                by_segment.setdefault(holder.name, (holder, []))[1].append(row)
        if not by_segment:
            return
        self._report_dropped(sum(len(damaged_rows) for _, damaged_rows in by_segment.values()))
        with cache_lock(self._cache_folder), cache_errors_explained(self._cache_folder):
            for holder, damaged_rows in by_segment.values():
                segment.drop_rows(holder, damaged_rows)

    def _report_dropped(self, count: int) -> None:
        say(f"cache: {count} damaged row{'s' * (count > 1)} dropped from {self._folder}; computing anew")

    def _fill(
        self,
        first: Mapping[bytes, int],
        locations: dict[bytes, RowLocation],
        compute: ComputeRows,
        computed: set[bytes],
    ) -> None:
        """Compute missing rows, also those that are evicted to make room for others. The space's lock is held."""
        self._prepare()
        self._add_locations(first, locations)  # what another process computed while this one waited
        while missing := {digest: position for digest, position in first.items() if digest not in locations}:
            try:
                with self._writer(locations, len(first)) as writer:
                    _write(missing, compute, writer)
            finally:
                new = {digest: (each, row) for each in writer.segments for row, digest in enumerate(each.digests())}
                computed.update(new)
            locations.update(new)

    def _prepare(self) -> None:
        """Make the folder, and clean up what killed runs left in it. The space's lock is held."""
        with cache_lock(self._cache_folder), cache_errors_explained(self._cache_folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._write_key()
            lost = segment.collect_garbage(self._folder)
        if lost:
            self._report_dropped(lost)

    @contextmanager
    def _writer(self, locations: dict[bytes, RowLocation], wanted: int) -> Iterator[SegmentWriter]:
        """Yield a writer whose rows are committed when the block ends, also when it raises."""
        reservation = SegmentReservation(self._folder, self._max_bytes, self._reserve, locations, wanted)
        writer = SegmentWriter(self._cache_folder, self._folder, self._max_bytes, reservation.reserve)
        try:
            try:
                yield writer
            except BaseException:
                with suppress(UserError):  # what stopped the block is reported, not that its rows could not be saved
                    writer.commit()
                raise
            writer.commit()
        finally:
            writer.close()

    def _write_key(self) -> None:
        """Write down, for people and for scripts/cache.py, what the rows are of."""
        path = self._folder / "space.json"
        content = json.dumps({"format": segment.FORMAT_VERSION, "key": self.key}, indent=1, ensure_ascii=False).encode()
        if not path.exists() or path.read_bytes() != content:
            write_atomically(path, content)


def _write(missing: Mapping[bytes, int], compute: ComputeRows, writer: SegmentWriter) -> None:
    arrays = iter(compute(list(missing.values())))
    try:
        for done, digest in enumerate(missing):
            try:
                array = next(arrays)
            except StopIteration:
                raise ValueError(f"compute yielded {done} rows of {len(missing)}") from None
            writer.add(digest, array)
    finally:
        if isinstance(arrays, Generator):  # now, not when it is collected: it may hold the locks of other spaces
            arrays.close()


def _parsed(digests: Sequence[str]) -> list[bytes]:
    parsed = [bytes.fromhex(digest) for digest in digests]
    if any(len(digest) != 32 for digest in parsed):
        raise ValueError("a digest is 64 hex digits, a sha256")
    return parsed


def _first_positions(digests: Sequence[str]) -> dict[bytes, int]:
    """The position of each digest's first occurrence, in that order."""
    first: dict[bytes, int] = {}
    for position, digest in enumerate(_parsed(digests)):
        first.setdefault(digest, position)
    return first
