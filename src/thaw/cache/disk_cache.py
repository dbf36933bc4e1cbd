"""The cache of one folder: spaces that share a budget."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from thaw.cache import eviction
from thaw.cache.row_store import RowStore

# Bytes left free for what else a run writes to the same disk: pictures, logs, the store, a network and its checkpoints.
RESERVED_BYTES = 1_000_000_000
BLOCK_OVERHEAD = 0.02  # of the free bytes, for what a file takes on disk besides its length


@dataclass(frozen=True)
class CacheBudget:
    """How many bytes plans may count on for all spaces together; whether the disk limits them, not `cache.max_gb`."""

    nbytes: float
    limited_by_disk: bool = False


@dataclass(frozen=True)
class DiskCache:
    """Spaces in one folder under one budget. Any number of processes may share it.

    folder: absolute; made when something is first written. max_bytes: of all spaces together; 0 switches the cache off.
    outputs: the folder that a run writes other things to; if it is on the same disk, some of that is left free.
    """

    folder: Path
    max_bytes: float
    outputs: Path | None = None

    @property
    def disabled(self) -> bool:
        """Whether nothing is read or written."""
        return self.max_bytes <= 0

    def space(self, key: Mapping[str, object]) -> RowStore:
        """Return the space of the rows that depend on `key`, which JSON can hold; no effect on disk."""
        return RowStore(self.folder, self.max_bytes, key, self._reserved(RESERVED_BYTES))

    def used_bytes(self) -> int:
        """Return the bytes of all committed segments of all spaces."""
        return sum(segment.nbytes for segment in eviction.list_segments(self.folder) if segment.committed)

    def budget(self, reserve: float = RESERVED_BYTES) -> CacheBudget:
        """Return what all rows together may take, those on disk included: `max_bytes`, or less on a full disk.

        Args:
            reserve: bytes that are left free for what is written to `outputs`.
        """
        free = shutil.disk_usage(_nearest_folder(self.folder)).free * (1 - BLOCK_OVERHEAD)
        on_disk = max(self.used_bytes() + free - self._reserved(reserve), 0.0)
        return CacheBudget(on_disk, limited_by_disk=True) if on_disk < self.max_bytes else CacheBudget(self.max_bytes)

    def _reserved(self, reserve: float) -> float:
        if self.outputs is None:
            return 0.0
        disks = {_nearest_folder(folder).stat().st_dev for folder in (self.outputs, self.folder)}
        return reserve if len(disks) == 1 else 0.0


def _nearest_folder(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return next((path for path in (folder, *folder.parents) if path.is_dir()), Path())
