"""Merging the many small segments of a space into few: each takes a file, an index to read and a descriptor."""

import os
import secrets
import shutil
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from thaw.cache import eviction, segment, writer
from thaw.cache.eviction import StoredSegment
from thaw.cache.file_pool import DataFile
from thaw.cache.locks import cache_lock
from thaw.common.console import say

# Small segments that may lie in a space.
MAX_SMALL_SEGMENTS = 32
MIN_MERGED_SEGMENTS = 4  # segments that are worth merging
# Of the largest segment; in bytes of data and index, as rows of a few bytes have an index that is larger.
SMALL_FRACTION = 1 / 8
ANNOUNCED_BYTES = 1_000_000_000  # that many take long enough to copy to print a line


def small_segments(folder: Path, max_bytes: float) -> list[StoredSegment]:
    """Return the committed segments of a space's folder that are worth merging, the least recently used first."""
    limit = SMALL_FRACTION * writer.max_segment_bytes(max_bytes)
    segments = [each for each in eviction.list_space_segments(folder) if each.committed and each.nbytes <= limit]
    return sorted(segments, key=lambda each: each.last_used)


def merge_small_segments(cache_folder: Path, folder: Path, max_bytes: float) -> None:
    """Merge the small segments of a space, as far as there is room. The caller holds the space's lock.

    No committed row is lost whenever the process is killed: the old segments are removed when the new one is committed.
    Processes that read them can still do so. Raises OSError, UserError.
    """
    remaining = small_segments(folder, max_bytes)
    if (size := sum(small.nbytes for small in remaining)) > ANNOUNCED_BYTES:
        say(f"cache: merging {len(remaining):,} small files of {folder}, {size / 1e9:.1f} GB, into larger ones")
    while len(remaining) > 1:
        path = folder / f"{secrets.token_hex(8)}.rows"
        group = _reserve(cache_folder, path, remaining, max_bytes)
        if not group:
            return
        try:
            _merge(cache_folder, path, group)
        finally:
            if not path.with_suffix(".index").exists():
                path.unlink(missing_ok=True)
        del remaining[: len(group)]


def _reserve(cache_folder: Path, path: Path, small: Sequence[StoredSegment], max_bytes: float) -> list[StoredSegment]:
    """Make a file as long as the segments that are to be merged into it, as both exist until the commit.

    Returns these segments; none when too few to be worth it fit into the room that is left.
    """
    with cache_lock(cache_folder):
        room = max_bytes - sum(each.nbytes for each in eviction.list_segments(cache_folder))
        limit = min(writer.max_segment_bytes(max_bytes), room, shutil.disk_usage(path.parent).free)
        sizes = np.cumsum([each.nbytes for each in small])
        group = list(small[: int(np.searchsorted(sizes, limit, side="right"))])
        if len(group) < min(MIN_MERGED_SEGMENTS, len(small)):
            return []
        with path.open("xb") as file:
            file.truncate(int(sizes[len(group) - 1]))
    return group


def _merge(cache_folder: Path, path: Path, group: Sequence[StoredSegment]) -> None:
    """Write the rows of a group into the file and commit them; then remove the segments that they were copied from."""
    copied: list[StoredSegment] = []
    tables: list[np.ndarray] = []
    merged_digests: set[bytes] = set()
    end = 0
    with path.open("r+b") as file:
        for old in group:
            if (content := _read_intact(old)) is None:
                continue
            copied.append(old)
            rows, table = _new_rows(*content, merged_digests)
            table["offset"] = end + np.cumsum(table["length"]) - table["length"]
            tables.append(table)
            file.write(rows)
            end += len(rows)
        if len(copied) < 2:
            return
        file.flush()
        os.fsync(file.fileno())
        with cache_lock(cache_folder):
            file.truncate(end)
            index = path.with_suffix(".index")
            segment.write_index(index, np.concatenate(tables))
            last_used = max(old.last_used for old in copied)
            os.utime(index, (last_used, last_used))
            for old in copied:
                old.remove()


def _read_intact(old: StoredSegment) -> tuple[np.ndarray, np.ndarray] | None:
    """A segment's data, uint8 (bytes,), and its table; None when it is gone or one of its rows is damaged.

    Damage is left to whoever needs the rows: it is noticed and printed then, and they are computed anew.
    """
    with suppress(OSError, EOFError, segment.CorruptIndex):
        table = segment.read_index(old.index_path)
        data = np.empty(segment.data_size(table), np.uint8)
        DataFile(old.rows_path).read_into(data, 0)
        view = data.data
        locations = zip(table["offset"].tolist(), table["length"].tolist(), table["crc"].tolist(), strict=True)
        if all(zlib.crc32(view[offset : offset + length]) == crc for offset, length, crc in locations):
            return data, table
    return None


def _new_rows(data: np.ndarray, table: np.ndarray, merged_digests: set[bytes]) -> tuple[bytes, np.ndarray]:
    """The rows whose digest is not merged yet, one after the other, and their table with the offsets in `data`."""
    new = []
    for row, digest in enumerate(segment.row_digests(table)):
        if digest not in merged_digests:
            merged_digests.add(digest)
            new.append(row)
    table = table[new]
    locations = zip(table["offset"].tolist(), table["length"].tolist(), strict=True)
    return b"".join(data[offset : offset + length].tobytes() for offset, length in locations), table
