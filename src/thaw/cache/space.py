"""A space: the rows that depend on one key, found, computed when they are missing, and opened."""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from thaw.cache import compaction, eviction, rows, segment
from thaw.cache.locks import SHORT_WAIT_SECONDS, CacheFull, as_user_error, space_lock, store_lock, try_space_lock
from thaw.cache.rows import CachedRows, RowLocation
from thaw.cache.segment import Segment
from thaw.cache.writer import SegmentWriter
from thaw.common.console import say
from thaw.common.errors import UserError
from thaw.common.files import write_atomically

# A disk on which what was just written is damaged so often will not do better the next time.
MAX_ATTEMPTS = 5

ComputeRows = Callable[[list[int]], Iterable[np.ndarray]]
AddRow = Callable[[str, np.ndarray], None]


class CacheSpace:
    """Rows that depend on `key` and on the image's content alone. id: names its folder.

    reserve: bytes of the disk for which older rows make room, as they do for new ones; not a limit.
    """

    def __init__(self, folder: Path, max_bytes: float, key: Mapping[str, object], reserve: float = 0.0) -> None:
        self.key = dict(key)
        self._canonical = json.dumps(self.key, sort_keys=True, separators=(",", ":"), allow_nan=False)
        self.id = hashlib.sha256(self._canonical.encode()).hexdigest()[:24]
        self._store, self._max_bytes, self._reserve = folder, max_bytes, reserve
        self._folder = folder / self.id

    def missing(self, digests: Sequence[str]) -> list[int]:
        """Positions of the first occurrence of each digest that has no committed row. Reads indexes only."""
        wanted = _parsed(digests)
        there: set[bytes] = set()
        if self._max_bytes > 0:
            for own in segment.read_segments(self._folder)[0]:
                there |= {d for d, sound in zip(own.digests(), own.readable_mask().tolist(), strict=True) if sound}
        return [position for digest, position in _first(wanted).items() if digest not in there]

    def get_or_compute(
        self,
        digests: Sequence[str],
        compute: ComputeRows,
        *,
        wait_message: str = "another run is computing the same; waiting for it",
    ) -> CachedRows:
        """Open the rows of `digests` (64 hex digits each), after computing those that are missing or damaged.

        compute: called under the space's lock with positions into digests; yields one array of at most 4 dimensions
        for each, in that order. Rows that it yielded before it raised are kept. waiting: printed when another process
        holds the lock. Raises Full when there is no room for the rows, UserError when the cache cannot be written to.
        """
        self._must_be_on()
        self._merge()
        wanted = _parsed(digests)
        first = _first(wanted)
        places: dict[bytes, RowLocation] = {}
        computed: set[bytes] = set()
        for _ in range(MAX_ATTEMPTS):
            self._find(first, places)
            if len(places) < len(first):
                # Before computing: so that what is damaged is computed in the same go.
                self._drop(rows.find_damaged(rows.RowLayout.from_locations(places)), places)
                with space_lock(self._store, self.id, wait_message):
                    self._fill(first, places, compute, computed)
            opened, damaged = rows.load_rows(wanted, places, len(computed), self._places)
            if opened is not None:
                return opened
            self._drop(damaged, places)
        raise UserError(
            f"rows written to the cache at {self._store} were damaged when read back, {MAX_ATTEMPTS} times: is its "
            f"disk failing? Set cache.dir to another, or cache.max_gb=0 to keep nothing"
        )

    def get(self, digests: Sequence[str]) -> CachedRows | None:
        """Open the rows of `digests`, or return None when any is missing or damaged; never computes."""
        self._must_be_on()
        wanted = _parsed(digests)
        first = _first(wanted)
        for _ in range(segment.LISTING_ATTEMPTS):
            places = self._places(first)
            if len(places) < len(first):
                return None
            opened, damaged = rows.load_rows(wanted, places, 0, self._places)
            if opened is not None or all(places[digest][0].rows_path.exists() for digest in damaged):
                return opened
        return None

    @contextmanager
    def row_writer(self, digests: Sequence[str]) -> Iterator[AddRow | None]:
        """Give what adds the row of one of these digests as it comes along; a row that is there is not written again.

        What was added is committed every few seconds, and when the block ends, however it ends. Gives None when another
        run computes in the space: nobody waits for that. Adding raises UserError as `rows` does.
        """
        self._must_be_on()
        wanted = _parsed(digests)
        with try_space_lock(self._store, self.id, SHORT_WAIT_SECONDS) as nobody:
            if not nobody:
                yield None
                return
            self._prepare()
            there: dict[bytes, RowLocation] = {}
            self._find(set(wanted), there)
            room = self._room(there, len(wanted))
            writer = SegmentWriter(self._store, self._folder, self._max_bytes, room.reserve)
            added: set[bytes] = set()

            def add(digest: str, array: np.ndarray) -> None:
                own = bytes.fromhex(digest)
                if own not in there and own not in added:
                    writer.add(own, array)
                    added.add(own)

            with _committed(writer):
                yield add

    def _merge(self) -> None:
        """Merge small segments when there are many; what cannot be merged now stays as it is."""
        if len(compaction.small_segments(self._folder, self._max_bytes)) <= compaction.MAX_SMALL_SEGMENTS:
            return
        with suppress(OSError, UserError), try_space_lock(self._store, self.id) as nobody:
            if nobody:
                compaction.merge_small_segments(self._store, self._folder, self._max_bytes)

    def _must_be_on(self) -> None:
        if self._max_bytes <= 0:
            raise ValueError("the cache is off: nothing is read or written")

    def _find(self, wanted: Collection[bytes], places: dict[bytes, RowLocation]) -> None:
        """Add the places of rows that are on disk; their data files are open from now on."""
        for _ in range(segment.LISTING_ATTEMPTS):
            if len(places) == len(wanted) or not self._look(wanted, places):
                return

    def _look(self, wanted: Collection[bytes], places: dict[bytes, RowLocation]) -> bool:
        """As `_find`; return whether a segment was removed meanwhile, whose rows may be in another one now."""
        vanished = False
        # The larger first: of a segment and those that it was merged from, the one that stays.
        for own in sorted(segment.read_segments(self._folder)[0], key=lambda own: -len(own.table)):
            hits = [
                (digest, row)
                for row, (digest, sound) in enumerate(zip(own.digests(), own.readable_mask().tolist(), strict=True))
                if sound and digest in wanted and digest not in places
            ]
            if hits and own.open():
                places.update((digest, (own, row)) for digest, row in hits)
            elif hits:
                vanished = True
        return vanished

    def _places(self, wanted: Collection[bytes]) -> dict[bytes, RowLocation]:
        places: dict[bytes, RowLocation] = {}
        self._find(wanted, places)
        return places

    def _drop(self, damaged: Iterable[bytes], places: dict[bytes, RowLocation]) -> None:
        """Take damaged rows out of their indexes, and out of `places`."""
        by_segment: dict[str, tuple[Segment, list[int]]] = {}
        for digest in damaged:
            own, row = places.pop(digest)
            if own.rows_path.exists():  # else evicted or merged since it was found: nothing is damaged
                by_segment.setdefault(own.name, (own, []))[1].append(row)
        if not by_segment:
            return
        self._say_damaged(sum(len(bad) for _, bad in by_segment.values()))
        with store_lock(self._store), as_user_error(self._store):
            for own, bad in by_segment.values():
                segment.drop_rows(own, bad)

    def _say_damaged(self, count: int) -> None:
        say(f"cache: {count} damaged row{'s' * (count > 1)} dropped from {self._folder}; computing anew")

    def _fill(
        self, first: Mapping[bytes, int], places: dict[bytes, RowLocation], compute: ComputeRows, computed: set[bytes]
    ) -> None:
        """Compute what is missing, again should the budget have taken it meanwhile. The space's lock is held."""
        self._prepare()
        self._find(first, places)  # what another process computed while this one waited
        while missing := {digest: position for digest, position in first.items() if digest not in places}:
            room = self._room(places, len(first))
            writer = SegmentWriter(self._store, self._folder, self._max_bytes, room.reserve)
            try:
                with _committed(writer):
                    self._write(missing, compute, writer)
            finally:
                found = {digest: (own, row) for own in writer.segments for row, digest in enumerate(own.digests())}
                computed.update(found)
            places.update(found)

    def _room(self, places: dict[bytes, RowLocation], wanted: int) -> "_Room":
        return _Room(self._store, self._folder, self._max_bytes, self._reserve, places, wanted)

    def _prepare(self) -> None:
        """Make the folder, and clean up what killed runs left in it. The space's lock is held."""
        with store_lock(self._store), as_user_error(self._store):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._write_key()
            lost = segment.collect_garbage(self._folder)
        if lost:
            self._say_damaged(lost)

    def _write(self, missing: Mapping[bytes, int], compute: ComputeRows, writer: SegmentWriter) -> None:
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

    def _write_key(self) -> None:
        """Write down, for people and for scripts/cache.py, what the rows are of."""
        path = self._folder / "space.json"
        content = json.dumps({"format": segment.FORMAT_VERSION, "key": self.key}, indent=1, ensure_ascii=False).encode()
        if not path.exists() or path.read_bytes() != content:
            write_atomically(path, content)


@contextmanager
def _committed(writer: SegmentWriter) -> Iterator[None]:
    """Commit what the block has written, also when it raises."""
    try:
        try:
            yield
        except BaseException:
            with suppress(UserError):  # what stopped us is to be told, not that it could not be saved
                writer.commit()
            raise
        writer.commit()
    finally:
        writer.close()


class _Room:
    """Makes room for one call's writer, at the cost of whatever the call itself does not need."""

    def __init__(
        self, store: Path, folder: Path, max_bytes: float, free: float, places: dict[bytes, RowLocation], wanted: int
    ) -> None:
        self._store, self._folder, self._max_bytes, self._free = store, folder, max_bytes, free
        self._places, self._wanted = places, wanted
        self._own: set[str] = set()  # segments written now

    def reserve(self, file: int, length: int, name: str) -> None:
        """Let the file grow to `length` bytes. Raises UserError when the call exceeds the budget, OSError."""
        self._own.add(name)
        with store_lock(self._store):
            growth = length - os.fstat(file).st_size
            if growth <= 0:
                return
            self._make_room_on_disk(growth)
            while lacking := eviction.make_room(self._store, self._max_bytes, growth, self._folder.name, self._keep()):
                if not self._give_up_one():
                    self._too_small(lacking)
            # The file's length is the promise: other processes count it before a byte is written.
            os.ftruncate(file, length)

    def _make_room_on_disk(self, growth: int) -> None:
        """Older rows go first, as for the budget: plans count on the bytes that they take. Raises OSError."""
        lacking = growth + self._free - shutil.disk_usage(self._folder).free
        if lacking > 0:
            eviction.evict(self._store, lacking, self._folder.name, self._keep())
        if shutil.disk_usage(self._folder).free < growth:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _keep(self) -> set[str]:
        return self._own | {own.name for own, _ in self._places.values()}

    def _give_up_one(self) -> bool:
        """Remove the segment of which this call needs the smallest share; those rows are computed again.

        Otherwise a few rows in each of many segments would fill the budget with what nobody asked for.
        """
        needed: dict[str, tuple[Segment, int]] = {}
        for own, row in self._places.values():
            needed[own.name] = own, needed.get(own.name, (own, 0))[1] + int(own.table["length"][row])
        shares = {name: bytes / max(segment.data_size(own.table), 1) for name, (own, bytes) in needed.items()}
        if not shares or min(shares.values()) >= 1:
            return False
        name = min(shares, key=shares.__getitem__)
        eviction.StoredSegment(self._folder.name, name, self._folder).remove()
        for digest in [digest for digest, (own, _) in self._places.items() if own.name == name]:
            del self._places[digest]
        return True

    def _too_small(self, lacking: float) -> None:
        raise CacheFull(
            f"cache.max_gb={self._max_bytes / 1e9:g} is too small: {self._wanted} rows of one kind need more than "
            f"{(self._max_bytes + lacking) / 1e9:.3g} GB. Raise it, or set cache.max_gb=0 to keep nothing"
        )


def _parsed(digests: Sequence[str]) -> list[bytes]:
    parsed = [bytes.fromhex(digest) for digest in digests]
    if any(len(digest) != 32 for digest in parsed):
        raise ValueError("a digest is 64 hex digits, a sha256")
    return parsed


def _first(digests: Sequence[bytes]) -> dict[bytes, int]:
    """The position of each digest's first occurrence, in that order."""
    first: dict[bytes, int] = {}
    for position, digest in enumerate(digests):
        first.setdefault(digest, position)
    return first
