"""Appends rows to new segments of one space, and commits them now and then."""

import os
import secrets
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from thaw.cache import segment
from thaw.cache.file_pool import DataFile
from thaw.cache.locks import as_user_error, store_lock
from thaw.common.files import remove_files

# A killed run loses at most this; a segment is also what eviction removes at once. Bytes, seconds.
SEGMENT_BYTES = 256_000_000
COMMIT_SECONDS = 5.0
# Bytes gathered before they are written: rows of a few KB would be a system call and a look at the budget each.
BUFFER_BYTES = 16_000_000


def max_segment_bytes(max_bytes: float) -> float:
    """Bytes at which a segment of a store with this budget ends."""
    return min(SEGMENT_BYTES, max_bytes / 8)


# reserve(file, length, name): see to it that the file may grow to so many bytes, and make it that long.
ReserveBytes = Callable[[int, int, str], None]


class SegmentWriter:
    """Writes for the one process that holds the space's lock.

    A commit every 5 seconds names more of the same data file in its index, so that slow work does not end in
    thousands of small files; a new segment begins every 256 MB, or an eighth of the budget.
    Whatever fails while writing, nothing uncommitted is left behind.
    """

    def __init__(self, store: Path, folder: Path, max_bytes: float, reserve: ReserveBytes) -> None:
        self._store, self._folder, self._reserve = store, folder, reserve
        self._largest = max_segment_bytes(max_bytes)
        self.segments: list[segment.Segment] = []  # with rows, in the order written; their data is open
        self._file = -1
        self._buffer = bytearray()

    def add(self, digest: bytes, array: np.ndarray) -> None:
        """Append one row. Raises UserError when it cannot be written."""
        if array.ndim > 4 or array.dtype.hasobject:
            raise ValueError(f"a row is an array of numbers with at most 4 dimensions, not {array.dtype} {array.shape}")
        row = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        with self._or_nothing():
            if self._file < 0:
                self._begin()
            if len(self._buffer) + len(row) > BUFFER_BYTES:
                self._flush()
            offset = self._written + len(self._buffer)
            self._buffer += row.data
            shape = (*array.shape, *[0] * (4 - array.ndim))
            entry = (np.frombuffer(digest, np.uint8), offset, len(row), zlib.crc32(row.data), array.ndim, shape)
            self._entries.append(entry)
            full = offset + len(row) >= self._largest
            if full or time.monotonic() - self._committed_at > COMMIT_SECONDS:
                self._commit()
            if full:
                self._end()

    def commit(self) -> None:
        """Make all rows added so far permanent. Raises UserError when they cannot be written."""
        with self._or_nothing():
            if self._file >= 0:
                self._commit()

    def close(self) -> None:
        """Let go of the file; what is not committed is removed."""
        if self._file < 0:
            return
        with suppress(OSError):
            if self._committed:
                os.ftruncate(self._file, self._committed)
            else:
                remove_files(self._path)
        self._end()

    @contextmanager
    def _or_nothing(self) -> Iterator[None]:
        with as_user_error(self._store):
            try:
                yield
            except OSError:
                self.close()
                raise

    def _begin(self) -> None:
        self._name = secrets.token_hex(8)
        self._path = self._folder / f"{self._name}.rows"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        self._file = os.open(self._path, flags, 0o666)
        self._written = self._committed = 0
        self._entries: list[tuple] = []
        self._committed_at = time.monotonic()
        # Opened at once: what an evictor removes under our hands is still ours to read.
        self._data = DataFile(self._path)

    def _end(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._file, self._buffer = -1, bytearray()

    def _flush(self) -> None:
        if not self._buffer:
            return
        room = self._written + len(self._buffer) + segment.index_size(len(self._entries))
        self._reserve(self._file, room, self._name)
        os.lseek(self._file, self._written, os.SEEK_SET)
        view = memoryview(self._buffer)
        while len(view):
            view = view[os.write(self._file, view) :]
        # A new one, not cleared: a view that an interruption left behind would forbid that.
        self._buffer, self._written = bytearray(), self._written + len(self._buffer)

    def _commit(self) -> None:
        self._flush()
        if not self._entries or (self._same() and len(self.segments[-1].table) == len(self._entries)):
            return
        os.fsync(self._file)
        table = np.array(self._entries, segment.ROW_DTYPE)
        own = segment.Segment(self._folder, self._name, table, self._data)
        with store_lock(self._store):
            os.ftruncate(self._file, self._written)  # the room that was kept for the index
            evicted = not os.fstat(self._file).st_nlink
            if not evicted:
                segment.write_index(own.index_path, table)
        if self._same():
            self.segments.pop()
        self.segments.append(own)
        self._committed, self._committed_at = self._written, time.monotonic()
        if evicted:  # by another run, whose budget it is too: ours to read, but no longer a place to add to
            self._end()

    def _same(self) -> bool:
        return bool(self.segments) and self.segments[-1].name == self._name
