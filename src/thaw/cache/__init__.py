"""A disk cache of arrays that are computed once, by the content of the image that they were made of."""

from thaw.cache.disk_cache import RESERVED_BYTES, CacheBudget, DiskCache
from thaw.cache.locks import CacheFull
from thaw.cache.row_store import RowStore
from thaw.cache.rows import CachedRows

__all__ = ["RESERVED_BYTES", "CacheBudget", "CacheFull", "CachedRows", "DiskCache", "RowStore"]
