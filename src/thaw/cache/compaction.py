"""Many small segments of a space become few: a file each, an index to read each time, and a descriptor to read it."""

import os
import secrets
import shutil
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from thaw.cache import eviction, segment, writer
from thaw.cache.eviction import StoredSegment
from thaw.cache.file_pool import DataFile
from thaw.cache.locks import store_lock
from thaw.common.console import say

# Small segments that may lie in a space.
MAX_SMALL_SEGMENTS = 32
MIN_MERGED_SEGMENTS = 4  # segments that are worth merging
SMALL_FRACTION = (
    1 / 8
)  # of the largest; in bytes of data and index, as rows of a few bytes have an index that is larger
ANNOUNCED_BYTES = 1_000_000_000  # bytes that take long enough to copy to say so


def small_segments(folder: Path, max_bytes: float) -> list[StoredSegment]:
    """The committed segments of a space's folder that are worth merging, the least recently used first."""
    found = [
        own
        for own in eviction.list_space_segments(folder)
        if own.committed and own.nbytes <= SMALL_FRACTION * writer.max_segment_bytes(max_bytes)
    ]
    return sorted(found, key=lambda own: own.last_used)


def merge_small_segments(store: Path, folder: Path, max_bytes: float) -> None:
    """Merge the small segments of a space, as far as there is room. The caller holds the space's lock.

    No committed row is lost whenever the process is killed: the old segments go when the new one is committed. Who
    reads them goes on reading. Raises OSError, UserError.
    """
    todo = small_segments(folder, max_bytes)
    if (size := sum(own.nbytes for own in todo)) > ANNOUNCED_BYTES:
        say(f"cache: merging {len(todo):,} small files of {folder}, {size / 1e9:.1f} GB, into larger ones")
    while len(todo) > 1:
        path = folder / f"{secrets.token_hex(8)}.rows"
        group = _reserve(store, path, todo, max_bytes)
        if not group:
            return
        try:
            _merge(store, path, group)
        finally:
            if not path.with_suffix(".index").exists():
                path.unlink(missing_ok=True)
        del todo[: len(group)]


def _reserve(store: Path, path: Path, todo: Sequence[StoredSegment], max_bytes: float) -> list[StoredSegment]:
    """Make a file as long as those that are to be merged into it: for a moment there are both.

    Returns which; none when so few fit into the room that is left that they are not worth it.
    """
    with store_lock(store):
        room = max_bytes - sum(own.nbytes for own in eviction.list_segments(store))
        limit = min(writer.max_segment_bytes(max_bytes), room, shutil.disk_usage(path.parent).free)
        sizes = np.cumsum([own.nbytes for own in todo])
        group = list(todo[: int(np.searchsorted(sizes, limit, side="right"))])
        if len(group) < min(MIN_MERGED_SEGMENTS, len(todo)):
            return []
        with path.open("xb") as file:
            file.truncate(int(sizes[len(group) - 1]))
    return group


def _merge(store: Path, path: Path, group: Sequence[StoredSegment]) -> None:
    """Write the rows of a group into the file and commit them; then remove what they were copied from."""
    copied: list[StoredSegment] = []
    tables: list[np.ndarray] = []
    known: set[bytes] = set()
    end = 0
    with path.open("r+b") as file:
        for old in group:
            if (content := _sound(old)) is None:
                continue
            copied.append(old)
            rows, table = _new(content, known)
            table["offset"] = end + np.cumsum(table["length"]) - table["length"]
            tables.append(table)
            file.write(rows)
            end += len(rows)
        if len(copied) < 2:
            return
        file.flush()
        os.fsync(file.fileno())
        with store_lock(store):
            file.truncate(end)
            index = path.with_suffix(".index")
            segment.write_index(index, np.concatenate(tables))
            used = max(old.last_used for old in copied)
            os.utime(index, (used, used))
            for old in copied:
                old.remove()


@dataclass
class _Content:
    data: np.ndarray  # uint8, the whole of a data file that the index speaks of
    table: np.ndarray


def _sound(old: StoredSegment) -> _Content | None:
    """What a segment holds; None when it is gone or not all of it is what was written.

    That is left to whoever needs its rows: then it is noticed, told, and computed again.
    """
    with suppress(OSError, EOFError, segment.CorruptIndex):
        table = segment.read_index(old.folder / f"{old.name}.index")
        data = np.empty(segment.data_size(table), np.uint8)
        DataFile(old.folder / f"{old.name}.rows").read_into(data, 0)
        view = data.data
        places = zip(table["offset"].tolist(), table["length"].tolist(), table["crc"].tolist(), strict=True)
        if all(zlib.crc32(view[at : at + length]) == crc for at, length, crc in places):
            return _Content(data, table)
    return None


def _new(content: _Content, known: set[bytes]) -> tuple[bytes, np.ndarray]:
    """The rows whose digest is not known yet, one behind the other, and their table, with the offsets of before."""
    new = []
    for row, digest in enumerate(segment.row_digests(content.table)):
        if digest not in known:
            known.add(digest)
            new.append(row)
    table = content.table[new]
    places = zip(table["offset"].tolist(), table["length"].tolist(), strict=True)
    return b"".join(content.data[at : at + length].tobytes() for at, length in places), table
