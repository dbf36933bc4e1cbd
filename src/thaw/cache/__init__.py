"""What is computed once, ever: rows of bytes on disk, by the content of the image they were made of."""

from thaw.cache.locks import CacheFull
from thaw.cache.rows import CachedRows
from thaw.cache.space import CacheSpace
from thaw.cache.store import RESERVED_BYTES, CacheBudget, DiskCache

__all__ = ["RESERVED_BYTES", "CacheBudget", "CacheFull", "CacheSpace", "CachedRows", "DiskCache"]
