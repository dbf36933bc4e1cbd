"""Predictions that are written a group of images at a time into a file, which goes on where an interruption left it.

While images are missing, `NAME.part` holds the rows that are there, in the file's own form (of Parquet: lines of JSON),
`NAME.part.json` says of what they are and how far they go, and `NAME.bad.csv.part` lists the files that cannot be read.
"""

import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from thaw.common.console import display_path, printable, say
from thaw.common.csv_text import spreadsheet_lines
from thaw.common.files import open_atomic, remove_files
from thaw.data.file_bytes import BadImageError
from thaw.data.quarantine import COLUMNS, MAX_LISTED
from thaw.tools.parquet_listing import write_parquet_listing
from thaw.tools.partial_record import PartialRecord, open_at, part_of
from thaw.tools.prediction_listing import SUFFIXES, ListedImage, ListingText

FORMAT = 1  # raise it when an older version's partial file may not be continued
COMMIT_SECONDS = 1.0  # between two records, each of which waits for the disk


@dataclass
class ListingState:
    """How far a listing goes.

    done: files that were read. images: of these, those that have rows. rejected: those below `reject_below`. bad: files
    that cannot be read. first_bad: the first MAX_LISTED of them, for the terminal. size, bad_size: bytes of the rows
    and of the list of bad files.
    """

    done: int = 0
    images: int = 0
    rejected: int = 0
    bad: int = 0
    first_bad: list[str] = field(default_factory=list)
    size: int = 0
    bad_size: int = 0

    def count(self, images: Sequence[ListedImage]) -> None:
        """Count images that have rows."""
        self.images += len(images)
        self.rejected += sum(image.rejected for image in images)

    def count_bad(self, errors: Sequence[BadImageError]) -> None:
        """Count files that cannot be read."""
        self.bad += len(errors)
        self.first_bad += map(str, errors[: MAX_LISTED - len(self.first_bad)])


def bad_list_of(target: Path) -> Path:
    """Return the list of unreadable files beside a listing: `FILE.bad.csv`, without the listing's own suffix."""
    name = target.stem if target.suffix.lower() in SUFFIXES else target.name
    return target.with_name(f"{name}.bad.csv")


class PartialListing:
    """The partial file of one listing; use it in a `with`, which locks it.

    Args:
        target: the file that is wanted in the end.
        form: csv, json, jsonl or parquet.
        labelled: as in `ListingText`.
        identity: what the rows depend on, by name; a partial file of another identity is started anew.
        resumable: False starts it anew always.

    Attributes:
        state: how far it goes.
    """

    def __init__(
        self, target: Path, form: str, identity: Mapping[str, Any], *, labelled: bool = False, resumable: bool = True
    ) -> None:
        self.target, self._parquet, self._labelled, self._resumable = target, form == "parquet", labelled, resumable
        self._text = ListingText("jsonl" if self._parquet else form, labelled)
        self._part, self._bad_part = part_of(target), part_of(bad_list_of(target))
        self._record = PartialRecord(self._part, {"version": FORMAT, **identity})
        self.state = ListingState()

    def __enter__(self) -> "PartialListing":
        """Lock the partial file and continue it, or start it."""
        self._record.lock()
        if not (self._resumable and self._continue()):
            self._record.remove()  # first: it is of rows that are about to go
            head, bad_head = self._text.head(), spreadsheet_lines([COLUMNS]).encode()
            self._part.write_bytes(head)
            self._bad_part.write_bytes(bad_head)
            self.state = ListingState(size=len(head), bad_size=len(bad_head))
        self._rows = open_at(self._part, self.state.size)
        self._bad_rows = open_at(self._bad_part, self.state.bad_size)
        self._recorded, self._next_record = self._whole_groups(), time.monotonic() + COMMIT_SECONDS
        self._saved = self._recorded
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._save()
        finally:
            self._rows.close()
            self._bad_rows.close()
            self._record.unlock()

    def _continue(self) -> bool:
        """Read the record of a partial file; return whether it is one of the same rows, and whole."""
        record = self._record.read()
        if record is None:
            return False
        try:
            state = ListingState(**{key: record[key] for key in asdict(ListingState())})
            whole = self._part.stat().st_size >= state.size and self._bad_part.stat().st_size >= state.bad_size
        except (KeyError, TypeError, OSError):
            whole = False
        if not whole:
            self._record.say_begun_anew()
            return False
        self.state = state
        return True

    def add(self, images: Sequence[ListedImage]) -> None:
        """Write the rows of images, which the next `commit` counts."""
        rows = self._text.rows(images, self.state.images)
        self._rows.write(rows)
        self.state.size += len(rows)
        self.state.count(images)

    def add_bad(self, errors: Sequence[BadImageError]) -> None:
        """List files that cannot be read."""
        lines = spreadsheet_lines((error.path, error.kind, error.reason) for error in errors)
        rows = lines.encode("utf-8", "surrogateescape")
        self._bad_rows.write(rows)
        self.state.bad_size += len(rows)
        self.state.count_bad(errors)

    def commit(self, files: int) -> None:
        """Count the next `files` files as done: what was added. It is recorded now and then, and when this ends."""
        self.state.done += files
        self._recorded = self._whole_groups()
        if time.monotonic() >= self._next_record:
            self._save()

    def _whole_groups(self) -> ListingState:
        return replace(self.state, first_bad=list(self.state.first_bad))

    def _save(self) -> None:
        """Record the last commit, once its rows are on the disk."""
        if self._recorded is self._saved or self._rows.closed:
            return
        for file in (self._rows, self._bad_rows):
            file.flush()
            os.fsync(file.fileno())
        self._record.write(asdict(self._recorded))
        self._saved, self._next_record = self._recorded, time.monotonic() + COMMIT_SECONDS

    def finish(self) -> None:
        """Give the finished listing its name, and the list of unreadable files beside it; older ones are replaced."""
        self._save()
        self._rows.write(self._text.tail(self.state.images))
        for file in (self._rows, self._bad_rows):
            file.flush()
            os.fsync(file.fileno())
            file.close()
        self._publish_bad_list()
        if self._parquet:
            write_parquet_listing(self._part, self.state.images, self.target, labelled=self._labelled)
            remove_files(self._part)
        else:
            self._part.replace(self.target)
        remove_files(self._bad_part)
        self._record.remove()
        say(f"wrote {printable(str(display_path(self.target)))} · images: {self.state.images:,}")

    def _publish_bad_list(self) -> None:
        """Write the list before the listing: whoever finds the listing finds both."""
        target = bad_list_of(self.target)
        if self.state.bad:
            with self._bad_part.open("rb") as source, open_atomic(target) as file:
                shutil.copyfileobj(source, file)
            shown = printable(str(display_path(target)))
            say(f"wrote {shown} · files that could not be read: {self.state.bad:,}")
        elif target.is_file() and target.open("rb").readline() == spreadsheet_lines([COLUMNS]).encode():
            remove_files(target)  # of an earlier listing
