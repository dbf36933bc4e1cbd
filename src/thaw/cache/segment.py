"""A segment: `<name>.rows`, blobs one after the other, and `<name>.index`, which says what lies where.

The index is the commit. It is written last and whole; rows that no index names do not exist.
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
ROW_DTYPE = np.dtype(
    [
        ("digest", "u1", (32,)),
        ("offset", "<i8"),
        ("length", "<i8"),
        ("crc", "<u4"),
        ("ndim", "<u4"),
        ("shape", "<i8", (4,)),
    ]
)
# How often a folder that changes meanwhile is read: rows that are merged just then lie in a segment not listed before.
LISTING_ATTEMPTS = 5
_MAGIC = b"thaw-idx%d" % FORMAT_VERSION
_HEADER = len(_MAGIC) + 32  # and the sha256 of what follows: a torn index is known by it


class CorruptIndex(Exception):
    """An index that is not what was written."""


def index_size(rows: int) -> int:
    """Length of the index file of so many rows, bytes."""
    return _HEADER + rows * ROW_DTYPE.itemsize


def write_index(path: Path, table: npt.NDArray[np.void]) -> None:
    """Commit: write the index atomically. table: ROW (rows,)."""
    body = table.tobytes()
    write_atomically(path, _MAGIC + hashlib.sha256(body).digest() + body)


def read_index(path: Path) -> npt.NDArray[np.void]:
    """Read an index: ROW (rows,). Raises Torn, or FileNotFoundError when it is gone."""
    content = path.read_bytes()
    body = content[_HEADER:]
    if content[:_HEADER] != _MAGIC + hashlib.sha256(body).digest() or len(body) % ROW_DTYPE.itemsize:
        raise CorruptIndex(path)
    return np.frombuffer(body, ROW_DTYPE)


def row_digests(table: npt.NDArray[np.void]) -> list[bytes]:
    """The digest of every row of a table, 32 bytes each."""
    joined = np.ascontiguousarray(table["digest"]).tobytes()
    return [joined[start : start + 32] for start in range(0, len(joined), 32)]


def data_size(table: npt.NDArray[np.void]) -> int:
    """Bytes of the data file that the index speaks of."""
    return int((table["offset"] + table["length"]).max(initial=0))


@dataclass
class Segment:
    """A segment as its index was when it was read. `data` is open from the time that its rows are wanted."""

    folder: Path
    name: str
    table: npt.NDArray[np.void]
    data: DataFile | None = None

    @property
    def index_path(self) -> Path:
        return self.folder / f"{self.name}.index"

    @property
    def rows_path(self) -> Path:
        return self.folder / f"{self.name}.rows"

    def digests(self) -> list[bytes]:
        """The digest of every row, 32 bytes each."""
        return row_digests(self.table)

    def readable_mask(self) -> npt.NDArray[np.bool_]:
        """Which rows lie within the data file: (rows,)."""
        try:
            size = self.rows_path.stat().st_size
        except FileNotFoundError:
            size = -1
        return self.table["offset"] + self.table["length"] <= size

    def open(self) -> bool:
        """Open the data file, unless it is gone; mark the segment as used now, which keeps it from eviction."""
        if self.data is None:
            with suppress(FileNotFoundError):
                self.data = DataFile(self.rows_path)
        with suppress(OSError):  # a cache that may only be read is read
            os.utime(self.index_path)
        return self.data is not None


def read_segments(folder: Path) -> tuple[list[Segment], list[Path]]:
    """Every committed segment of a space's folder, and the paths of torn indexes. Empty when there is no folder."""
    for _ in range(LISTING_ATTEMPTS):
        before = _changed_at(folder)
        found, torn, vanished = _segments(folder)
        if not vanished and _changed_at(folder) == before:
            break
    return found, torn


def _segments(folder: Path) -> tuple[list[Segment], list[Path], bool]:
    """As `segments`; also whether one was removed between listing and reading."""
    found, torn, vanished = [], [], False
    for path in index_paths(folder):
        try:
            found.append(Segment(folder, path.stem, read_index(path)))
        except FileNotFoundError:
            vanished = True
        except CorruptIndex:
            torn.append(path)
    return found, torn, vanished


def _changed_at(folder: Path) -> int:
    """When a file of the folder was made or removed last, ns."""
    with suppress(FileNotFoundError, NotADirectoryError):
        return folder.stat().st_mtime_ns
    return 0


def index_paths(folder: Path) -> list[Path]:
    """The index files in a space's folder, by name."""
    with suppress(FileNotFoundError, NotADirectoryError):
        return sorted(path for path in folder.iterdir() if path.suffix == ".index")
    return []


def drop_rows(segment: Segment, rows: Collection[int]) -> None:
    """Commit the segment anew without these rows of its table; the caller holds the store's lock.

    What another process has changed since the table was read stays changed.
    """
    bad = {(segment.table[row]["digest"].tobytes(), int(segment.table[row]["offset"])) for row in rows}
    try:
        now = Segment(segment.folder, segment.name, read_index(segment.index_path))
    except (FileNotFoundError, CorruptIndex):
        return
    offsets = now.table["offset"].tolist()
    sound = [pair not in bad for pair in zip(now.digests(), offsets, strict=True)]
    if any(sound):
        write_index(now.index_path, now.table[sound])
    else:
        remove_files(now.index_path, now.rows_path)


def collect_garbage(folder: Path) -> int:
    """Remove what killed writers left in a space, and what is torn or short; return how many rows that cost.

    The caller holds the space's and the store's lock: rows without an index are nobody's work in progress.
    """
    found, torn = read_segments(folder)
    remove_files(*torn)
    lost = len(torn)  # how many rows a torn index had, nobody knows: at least one
    for segment in found:
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
