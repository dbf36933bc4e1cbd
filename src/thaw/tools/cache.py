"""Lists what is in the cache, checks it row by row, and removes it."""

import json
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from rich.table import Table

from thaw.cache.eviction import StoredSegment, list_space_segments, space_folders
from thaw.cache.file_pool import DataFile
from thaw.cache.locks import SHORT_WAIT_SECONDS, cache_errors_explained, cache_lock, try_space_lock
from thaw.cache.rows import RowLayout, find_damaged
from thaw.cache.segment import Segment, drop_rows, read_segments
from thaw.common.console import ProgressHandle, format_bytes, print_table, progress, say
from thaw.common.errors import UserError, did_you_mean, joined
from thaw.common.files import remove_files
from thaw.config.tool_schemas import CacheToolConfig

# The fields of a key that tell one space from the next; printed in this order where they are.
DESCRIBED_FIELDS = ("kind", "backbone", "cut", "image_size", "precision", "view")
DAY_SECONDS = 86400.0


@dataclass
class SpaceListing:
    """A space on disk. key: what its space.json holds, empty when that cannot be read."""

    folder: Path
    key: dict[str, object]
    segments: list[StoredSegment]

    @property
    def id(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def nbytes(self) -> int:
        """Bytes of all segments."""
        return sum(segment.nbytes for segment in self.segments)

    @property
    def last_used(self) -> float:
        """When a segment was used last, in seconds since the epoch; 0 while nothing is committed."""
        return max(segment.last_used for segment in self.segments)

    @property
    def description(self) -> str:
        """The fields of the key that tell it from other spaces."""
        names = [name for name in DESCRIBED_FIELDS if self.key.get(name) is not None] or list(self.key)[:3]
        described = [_shortened(self.key[name]) for name in names]
        if isinstance(sources := self.key.get("from"), list) and sources:  # the cuts that they are computed through
            described.append(f"from {_shortened(sources[-1])}")
        return " · ".join(described) or "?"


def cache(config: CacheToolConfig) -> None:
    """List, verify or clear the cache; other runs may use it meanwhile.

    Raises:
        UserError: the space does not exist, `verify` is given `unused_days`, or, at the end, `verify` found damage.
    """
    if config.action == "verify" and config.unused_days:
        raise UserError("unused_days is for action=list and action=clear; action=verify checks all rows")
    folder = Path(config.cache.dir).expanduser().absolute()
    listings = (SpaceListing(each, _key(each), list_space_segments(each)) for each in space_folders(folder))
    spaces = [space for space in listings if space.segments]
    if not spaces:
        say(f"nothing is kept at {folder}")
        return
    chosen = _chosen(spaces, config.space)
    if config.action == "list":
        _list(chosen, folder, config.cache.max_gb * 1e9, _unused(config.unused_days))
    elif config.action == "verify":
        _verify(chosen, folder)
    else:
        _clear(chosen, folder, _unused(config.unused_days))


def _key(space: Path) -> dict[str, object]:
    with suppress(OSError, ValueError):
        written = json.loads((space / "space.json").read_bytes())
        if isinstance(written, dict) and isinstance(written.get("key"), dict):
            return written["key"]
    return {}


def _chosen(spaces: list[SpaceListing], prefix: str | None) -> list[SpaceListing]:
    chosen = [space for space in spaces if space.id.startswith((prefix or "").lower())]
    if chosen:
        return chosen
    ids = [space.id for space in spaces]
    hint = did_you_mean(prefix, [id[: len(prefix or "")] for id in ids])
    raise UserError(f"space={prefix} begins no space's id.{hint} There are: {joined(ids)}")


def _shortened(value: object) -> str:
    text = joined(value) if isinstance(value, list) else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _unused(days: float) -> Callable[[StoredSegment], bool]:
    """Whether a segment was not used for so many days; 0: every one."""
    limit = time.time() - days * DAY_SECONDS
    return lambda segment: not days or segment.last_used < limit


def _list(spaces: list[SpaceListing], folder: Path, max_bytes: float, listed: Callable[[StoredSegment], bool]) -> None:
    selected = (replace(space, segments=list(filter(listed, space.segments))) for space in spaces)
    spaces = sorted((space for space in selected if space.segments), key=lambda space: -space.last_used)
    table = Table(title=str(folder), title_justify="left")
    for column in ("space", "what", "rows", "size", "last used"):
        table.add_column(column, justify="right" if column in ("rows", "size") else "left", no_wrap=column != "what")
    for space in spaces:
        names = {segment.name for segment in space.segments}
        rows = sum(len(segment.table) for segment in read_segments(space.folder)[0] if segment.name in names)
        used = (
            datetime.fromtimestamp(space.last_used).strftime("%Y-%m-%d %H:%M") if space.last_used else "being written"
        )
        table.add_row(space.id, space.description, f"{rows:,}", format_bytes(space.nbytes), used)
    print_table(table)
    total = format_bytes(sum(space.nbytes for space in spaces))
    say(f"{len(spaces)} space{'s' * (len(spaces) != 1)} · {total} of {format_bytes(max_bytes)} (cache.max_gb)")


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M") if seconds else "being written"


def _verify(spaces: list[SpaceListing], folder: Path) -> None:
    checked = damaged = corrupt = 0
    total = sum(len(segment.table) for space in spaces for segment in read_segments(space.folder)[0])
    with progress("checking rows", total) as bar:
        for space in spaces:
            bar.describe(f"checking {space.id}")
            segments, corrupt_paths = read_segments(space.folder)
            for path in corrupt_paths:
                corrupt += 1
                say(f"damaged: space {space.id}, index {path.name}, and with it the rows that it names")
                with cache_lock(folder), cache_errors_explained(folder):
                    remove_files(path)
            for segment in segments:
                damaged_rows = _damaged_rows(segment, bar)
                checked += len(segment.table)
                damaged += len(damaged_rows)
                for row in damaged_rows:
                    say(f"damaged: space {space.id}, row {segment.digests()[row].hex()}")
                if damaged_rows:
                    with cache_lock(folder), cache_errors_explained(folder):
                        drop_rows(segment, damaged_rows)
    if damaged or corrupt:
        indexes = f" and {corrupt} index{'es' * (corrupt > 1)}" if corrupt else ""
        raise UserError(
            f"{damaged} of {checked:,} rows{indexes} in {folder} were damaged and are dropped: "
            f"the next run that needs them computes them again"
        )
    say(f"{checked:,} rows in {len(spaces)} space{'s' * (len(spaces) > 1)}: sound")


def _damaged_rows(segment: Segment, bar: ProgressHandle) -> list[int]:
    """The rows of a segment that are not what was written; none when it was evicted meanwhile."""
    try:
        segment.data = DataFile(segment.rows_path)
    except FileNotFoundError:
        return list(range(len(segment.table))) if segment.index_path.exists() else []
    numbers = {digest: row for row, digest in enumerate(segment.digests())}
    layout = RowLayout.from_locations({digest: (segment, row) for digest, row in numbers.items()})
    return [numbers[digest] for digest in find_damaged(layout, advance=bar.advance)]


def _clear(spaces: list[SpaceListing], folder: Path, cleared: Callable[[StoredSegment], bool]) -> None:
    freed = 0
    for space in spaces:
        with cache_errors_explained(folder), try_space_lock(folder, space.id, SHORT_WAIT_SECONDS) as locked:
            if not locked:
                say(f"space {space.id} is in use by a run that computes; it stays")
                continue
            with cache_lock(folder):
                for segment in filter(cleared, list_space_segments(space.folder)):  # again, now that it is locked
                    segment.remove()
                    freed += segment.nbytes
                if not list_space_segments(space.folder):
                    shutil.rmtree(space.folder, ignore_errors=True)
    say(f"{format_bytes(freed)} removed from {folder}")
