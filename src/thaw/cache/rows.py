"""Rows that are there: read once from front to back to check them, then held in memory or read one by one."""

import queue
import threading
import weakref
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from thaw.cache.file_pool import DataFile
from thaw.cache.segment import LISTING_ATTEMPTS, ROW_DTYPE, Segment
from thaw.common.errors import UserError
from thaw.config import command_lines

# Bytes that all rows of the process may hold in memory together: 4 GB are to do for a run on 50,000 images, whatever
# its splits and views are. Rows that no longer fit are read from disk one by one.
MAX_MEMORY_BYTES = 1_000_000_000
# Bytes read at once by each of the threads that check: small enough that the checksum finds them in the CPU's cache.
CHUNK_BYTES = 4_000_000
CHECK_THREADS = 2

# Bytes of every array of `_memory` that somebody still has, by an object of its own.
_held: dict[object, int] = {}
_taking = threading.Lock()

# Where a row lies: its segment, and its number in the segment's table.
RowLocation = tuple[Segment, int]
# The places of those digests that have a committed row now.
LocateRows = Callable[[Collection[bytes]], Mapping[bytes, RowLocation]]


@dataclass
class RowLayout:
    """Distinct rows in the order in which they lie on disk: arrays of (D,), shapes (D, 4), offsets in bytes."""

    digests: list[bytes]
    files: list[DataFile]
    file_index: npt.NDArray[np.int64]
    offset: npt.NDArray[np.int64]
    length: npt.NDArray[np.int64]
    crc: npt.NDArray[np.uint32]
    ndim: npt.NDArray[np.uint32]
    shape: npt.NDArray[np.int64]

    @classmethod
    def from_locations(cls, places: Mapping[bytes, RowLocation]) -> "RowLayout":
        """Lay out rows by digest. The segments' data is open."""
        by_segment: dict[int, tuple[Segment, list[tuple[int, bytes]]]] = {}
        for digest, (segment, row) in places.items():
            by_segment.setdefault(id(segment), (segment, []))[1].append((row, digest))
        digests: list[bytes] = []
        files: list[DataFile] = []
        file: list[int] = []
        tables = [np.empty(0, ROW_DTYPE)]
        for segment, own in by_segment.values():
            own.sort()  # a table is in the order of the offsets
            digests += [digest for _, digest in own]
            file += [len(files)] * len(own)
            files.append(_opened(segment))
            tables.append(segment.table[[row for row, _ in own]])
        table = np.concatenate(tables)
        columns = {name: np.ascontiguousarray(table[name]) for name in ("offset", "length", "crc", "ndim", "shape")}
        return cls(digests, files, np.array(file, np.int64), **columns)

    @property
    def nbytes(self) -> int:
        return int(self.length.sum())

    def read_into(self, row: int, into: npt.NDArray[np.uint8]) -> None:
        """Read one row. Raises as `DataFile.read_into` does."""
        self.files[self.file_index[row]].read_into(into, int(self.offset[row]))

    def relocated(self, find: "LocateRows") -> "RowLayout":
        """A layout in which rows whose files are gone lie where they are found now; those that are not found stay."""
        gone = np.array([not file.path.exists() for file in self.files])
        rows = np.flatnonzero(gone[self.file_index]).tolist()
        there = find({self.digests[row] for row in rows})
        files, of, offset = list(self.files), self.file_index.copy(), self.offset.copy()
        numbers: dict[int, int] = {}
        for row in rows:
            own, at = there.get(self.digests[row], (None, 0))
            # The same bytes: whoever took rows before must not get others now.
            if own is not None and (own.table["length"][at], own.table["crc"][at]) == (self.length[row], self.crc[row]):
                if id(own) not in numbers:
                    numbers[id(own)] = len(files)
                    files.append(_opened(own))
                of[row], offset[row] = numbers[id(own)], own.table["offset"][at]
        return replace(self, files=files, file_index=of, offset=offset)

    def chunks(self) -> list[tuple[int, int]]:
        """Runs [first, end) of rows that lie one behind the other, of CHUNK bytes or one row."""
        ends = self.offset + self.length
        breaks = (self.file_index[1:] != self.file_index[:-1]) | (self.offset[1:] != ends[:-1])
        result, first, size = [], 0, 0
        for row, (length, broken) in enumerate(zip(self.length.tolist(), [False, *breaks.tolist()], strict=False)):
            if row > first and (broken or size + length > CHUNK_BYTES):
                result.append((first, row))
                first, size = row, 0
            size += length
        return [*result, (first, len(self.length))] if len(self.length) else []


def _opened(segment: Segment) -> DataFile:
    assert segment.data is not None  # `Segment.open` has been called
    return segment.data


def find_damaged(
    layout: RowLayout, buffer: npt.NDArray[np.uint8] | None = None, advance: Callable[[int], None] = lambda rows: None
) -> list[bytes]:
    """Read every row and return the digests of those that are not what was written.

    held: takes the rows one after the other, (layout.bytes,). advance: called after every few rows, with their number.
    Memory besides: THREADS chunks.
    """
    bad: list[bytes] = []
    starts = np.concatenate([[0], np.cumsum(layout.length)])
    spare: queue.SimpleQueue[npt.NDArray[np.uint8]] = queue.SimpleQueue()

    def sound(first: int, end: int) -> list[int]:
        if buffer is not None:
            return _bad_rows(layout, first, end, buffer[starts[first] : starts[end]], None)
        try:
            scratch = spare.get_nowait()
        except queue.Empty:
            scratch = np.empty(CHUNK_BYTES, np.uint8)
        try:
            return _bad_rows(layout, first, end, None, scratch)
        finally:
            spare.put(scratch)

    chunks = layout.chunks()
    pool = ThreadPoolExecutor(CHECK_THREADS, "thaw-cache")
    try:
        for (first, end), wrong in zip(chunks, pool.map(lambda chunk: sound(*chunk), chunks), strict=True):
            bad += [layout.digests[row] for row in wrong]
            advance(end - first)
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C does not wait for gigabytes
    return bad


def _bad_rows(
    layout: RowLayout,
    first: int,
    end: int,
    target: npt.NDArray[np.uint8] | None,
    scratch: npt.NDArray[np.uint8] | None,
) -> list[int]:
    """Read one chunk, into its place in memory or through the scratch, and return which of its rows are damaged."""
    file, start = layout.files[layout.file_index[first]], int(layout.offset[first])
    lengths = layout.length[first:end].tolist()
    try:
        if end - first == 1:
            crc = _long(file, start, lengths[0], target, scratch)
            return [] if crc == layout.crc[first] else [first]
        buffer = target if target is not None else scratch[: sum(lengths)]  # type: ignore[index]
        file.read_into(buffer, start)
    except (EOFError, OSError):
        # One unreadable sector must not cost the whole chunk: row by row, only its own.
        if end - first == 1:
            return [first]
        return [
            row
            for row in range(first, end)
            if _bad_rows(layout, row, row + 1, _part(layout, first, row, target), scratch)
        ]
    bad, at = [], 0
    view = buffer.data
    for row, (length, crc) in enumerate(zip(lengths, layout.crc[first:end].tolist(), strict=True), start=first):
        if zlib.crc32(view[at : at + length]) != crc:
            bad.append(row)
        at += length
    return bad


def _part(
    layout: RowLayout, first: int, row: int, target: npt.NDArray[np.uint8] | None
) -> npt.NDArray[np.uint8] | None:
    if target is None:
        return None
    at = int(layout.length[first:row].sum())
    return target[at : at + int(layout.length[row])]


def _long(
    file: DataFile,
    start: int,
    length: int,
    target: npt.NDArray[np.uint8] | None,
    scratch: npt.NDArray[np.uint8] | None,
) -> int:
    """The checksum of one row of any length, read piece by piece."""
    crc, at = 0, 0
    while at < length:
        size = min(CHUNK_BYTES, length - at)
        piece = target[at : at + size] if target is not None else scratch[:size]  # type: ignore[index]
        file.read_into(piece, start + at)
        crc = zlib.crc32(piece.data, crc)
        at += size
    return crc


class CachedRows:
    """The rows of a call's digests, in their order; read-only, and for any number of threads.

    hits, misses: how many of them were there before, and how many had to be computed; a digest that occurs again is a
    hit. bytes: of all distinct rows.
    """

    def __init__(
        self,
        digests: Sequence[bytes],
        layout: RowLayout,
        held: npt.NDArray[np.uint8] | None,
        misses: int,
        find: LocateRows,
    ) -> None:
        number = {digest: row for row, digest in enumerate(layout.digests)}
        self._where = np.array([number[digest] for digest in digests], np.int64)
        self.hits, self.misses, self.nbytes = len(digests) - misses, misses, layout.nbytes
        self._layout, self._held = layout, held
        self._find, self._finding = find, threading.Lock()
        lengths = np.unique(layout.length)
        self._length = int(lengths[0]) if len(lengths) == 1 else None if len(lengths) else 0
        self._starts = np.concatenate([[0], np.cumsum(layout.length)])
        self._table: npt.NDArray[np.uint8] | None = None  # (D, row_bytes)
        if held is not None:
            held.flags.writeable = False
            layout.files = []  # nothing will be read again
            if self._length is not None:
                self._table = held.reshape(len(layout.length), self._length)

    def __len__(self) -> int:
        return len(self._where)

    def shape(self, position: int) -> tuple[int, ...]:
        """Shape of the array that was given."""
        row = self._where[position]
        return tuple(self._layout.shape[row, : self._layout.ndim[row]].tolist())

    def take(self, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """Rows as a new array: uint8 (B, row_bytes). Raises ValueError when rows are not all of one length."""
        if self._length is None:
            raise ValueError("take: the rows are not all of one length; use one(position)")
        rows = self._where[positions]
        if self._table is not None:
            return self._table[rows]
        taken = np.empty((len(rows), self._length), np.uint8)
        for into, row in zip(taken, rows.tolist(), strict=True):
            self._read(row, into)
        return taken

    def row(self, position: int) -> npt.NDArray[np.uint8]:
        """One row: uint8 (row_bytes,), not to be written to."""
        row = int(self._where[position])
        if self._held is not None:
            return self._held[self._starts[row] : self._starts[row + 1]]
        alone = np.empty(int(self._layout.length[row]), np.uint8)
        self._read(row, alone)
        alone.flags.writeable = False
        return alone

    def _read(self, row: int, into: npt.NDArray[np.uint8]) -> None:
        layout = self._layout
        try:
            for _ in range(LISTING_ATTEMPTS):
                try:
                    return layout.read_into(row, into)
                except FileNotFoundError:  # merged with others, or evicted; and no longer open
                    layout = self._again(row, int(layout.file_index[row]))
            layout.read_into(row, into)
        except (EOFError, OSError) as error:
            raise UserError(
                f"the cache can no longer be read: {error}. Run again, and what is damaged will be computed anew; "
                f"{command_lines.script_command('cache')} action=verify checks everything"
            ) from error

    def _again(self, row: int, file: int) -> RowLayout:
        """Look for a row whose file is gone, and for all like it, unless another thread has meanwhile."""
        with self._finding:
            if self._layout.file_index[row] == file:
                self._layout = self._layout.relocated(self._find)
            return self._layout


def load_rows(
    digests: Sequence[bytes], places: Mapping[bytes, RowLocation], misses: int, find: LocateRows
) -> tuple[CachedRows | None, list[bytes]]:
    """Open the rows of `digests`, in memory while there is room; or return None and the digests that are damaged.

    find: for rows that are read later, when their file has gone.
    """
    layout = RowLayout.from_locations(places)
    held = _memory(layout.nbytes)
    bad = find_damaged(layout, held)
    return (None, bad) if bad else (CachedRows(digests, layout, held, misses, find), [])


def _memory(size: int) -> npt.NDArray[np.uint8] | None:
    """An array of so many bytes, or None when the process would hold more than HELD.

    Its bytes are given back when the array and all views of it are gone.
    """
    with _taking:
        # Copied at once, and a finalizer does one step: it may come between any two of ours.
        if sum(_held.copy().values()) + size > MAX_MEMORY_BYTES:
            return None
        held, mark = np.empty(size, np.uint8), object()
        _held[mark] = size
        weakref.finalize(held, _held.pop, mark)
        return held
