"""What is kept under one budget, over all spaces: counting it, and removing what was used the longest ago."""

import os
import re
from collections.abc import Container
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from thaw.cache.locks import idle, remove

_SPACE = re.compile(r"[0-9a-f]{24}")


@dataclass
class Kept:
    """One segment on disk. used: when, seconds since the epoch. committed: it has an index."""

    space: str
    name: str
    folder: Path
    bytes: int = 0
    used: float = 0.0
    committed: bool = False

    def remove(self) -> None:
        """The index goes first: a data file without one is garbage, an index without data would be damage."""
        remove(self.folder / f"{self.name}.index", self.folder / f"{self.name}.rows")


def space_folders(folder: Path) -> list[Path]:
    """The folders of the spaces of a store, by id."""
    with suppress(FileNotFoundError, NotADirectoryError):
        return sorted(path for path in folder.iterdir() if _SPACE.fullmatch(path.name) and path.is_dir())
    return []


def kept(folder: Path) -> list[Kept]:
    """Every segment of a store, also those still being written, with their bytes on disk."""
    return [segment for own in space_folders(folder) for segment in kept_in(own)]


def kept_in(space: Path) -> list[Kept]:
    """Every segment of one space's folder, also those still being written."""
    found: dict[str, Kept] = {}
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(space) as entries:
        for entry in entries:
            name, _, kind = entry.name.partition(".")
            if kind not in ("rows", "index"):
                continue
            with suppress(FileNotFoundError):  # evicted while we look
                status = entry.stat()
                segment = found.setdefault(name, Kept(space.name, name, space))
                segment.bytes += status.st_size
                if kind == "index":
                    segment.used, segment.committed = status.st_mtime, True
    return list(found.values())


def make_room(folder: Path, max_bytes: float, needed: int, space: str, keep: Container[str]) -> float:
    """Remove the least recently used segments until `needed` more bytes fit; return how many bytes are lacking still.

    space, keep: the caller's own, and the names of its segments that it needs. The caller holds the store's lock and
    its own space's.
    """
    lacking = sum(segment.bytes for segment in kept(folder)) + needed - max_bytes
    return evict(folder, lacking, space, keep) if lacking > 0 else 0


def evict(folder: Path, lacking: float, space: str, keep: Container[str]) -> float:
    """Remove the least recently used segments, of so many bytes; return how many are lacking still. As `make_room`."""
    there = kept(folder)
    lacking -= _remove_garbage(folder, there, space)
    for segment in sorted(there, key=lambda segment: segment.used):
        if lacking <= 0:
            break
        if segment.committed and not (segment.space == space and segment.name in keep):
            segment.remove()
            lacking -= segment.bytes
    return max(lacking, 0)


def _remove_garbage(folder: Path, there: list[Kept], own: str) -> int:
    """Remove data without an index in spaces in which nobody computes: what killed runs left. Returns its bytes."""
    freed = 0
    for space in {segment.space for segment in there if not segment.committed and segment.space != own}:
        with idle(folder, space) as nobody:
            if not nobody:
                continue
            for segment in kept_in(folder / space):  # again: it may have been committed since
                if not segment.committed:
                    segment.remove()
                    freed += segment.bytes
    return freed
