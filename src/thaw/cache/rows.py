"""Rows on disk: checked in one pass from front to back, then held in memory or read one by one."""

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
from thaw.cache.segment import LISTING_ATTEMPTS, ROW_DTYPE, RowLocation, Segment
from thaw.common.errors import UserError
from thaw.config import command_lines

# Bytes that all rows of the process may hold in memory together: a run on 50,000 images is to need 4 GB in all,
# whatever its splits and views are. Rows that no longer fit are read from disk one by one.
MAX_MEMORY_BYTES = 1_000_000_000
# Bytes read at once by each of the threads that check: small enough that the checksum finds them in the CPU's cache.
CHUNK_BYTES = 4_000_000
CHECK_THREADS = 2

ByteArray = npt.NDArray[np.uint8]
# Returns where those rows lie whose digests are asked for and committed now.
LocateRows = Callable[[Collection[bytes]], Mapping[bytes, RowLocation]]

# Bytes of every array of `_allocate` that is still referenced, by an object of its own.
_held: dict[object, int] = {}
_held_lock = threading.Lock()


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
    def from_locations(cls, locations: Mapping[bytes, RowLocation]) -> "RowLayout":
        """Lay out rows by digest. The segments' data files are open."""
        by_segment: dict[int, tuple[Segment, list[tuple[int, bytes]]]] = {}
        for digest, (segment, row) in locations.items():
            by_segment.setdefault(id(segment), (segment, []))[1].append((row, digest))
        digests: list[bytes] = []
        file_index: list[int] = []
        tables = [np.empty(0, ROW_DTYPE)]
        for number, (segment, rows) in enumerate(by_segment.values()):
            rows.sort()  # a table is in the order of the offsets
            digests += [digest for _, digest in rows]
            file_index += [number] * len(rows)
            tables.append(segment.table[[row for row, _ in rows]])
        files = [_opened(segment) for segment, _ in by_segment.values()]
        table = np.concatenate(tables)
        columns = {name: np.ascontiguousarray(table[name]) for name in ("offset", "length", "crc", "ndim", "shape")}
        return cls(digests, files, np.array(file_index, np.int64), **columns)

    @property
    def nbytes(self) -> int:
        """Bytes of all rows."""
        return int(self.length.sum())

    def read_into(self, row: int, buffer: ByteArray) -> None:
        """Read one row. Raises as `DataFile.read_into` does."""
        self.files[self.file_index[row]].read_into(buffer, int(self.offset[row]))

    def relocated(self, locate: LocateRows) -> "RowLayout":
        """Return a layout in which rows whose files are gone lie where they are now; those that are nowhere stay."""
        gone = np.array([not file.path.exists() for file in self.files])
        rows = np.flatnonzero(gone[self.file_index]).tolist()
        locations = locate({self.digests[row] for row in rows})
        files, file_index, offset = list(self.files), self.file_index.copy(), self.offset.copy()
        numbers: dict[int, int] = {}
        for row in rows:
            segment, number = locations.get(self.digests[row], (None, 0))
            if segment is None:
                continue
            entry = segment.table[number]
            # The same bytes: whoever took rows before must not get others now.
            if (entry["length"], entry["crc"]) == (self.length[row], self.crc[row]):
                if id(segment) not in numbers:
                    numbers[id(segment)] = len(files)
                    files.append(_opened(segment))
                file_index[row], offset[row] = numbers[id(segment)], entry["offset"]
        return replace(self, files=files, file_index=file_index, offset=offset)

    def chunks(self) -> list[tuple[int, int]]:
        """Return ranges [first, end) of adjacent rows, of at most CHUNK_BYTES each, or of one longer row."""
        ends = self.offset + self.length
        breaks = (self.file_index[1:] != self.file_index[:-1]) | (self.offset[1:] != ends[:-1])
        ranges, first, size = [], 0, 0
        for row, (length, broken) in enumerate(zip(self.length.tolist(), [False, *breaks.tolist()], strict=False)):
            if row > first and (broken or size + length > CHUNK_BYTES):
                ranges.append((first, row))
                first, size = row, 0
            size += length
        return [*ranges, (first, len(self.length))] if len(self.length) else []


def _opened(segment: Segment) -> DataFile:
    assert segment.data is not None  # `Segment.open` has been called
    return segment.data


def find_damaged(
    layout: RowLayout, buffer: ByteArray | None = None, advance: Callable[[int], None] = lambda rows: None
) -> list[bytes]:
    """Read every row and return the digests of those that are not what was written.

    Args:
        layout: the rows.
        buffer: takes the rows one after the other, (layout.nbytes,); without it memory is CHECK_THREADS chunks.
        advance: called after every few rows, with their number.
    """
    damaged: list[bytes] = []
    starts = np.concatenate([[0], np.cumsum(layout.length)])
    spare: queue.SimpleQueue[ByteArray] = queue.SimpleQueue()

    def check(first: int, end: int) -> list[int]:
        if buffer is not None:
            return _damaged_in_chunk(layout, first, end, buffer[starts[first] : starts[end]])
        try:
            scratch = spare.get_nowait()
        except queue.Empty:
            scratch = np.empty(CHUNK_BYTES, np.uint8)
        try:
            return _damaged_in_chunk(layout, first, end, scratch)
        finally:
            spare.put(scratch)

    chunks = layout.chunks()
    pool = ThreadPoolExecutor(CHECK_THREADS, "thaw-cache")
    try:
        for (first, end), rows in zip(chunks, pool.map(lambda chunk: check(*chunk), chunks), strict=True):
            damaged += [layout.digests[row] for row in rows]
            advance(end - first)
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C does not wait for gigabytes
    return damaged


def _damaged_in_chunk(layout: RowLayout, first: int, end: int, buffer: ByteArray) -> list[int]:
    """Read rows [first, end) into the buffer, which only one long row may exceed; return those that are damaged."""
    file, start = layout.files[layout.file_index[first]], int(layout.offset[first])
    lengths = layout.length[first:end].tolist()
    offsets = np.cumsum([0, *lengths]).tolist()
    if end - first == 1:
        try:
            return [] if _row_crc(file, start, lengths[0], buffer) == layout.crc[first] else [first]
        except (EOFError, OSError):
            return [first]
    parts = [buffer[offset : offset + length] for offset, length in zip(offsets, lengths, strict=False)]
    try:
        file.read_into(buffer[: offsets[-1]], start)
    except (EOFError, OSError):  # one unreadable sector must not cost the whole chunk: row by row, only its own
        rows = zip(range(first, end), parts, strict=True)
        return [row for row, part in rows if _damaged_in_chunk(layout, row, row + 1, part)]
    crcs = layout.crc[first:end].tolist()
    return [first + i for i, (part, crc) in enumerate(zip(parts, crcs, strict=True)) if zlib.crc32(part.data) != crc]


def _row_crc(file: DataFile, start: int, length: int, buffer: ByteArray) -> int:
    """The checksum of one row, read piece by piece, each over the one before if the buffer cannot hold all."""
    crc = 0
    for at in range(0, length, CHUNK_BYTES):
        size = min(CHUNK_BYTES, length - at)
        piece = buffer[at : at + size] if len(buffer) >= length else buffer[:size]
        file.read_into(piece, start + at)
        crc = zlib.crc32(piece.data, crc)
    return crc


class CachedRows:
    """The rows of a call's digests, in their order; read-only, and for any number of threads.

    hits, misses: how many of them were on disk before, and how many had to be computed; a digest that occurs again is a
    hit. nbytes: of all distinct rows.
    """

    def __init__(
        self, digests: Sequence[bytes], layout: RowLayout, held: ByteArray | None, misses: int, locate: LocateRows
    ) -> None:
        numbers = {digest: row for row, digest in enumerate(layout.digests)}
        self._rows = np.array([numbers[digest] for digest in digests], np.int64)
        self.hits, self.misses, self.nbytes = len(digests) - misses, misses, layout.nbytes
        self._layout, self._held = layout, held
        self._locate, self._locating = locate, threading.Lock()
        lengths = np.unique(layout.length)
        self._length = int(lengths[0]) if len(lengths) == 1 else None if len(lengths) else 0
        self._starts = np.concatenate([[0], np.cumsum(layout.length)])
        self._matrix: ByteArray | None = None  # (D, row_bytes)
        if held is not None:
            held.flags.writeable = False
            layout.files = []  # nothing will be read again
            if self._length is not None:
                self._matrix = held.reshape(len(layout.length), self._length)

    def __len__(self) -> int:
        return len(self._rows)

    def shape(self, position: int) -> tuple[int, ...]:
        """Return the shape of the array that the row was made of."""
        row = self._rows[position]
        return tuple(self._layout.shape[row, : self._layout.ndim[row]].tolist())

    def take(self, positions: npt.NDArray[np.int64]) -> ByteArray:
        """Return rows as a new array: uint8 (B, row_bytes). Raises ValueError when rows are not all of one length."""
        if self._length is None:
            raise ValueError("take: the rows are not all of one length; use row(position)")
        rows = self._rows[positions]
        if self._matrix is not None:
            return self._matrix[rows]
        taken = np.empty((len(rows), self._length), np.uint8)
        for buffer, row in zip(taken, rows.tolist(), strict=True):
            self._read(row, buffer)
        return taken

    def row(self, position: int) -> ByteArray:
        """Return one row: uint8 (row_bytes,), read-only."""
        row = int(self._rows[position])
        if self._held is not None:
            return self._held[self._starts[row] : self._starts[row + 1]]
        content = np.empty(int(self._layout.length[row]), np.uint8)
        self._read(row, content)
        content.flags.writeable = False
        return content

    def _read(self, row: int, buffer: ByteArray) -> None:
        layout = self._layout
        try:
            for _ in range(LISTING_ATTEMPTS):
                try:
                    return layout.read_into(row, buffer)
                except FileNotFoundError:  # merged with others, or evicted; and no longer open
                    layout = self._relocate(row, int(layout.file_index[row]))
            layout.read_into(row, buffer)
        except (EOFError, OSError) as error:
            raise UserError(
                f"the cache can no longer be read: {error}. Run again, and what is damaged will be computed anew; "
                f"{command_lines.script_command('cache')} action=verify checks everything"
            ) from error

    def _relocate(self, row: int, file_index: int) -> RowLayout:
        """Locate a row whose file is gone, and all like it, unless another thread has done so meanwhile."""
        with self._locating:
            if self._layout.file_index[row] == file_index:
                self._layout = self._layout.relocated(self._locate)
            return self._layout


def load_rows(
    digests: Sequence[bytes], locations: Mapping[bytes, RowLocation], misses: int, locate: LocateRows
) -> tuple[CachedRows | None, list[bytes]]:
    """Return the rows of `digests`, in memory while there is room; or None and the digests that are damaged.

    misses: how many had to be computed. locate: for rows that are read later, when their file is gone.
    """
    layout = RowLayout.from_locations(locations)
    held = _allocate(layout.nbytes)
    damaged = find_damaged(layout, held)
    return (None, damaged) if damaged else (CachedRows(digests, layout, held, misses, locate), [])


def _allocate(size: int) -> ByteArray | None:
    """An array of so many bytes, or None when the process would hold more than MAX_MEMORY_BYTES.

    Its bytes count until the array and all views of it are gone.
    """
    with _held_lock:
        # Copied at once, and a finalizer does one step: it may come between any two of ours.
        if sum(_held.copy().values()) + size > MAX_MEMORY_BYTES:
            return None
        held, mark = np.empty(size, np.uint8), object()
        _held[mark] = size
        weakref.finalize(held, _held.pop, mark)
        return held
