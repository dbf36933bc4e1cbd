"""The cache of one folder: spaces that share a budget."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from thaw.cache import budget
from thaw.cache.space import Space


@dataclass(frozen=True)
class Store:
    """Spaces in one folder under one budget. Any number of processes may share it.

    folder: absolute; made when something is first written. max_bytes: of all spaces together.
    """

    folder: Path
    max_bytes: float

    @property
    def off(self) -> bool:
        """Nothing is read or written."""
        return self.max_bytes <= 0

    def space(self, key: Mapping[str, object]) -> Space:
        """The rows that depend on `key`, which JSON can hold; no effect on disk."""
        return Space(self.folder, self.max_bytes, key)

    def used(self) -> int:
        """Bytes of all committed segments of all spaces."""
        return sum(segment.bytes for segment in budget.kept(self.folder) if segment.committed)
