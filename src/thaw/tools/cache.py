"""Lists what the cache keeps, checks it row by row, and makes room."""

import json
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from rich.table import Table

from thaw.cache import eviction, rows, segment
from thaw.cache.eviction import StoredSegment
from thaw.cache.file_pool import DataFile
from thaw.cache.locks import SHORT_WAIT_SECONDS, as_user_error, cache_lock, try_space_lock
from thaw.common.console import ProgressHandle, format_bytes, print_table, progress, say
from thaw.common.errors import UserError, did_you_mean, joined
from thaw.common.files import remove_files
from thaw.config.tool_schemas import CacheToolConfig

# Of a key, what tells one space from the next; shown in this order when it is there.
DESCRIBED_FIELDS = ("kind", "backbone", "cut", "image_size", "precision", "view")
DAY_SECONDS = 86400.0  # seconds


@dataclass
class SpaceListing:
    """A space on disk. key: what its space.json says, empty when it says nothing."""

    folder: Path
    key: dict
    segments: list[StoredSegment]

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def bytes(self) -> int:
        return sum(own.nbytes for own in self.segments)

    @property
    def description(self) -> str:
        names = [name for name in DESCRIBED_FIELDS if self.key.get(name) is not None] or list(self.key)[:3]
        return " · ".join(_short(self.key[name]) for name in names) or "?"


def cache(config: CacheToolConfig) -> None:
    """List, verify or clear; other runs may use the cache meanwhile.

    Raises UserError for a space that is not there, for `verify` with `unused_days`, and at the end of `verify` when a
    row was damaged.
    """
    if config.action == "verify" and config.unused_days:
        raise UserError("unused_days is for action=list and action=clear; action=verify checks all rows")
    folder = Path(config.cache.dir).expanduser().absolute()
    spaces = _spaces(folder)
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


def _spaces(folder: Path) -> list[SpaceListing]:
    found = (SpaceListing(own, _key(own), eviction.list_space_segments(own)) for own in eviction.space_folders(folder))
    return [space for space in found if space.segments]


def _key(space: Path) -> dict:
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
    near = did_you_mean(prefix, [own[: len(prefix or "")] for own in ids])
    raise UserError(f"space={prefix} begins no space's id.{near} There are: {joined(ids)}")


def _short(value: object) -> str:
    text = joined(value) if isinstance(value, list) else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _unused(days: float) -> Callable[[StoredSegment], bool]:
    """Whether a segment was not used for so many days; 0: every one."""
    before = time.time() - days * DAY_SECONDS
    return lambda own: not days or own.last_used < before


def _list(spaces: list[SpaceListing], folder: Path, max_bytes: float, old: Callable[[StoredSegment], bool]) -> None:
    spaces = [replace(space, segments=own) for space in spaces if (own := list(filter(old, space.segments)))]
    table = Table(title=str(folder), title_justify="left")
    for column in ("space", "what", "rows", "size", "last used"):
        table.add_column(column, justify="right" if column in ("rows", "size") else "left", no_wrap=column != "what")
    for space in sorted(spaces, key=_used, reverse=True):
        names = {own.name for own in space.segments}
        count = sum(len(own.table) for own in segment.read_segments(space.folder)[0] if own.name in names)
        table.add_row(space.id, space.description, f"{count:,}", format_bytes(space.bytes), _when(_used(space)))
    print_table(table)
    total = sum(space.bytes for space in spaces)
    say(
        f"{len(spaces)} space{'s' * (len(spaces) != 1)} · {format_bytes(total)} of {format_bytes(max_bytes)} "
        "(cache.max_gb)"
    )


def _used(space: SpaceListing) -> float:
    return max(own.last_used for own in space.segments)


def _when(seconds: float) -> str:
    if not seconds:  # nothing is committed yet
        return "being written"
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")


def _verify(spaces: list[SpaceListing], folder: Path) -> None:
    checked = damaged = torn = 0
    total = sum(len(own.table) for space in spaces for own in segment.read_segments(space.folder)[0])
    with progress("checking rows", total) as steps:
        for space in spaces:
            steps.describe(f"checking {space.id}")
            found, broken = segment.read_segments(space.folder)
            for path in broken:
                torn += 1
                say(f"damaged: space {space.id}, index {path.name}, and with it the rows that it names")
                with cache_lock(folder), as_user_error(folder):
                    remove_files(path)
            for own in found:
                bad = _bad(own, steps)
                checked += len(own.table)
                damaged += len(bad)
                for row in bad:
                    say(f"damaged: space {space.id}, row {own.digests()[row].hex()}")
                if bad:
                    with cache_lock(folder), as_user_error(folder):
                        segment.drop_rows(own, bad)
    if damaged or torn:
        indexes = f" and {torn} index{'es' * (torn > 1)}" if torn else ""
        raise UserError(
            f"{damaged} of {checked:,} rows{indexes} in {folder} were damaged and are dropped: "
            f"the next run that needs them computes them again"
        )
    say(f"{checked:,} rows in {len(spaces)} space{'s' * (len(spaces) > 1)}: sound")


def _bad(own: segment.Segment, steps: ProgressHandle) -> list[int]:
    """The rows of a segment that are not what was written; none when it was evicted meanwhile."""
    try:
        own.data = DataFile(own.rows_path)
    except FileNotFoundError:
        return list(range(len(own.table))) if own.index_path.exists() else []
    numbers = {digest: row for row, digest in enumerate(own.digests())}
    places = {digest: (own, row) for digest, row in numbers.items()}
    return [
        numbers[digest] for digest in rows.find_damaged(rows.RowLayout.from_locations(places), advance=steps.advance)
    ]


def _clear(spaces: list[SpaceListing], folder: Path, old: Callable[[StoredSegment], bool]) -> None:
    freed = 0
    for space in spaces:
        with as_user_error(folder), try_space_lock(folder, space.id, SHORT_WAIT_SECONDS) as nobody:
            if not nobody:
                say(f"space {space.id} is in use by a run that computes; it stays")
                continue
            with cache_lock(folder):
                freed += _clear_one(space.folder, old)
    say(f"{format_bytes(freed)} removed from {folder}")


def _clear_one(space: Path, old: Callable[[StoredSegment], bool]) -> int:
    freed = 0
    for own in eviction.list_space_segments(space):  # again, now that nothing changes any more
        if old(own):
            own.remove()
            freed += own.nbytes
    if not eviction.list_space_segments(space):
        shutil.rmtree(space, ignore_errors=True)
    return freed
