"""The cache of one folder: spaces that share a budget."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from thaw.cache import eviction
from thaw.cache.space import CacheSpace

# Bytes left free for what else a run writes to the same disk: pictures, logs, the store, a network and its checkpoints.
RESERVED_BYTES = 1_000_000_000
BLOCK_OVERHEAD = 0.02  # of the free bytes, for what a file takes on disk besides its length


@dataclass(frozen=True)
class CacheBudget:
    """What plans may count on. bytes: of all spaces together; disk: the disk sets them, not the budget."""

    nbytes: float
    limited_by_disk: bool = False


@dataclass(frozen=True)
class DiskCache:
    """Spaces in one folder under one budget. Any number of processes may share it.

    folder: absolute; made when something is first written. max_bytes: of all spaces together. beside: a folder that a
    run writes other things to; where it is on the same disk, some of that is left free.
    """

    folder: Path
    max_bytes: float
    outputs: Path | None = None

    @property
    def disabled(self) -> bool:
        """Nothing is read or written."""
        return self.max_bytes <= 0

    def space(self, key: Mapping[str, object]) -> CacheSpace:
        """The rows that depend on `key`, which JSON can hold; no effect on disk."""
        return CacheSpace(self.folder, self.max_bytes, key, self._reserve(RESERVED_BYTES))

    def used_bytes(self) -> int:
        """Bytes of all committed segments of all spaces."""
        return sum(segment.nbytes for segment in eviction.list_segments(self.folder) if segment.committed)

    def budget(self, reserve: float = RESERVED_BYTES) -> CacheBudget:
        """Bytes that everything together may take, what is kept already included: the budget, or less on a full disk.

        reserve: bytes that are left free for what is written to `beside`.
        """
        free = shutil.disk_usage(_there(self.folder)).free * (1 - BLOCK_OVERHEAD)
        disk = max(self.used_bytes() + free - self._reserve(reserve), 0.0)
        return CacheBudget(disk, limited_by_disk=True) if disk < self.max_bytes else CacheBudget(self.max_bytes)

    def _reserve(self, bytes: float) -> float:
        if self.outputs is None or _there(self.outputs).stat().st_dev != _there(self.folder).stat().st_dev:
            return 0.0
        return bytes


def _there(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return next((path for path in (folder, *folder.parents) if path.is_dir()), Path())
