"""A segment: `<name>.rows`, rows one after the other, and `<name>.index`, which says where each of them lies.

Writing the index is the commit. It is written last and atomically; rows that no index names do not exist.
"""

import hashlib
import os
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from thaw.cache.file_pool import DataFile
from thaw.common.files import remove_files, write_atomically

FORMAT_VERSION = 1
# One row: sha256 of the image, bytes from the file's start, bytes, zlib.crc32, and the array's shape.
ROW_DTYPE = np.dtype([
    ("digest", "u1", (32,)), ("offset", "<i8"), ("length", "<i8"), ("crc", "<u4"), ("ndim", "<u4"),
    ("shape", "<i8", (4,)),
])  # fmt: skip
# How often a folder is listed that changes meanwhile: a merge moves rows into a segment that was not listed before.
LISTING_ATTEMPTS = 5
_MAGIC = b"thaw-idx%d" % FORMAT_VERSION
_HEADER_BYTES = len(_MAGIC) + 32  # and the sha256 of what follows, which a partly written index does not match


class CorruptIndex(Exception):
    """An index is not what was written."""


@dataclass
class SegmentFiles:
    """The two files of a segment, in a space's folder."""

    folder: Path
    name: str

    @property
    def index_path(self) -> Path:
        """The path of the index."""
        return self.folder / f"{self.name}.index"

    @property
    def rows_path(self) -> Path:
        """The path of the data file."""
        return self.folder / f"{self.name}.rows"

    def remove(self) -> None:
        """Remove the index, then the data file: data without an index is garbage, an index without data is damage."""
        remove_files(self.index_path, self.rows_path)


@dataclass
class Segment(SegmentFiles):
    """A segment with the rows that its index named when it was read. `data` is open once a row is wanted."""

    table: npt.NDArray[np.void]
    data: DataFile | None = None

    def digests(self) -> list[bytes]:
        """Return the digest of every row, 32 bytes each."""
        return row_digests(self.table)

    def readable_mask(self) -> npt.NDArray[np.bool_]:
        """Return which rows lie within the data file: (rows,)."""
        try:
            size = self.rows_path.stat().st_size
        except FileNotFoundError:
            size = -1
        return self.table["offset"] + self.table["length"] <= size

    def open(self) -> bool:
        """Open the data file and mark the segment as used now, for eviction; return whether the file is still there."""
        if self.data is None:
            with suppress(FileNotFoundError):
                self.data = DataFile(self.rows_path)
        with suppress(OSError):  # a cache that may only be read is read
            os.utime(self.index_path)
        return self.data is not None


RowLocation = tuple[Segment, int]  # a row's segment, and its number in the segment's table


def index_size(rows: int) -> int:
    """Return the length of the index file of so many rows, in bytes."""
    return _HEADER_BYTES + rows * ROW_DTYPE.itemsize


def write_index(path: Path, table: npt.NDArray[np.void]) -> None:
    """Commit: write the index atomically. table: ROW_DTYPE (rows,)."""
    body = table.tobytes()
    write_atomically(path, _MAGIC + hashlib.sha256(body).digest() + body)


def read_index(path: Path) -> npt.NDArray[np.void]:
    """Read an index: ROW_DTYPE (rows,). Raises CorruptIndex, or FileNotFoundError when it is gone."""
    content = path.read_bytes()
    body = content[_HEADER_BYTES:]
    if content[:_HEADER_BYTES] != _MAGIC + hashlib.sha256(body).digest() or len(body) % ROW_DTYPE.itemsize:
        raise CorruptIndex(path)
    return np.frombuffer(body, ROW_DTYPE)


def row_digests(table: npt.NDArray[np.void]) -> list[bytes]:
    """Return the digest of every row of a table, 32 bytes each."""
    joined = np.ascontiguousarray(table["digest"]).tobytes()
    return [joined[start : start + 32] for start in range(0, len(joined), 32)]


def data_size(table: npt.NDArray[np.void]) -> int:
    """Return how many bytes of the data file the index covers."""
    return int((table["offset"] + table["length"]).max(initial=0))


def read_segments(folder: Path) -> tuple[list[Segment], list[Path]]:
    """Read every committed segment of a space's folder; return them and the paths of corrupt indexes.

    Both are empty when there is no folder.
    """
    for _ in range(LISTING_ATTEMPTS):
        modified = _modified_at(folder)
        segments, corrupt, vanished = _read_segments_once(folder)
        if not vanished and _modified_at(folder) == modified:
            break
    return segments, corrupt


def _read_segments_once(folder: Path) -> tuple[list[Segment], list[Path], bool]:
    """As `read_segments`; also whether one was removed between listing and reading."""
    segments, corrupt, vanished = [], [], False
    with suppress(FileNotFoundError, NotADirectoryError):
        for path in sorted(path for path in folder.iterdir() if path.suffix == ".index"):
            try:
                segments.append(Segment(folder, path.stem, read_index(path)))
            except FileNotFoundError:
                vanished = True
            except CorruptIndex:
                corrupt.append(path)
    return segments, corrupt, vanished


def _modified_at(folder: Path) -> int:
    """When a file of the folder was made or removed last, in ns."""
    with suppress(FileNotFoundError, NotADirectoryError):
        return folder.stat().st_mtime_ns
    return 0


def drop_rows(segment: Segment, rows: Collection[int]) -> None:
    """Commit the segment anew without these rows of its table. The caller holds the cache's lock.

    Other changes that another process has made since the table was read stay.
    """
    dropped = {(segment.table[row]["digest"].tobytes(), int(segment.table[row]["offset"])) for row in rows}
    try:
        now = Segment(segment.folder, segment.name, read_index(segment.index_path))
    except (FileNotFoundError, CorruptIndex):
        return
    offsets = now.table["offset"].tolist()
    intact = [pair not in dropped for pair in zip(now.digests(), offsets, strict=True)]
    if any(intact):
        write_index(now.index_path, now.table[intact])
    else:
        now.remove()


def collect_garbage(folder: Path) -> int:
    """Remove what killed writers left in a space, and rows that are damaged; return how many rows are lost.

    The caller holds the locks of the space and of the cache, so data without an index is nobody's work in progress.
    """
    segments, corrupt = read_segments(folder)
    remove_files(*corrupt)
    lost = len(corrupt)  # nobody knows how many rows a corrupt index had: at least one
    for segment in segments:
        readable = segment.readable_mask()
        if not readable.all():
            lost += int((~readable).sum())
            drop_rows(segment, np.flatnonzero(~readable).tolist())
    committed = {segment.name: segment for segment in read_segments(folder)[0]}
    for path in list(folder.iterdir()):
        if path.suffix == ".tmp" or (path.suffix == ".rows" and path.stem not in committed):
            remove_files(path)
        elif path.suffix == ".rows" and path.stat().st_size > (end := data_size(committed[path.stem].table)):
            os.truncate(path, end)  # written, and killed before the commit
    return lost
