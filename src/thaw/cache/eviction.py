"""What lies on disk in all spaces, and the removal of the least recently used to make room."""

import errno
import os
import re
import shutil
from collections.abc import Container
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from thaw.cache.locks import CacheFull, cache_lock, try_space_lock
from thaw.cache.segment import RowLocation, Segment, SegmentFiles, data_size

_SPACE_ID = re.compile(r"[0-9a-f]{24}")


@dataclass
class StoredSegment(SegmentFiles):
    """A segment as its files' status shows it, whose rows are not read.

    last_used: seconds since the epoch. committed: whether it has an index.
    """

    nbytes: int = 0
    last_used: float = 0.0
    committed: bool = False


def space_folders(folder: Path) -> list[Path]:
    """Return the folders of a cache's spaces, by id."""
    with suppress(FileNotFoundError, NotADirectoryError):
        return sorted(path for path in folder.iterdir() if _SPACE_ID.fullmatch(path.name) and path.is_dir())
    return []


def list_segments(folder: Path) -> list[StoredSegment]:
    """Return every segment of a cache, also those still being written, with their bytes on disk."""
    return [segment for space in space_folders(folder) for segment in list_space_segments(space)]


def list_space_segments(space: Path) -> list[StoredSegment]:
    """Return every segment in one space's folder, also those still being written."""
    segments: dict[str, StoredSegment] = {}
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(space) as entries:
        for entry in entries:
            name, _, kind = entry.name.partition(".")
            if kind not in ("rows", "index"):
                continue
            with suppress(FileNotFoundError):  # evicted since it was listed
                status = entry.stat()
                segment = segments.setdefault(name, StoredSegment(space, name))
                segment.nbytes += status.st_size
                if kind == "index":
                    segment.last_used, segment.committed = status.st_mtime, True
    return list(segments.values())


def make_room(folder: Path, max_bytes: float, needed: int, space: str, protected: Container[str]) -> float:
    """Remove the least recently used segments until `needed` more bytes fit; return how many bytes are still lacking.

    The caller holds the locks of the cache and of the space of that id, whose segments named in `protected` stay.
    """
    lacking = sum(segment.nbytes for segment in list_segments(folder)) + needed - max_bytes
    return evict(folder, lacking, space, protected) if lacking > 0 else 0


def evict(folder: Path, lacking: float, space: str, protected: Container[str]) -> float:
    """Remove garbage, then the least recently used segments, of `lacking` bytes; return how many are still lacking.

    The caller holds the locks that `make_room` asks for.
    """
    segments = list_segments(folder)
    lacking -= _remove_garbage(folder, segments, space)
    for segment in sorted(segments, key=lambda segment: segment.last_used):
        if lacking <= 0:
            break
        if segment.committed and not (segment.folder.name == space and segment.name in protected):
            segment.remove()
            lacking -= segment.nbytes
    return max(lacking, 0)


def _remove_garbage(folder: Path, segments: list[StoredSegment], locked_space: str) -> int:
    """Remove data without an index, which killed runs left, in spaces in which nobody computes; return its bytes."""
    freed = 0
    for space in {segment.folder.name for segment in segments if not segment.committed} - {locked_space}:
        with try_space_lock(folder, space) as locked:
            if not locked:
                continue
            for segment in list_space_segments(folder / space):  # again: it may have been committed since
                if not segment.committed:
                    segment.remove()
                    freed += segment.nbytes
    return freed


class SegmentReservation:
    """Reserves room on disk and in the budget for one call's writer, at the cost of rows that it does not need.

    keep_free: bytes of the disk to leave free, as far as older rows make room for them. locations: of the rows that the
    call needs, by digest; those that are evicted are removed from it. wanted: how many rows the call asked for.
    """

    def __init__(
        self, folder: Path, max_bytes: float, keep_free: float, locations: dict[bytes, RowLocation], wanted: int
    ) -> None:
        self._folder, self._max_bytes, self._keep_free = folder, max_bytes, keep_free
        self._locations, self._wanted = locations, wanted
        self._written: set[str] = set()  # names of the call's own segments

    def reserve(self, file: int, length: int, name: str) -> None:
        """Let a segment's file grow to `length` bytes. Raises CacheFull when the call exceeds the budget, OSError."""
        cache_folder, space = self._folder.parent, self._folder.name
        self._written.add(name)
        with cache_lock(cache_folder):
            growth = length - os.fstat(file).st_size
            if growth <= 0:
                return
            self._make_room_on_disk(growth)
            while lacking := make_room(cache_folder, self._max_bytes, growth, space, self._protected()):
                if not self._evict_least_needed():
                    raise CacheFull(
                        f"cache.max_gb={self._max_bytes / 1e9:g} is too small: {self._wanted} rows of one kind need "
                        f"more than {(self._max_bytes + lacking) / 1e9:.3g} GB. Raise it, or set cache.max_gb=0 to "
                        "keep nothing"
                    )
            # The file's length is the reservation: other processes count it before a byte is written.
            os.ftruncate(file, length)

    def _make_room_on_disk(self, growth: int) -> None:
        """Evict older rows, as for the budget: plans count on the bytes that they take. Raises OSError."""
        lacking = growth + self._keep_free - shutil.disk_usage(self._folder).free
        if lacking > 0:
            evict(self._folder.parent, lacking, self._folder.name, self._protected())
        if shutil.disk_usage(self._folder).free < growth:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _protected(self) -> set[str]:
        return self._written | {segment.name for segment, _ in self._locations.values()}

    def _evict_least_needed(self) -> bool:
        """Remove the segment of which this call needs the smallest share; those rows are computed again.

        Otherwise a few needed rows in each of many segments would fill the budget with rows that nobody asked for.
        """
        needed: dict[str, tuple[Segment, int]] = {}
        for segment, row in self._locations.values():
            _, nbytes = needed.get(segment.name, (segment, 0))
            needed[segment.name] = segment, nbytes + int(segment.table["length"][row])
        shares = {name: nbytes / max(data_size(segment.table), 1) for name, (segment, nbytes) in needed.items()}
        if not shares or min(shares.values()) >= 1:
            return False
        name = min(shares, key=shares.__getitem__)
        needed[name][0].remove()
        for digest in [digest for digest, (segment, _) in self._locations.items() if segment.name == name]:
            del self._locations[digest]
        return True
