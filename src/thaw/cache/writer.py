"""Appends rows to new segments of one space, and commits them every few seconds."""

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
from thaw.cache.locks import cache_errors_explained, cache_lock
from thaw.common.files import remove_files

# A killed run loses at most this; a segment is also what eviction removes at once. Bytes, seconds.
SEGMENT_BYTES = 256_000_000
COMMIT_SECONDS = 5.0
# Bytes gathered before they are written: rows of a few KB would be a system call and a check of the budget each.
BUFFER_BYTES = 16_000_000

# reserve(file, length, name): make the segment's file that long, once there is room for it.
ReserveBytes = Callable[[int, int, str], None]


def max_segment_bytes(max_bytes: float) -> float:
    """Return the bytes at which a segment of a cache with this budget ends."""
    return min(SEGMENT_BYTES, max_bytes / 8)


class SegmentWriter:
    """Writes for the one process that holds the space's lock.

    A commit every 5 seconds names more rows of the same data file in its index, so that slow work does not end in
    thousands of small files; a new segment begins every 256 MB, or an eighth of the budget.
    Whatever fails while writing, nothing uncommitted stays on disk.
    """

    def __init__(self, cache_folder: Path, folder: Path, max_bytes: float, reserve: ReserveBytes) -> None:
        self._cache_folder, self._folder, self._reserve = cache_folder, folder, reserve
        self._max_segment_bytes = max_segment_bytes(max_bytes)
        self.segments: list[segment.Segment] = []  # with rows, in the order written; their data is open
        self._file = -1
        self._buffer = bytearray()

    def add(self, digest: bytes, array: np.ndarray) -> None:
        """Append one row. Raises UserError when it cannot be written."""
        if array.ndim > 4 or array.dtype.hasobject:
            raise ValueError(f"a row is an array of numbers with at most 4 dimensions, not {array.dtype} {array.shape}")
        row = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        with self._close_on_error():
            if self._file < 0:
                self._begin()
            if len(self._buffer) + len(row) > BUFFER_BYTES:
                self._flush()
            offset = self._written + len(self._buffer)
            self._buffer += row.data
            shape = (*array.shape, *[0] * (4 - array.ndim))
            entry = (np.frombuffer(digest, np.uint8), offset, len(row), zlib.crc32(row.data), array.ndim, shape)
            self._entries.append(entry)
            full = offset + len(row) >= self._max_segment_bytes
            if full or time.monotonic() - self._committed_at > COMMIT_SECONDS:
                self._commit()
            if full:
                self._end()

    def commit(self) -> None:
        """Make all rows added so far permanent. Raises UserError when they cannot be written."""
        with self._close_on_error():
            if self._file >= 0:
                self._commit()

    def close(self) -> None:
        """Close the file, and remove what is not committed."""
        if self._file < 0:
            return
        with suppress(OSError):
            if self._committed:
                os.ftruncate(self._file, self._committed)
            else:
                remove_files(self._path)
        self._end()

    @contextmanager
    def _close_on_error(self) -> Iterator[None]:
        with cache_errors_explained(self._cache_folder):
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
        self._entries: list[tuple[object, ...]] = []
        self._committed_at = time.monotonic()
        # Opened at once, so that it can be read even if another process evicts it.
        self._data = DataFile(self._path)

    def _end(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._file, self._buffer = -1, bytearray()

    def _flush(self) -> None:
        if not self._buffer:
            return
        length = self._written + len(self._buffer) + segment.index_size(len(self._entries))
        self._reserve(self._file, length, self._name)
        os.lseek(self._file, self._written, os.SEEK_SET)
        view = memoryview(self._buffer)
        while len(view):
            view = view[os.write(self._file, view) :]
        # A new one, not cleared: that fails while a view exists, as after an interruption.
        self._buffer, self._written = bytearray(), self._written + len(self._buffer)

    def _commit(self) -> None:
        self._flush()
        grows = bool(self.segments) and self.segments[-1].name == self._name
        if not self._entries or (grows and len(self.segments[-1].table) == len(self._entries)):
            return
        os.fsync(self._file)
        table = np.array(self._entries, segment.ROW_DTYPE)
        written = segment.Segment(self._folder, self._name, table, self._data)
        with cache_lock(self._cache_folder):
            os.ftruncate(self._file, self._written)  # without the bytes that were reserved for the index
            evicted = not os.fstat(self._file).st_nlink
            if not evicted:
                segment.write_index(written.index_path, table)
        if grows:
            self.segments.pop()
        self.segments.append(written)
        self._committed, self._committed_at = self._written, time.monotonic()
        if evicted:  # by another run, which shares the budget: it can be read here, but not added to
            self._end()
