"""What is computed once, ever: rows of bytes on disk, by the content of the image they were made of."""

from thaw.cache.locks import Full
from thaw.cache.rows import Rows
from thaw.cache.space import Space
from thaw.cache.store import RESERVE, Room, Store

__all__ = ["RESERVE", "Full", "Room", "Rows", "Space", "Store"]
