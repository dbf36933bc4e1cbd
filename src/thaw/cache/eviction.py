"""What is kept under one budget, over all spaces: counting it, and removing what was used the longest ago."""

import os
import re
from collections.abc import Container
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from thaw.cache.locks import try_space_lock
from thaw.common.files import remove_files

_SPACE = re.compile(r"[0-9a-f]{24}")


@dataclass
class StoredSegment:
    """One segment on disk. used: when, seconds since the epoch. committed: it has an index."""

    space: str
    name: str
    folder: Path
    nbytes: int = 0
    last_used: float = 0.0
    committed: bool = False

    def remove(self) -> None:
        """The index goes first: a data file without one is garbage, an index without data would be damage."""
        remove_files(self.folder / f"{self.name}.index", self.folder / f"{self.name}.rows")


def space_folders(folder: Path) -> list[Path]:
    """The folders of the spaces of a store, by id."""
    with suppress(FileNotFoundError, NotADirectoryError):
        return sorted(path for path in folder.iterdir() if _SPACE.fullmatch(path.name) and path.is_dir())
    return []


def list_segments(folder: Path) -> list[StoredSegment]:
    """Every segment of a store, also those still being written, with their bytes on disk."""
    return [segment for own in space_folders(folder) for segment in list_space_segments(own)]


def list_space_segments(space: Path) -> list[StoredSegment]:
    """Every segment of one space's folder, also those still being written."""
    found: dict[str, StoredSegment] = {}
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(space) as entries:
        for entry in entries:
            name, _, kind = entry.name.partition(".")
            if kind not in ("rows", "index"):
                continue
            with suppress(FileNotFoundError):  # evicted while we look
                status = entry.stat()
                segment = found.setdefault(name, StoredSegment(space.name, name, space))
                segment.nbytes += status.st_size
                if kind == "index":
                    segment.last_used, segment.committed = status.st_mtime, True
    return list(found.values())


def make_room(folder: Path, max_bytes: float, needed: int, space: str, protected: Container[str]) -> float:
    """Remove the least recently used segments until `needed` more bytes fit; return how many bytes are lacking still.

    space, keep: the caller's own, and the names of its segments that it needs. The caller holds the store's lock and
    its own space's.
    """
    lacking = sum(segment.nbytes for segment in list_segments(folder)) + needed - max_bytes
    return evict(folder, lacking, space, protected) if lacking > 0 else 0


def evict(folder: Path, lacking: float, space: str, protected: Container[str]) -> float:
    """Remove the least recently used segments, of so many bytes; return how many are lacking still. As `make_room`."""
    there = list_segments(folder)
    lacking -= _remove_garbage(folder, there, space)
    for segment in sorted(there, key=lambda segment: segment.last_used):
        if lacking <= 0:
            break
        if segment.committed and not (segment.space == space and segment.name in protected):
            segment.remove()
            lacking -= segment.nbytes
    return max(lacking, 0)


def _remove_garbage(folder: Path, there: list[StoredSegment], own: str) -> int:
    """Remove data without an index in spaces in which nobody computes: what killed runs left. Returns its bytes."""
    freed = 0
    for space in {segment.space for segment in there if not segment.committed and segment.space != own}:
        with try_space_lock(folder, space) as nobody:
            if not nobody:
                continue
            for segment in list_space_segments(folder / space):  # again: it may have been committed since
                if not segment.committed:
                    segment.remove()
                    freed += segment.nbytes
    return freed
