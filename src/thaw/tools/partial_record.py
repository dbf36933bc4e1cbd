"""The record beside a partial file: of what it is, and how far it goes, so that the same command continues it.

Content is on the disk before the record is, so the record is true after a power cut too.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock, Timeout

from thaw.common.console import display_path, printable
from thaw.common.errors import UserError, joined
from thaw.common.files import remove_files, write_json


def part_of(target: Path) -> Path:
    """Return where the content of `target` lies while it is unfinished."""
    return target.with_name(target.name + ".part")


def open_at(path: Path, size: int) -> BinaryIO:
    """Open a file to write on from this size; what lies beyond is dropped."""
    file = path.open("r+b")
    file.truncate(size)
    file.seek(0, os.SEEK_END)
    return file


class PartialRecord:
    """The lock and the record, `NAME.part.json`, of one partial file.

    Args:
        part: the partial file.
        identity: what its content depends on, by name; a partial file of another identity is not continued.
    """

    def __init__(self, part: Path, identity: Mapping[str, Any]) -> None:
        self._file, lock = (part.with_name(part.name + end) for end in (".json", ".lock"))
        self._part, self._identity, self._lock_file, self._lock = part, dict(identity), lock, FileLock(lock)

    def lock(self) -> None:
        """Lock the partial file; raise UserError when another process is writing it."""
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            shown = printable(str(display_path(self._part)))
            raise UserError(f"another process is writing {shown}: wait for it, or end it") from None

    def unlock(self) -> None:
        """Unlock the partial file."""
        self._lock.release()
        remove_files(self._lock_file)

    def read(self) -> dict[str, Any] | None:
        """Return the record of a partial file of the same identity; None when there is none, and say why.

        Nothing is said where no partial file is.
        """
        if not self._file.is_file() or not self._part.is_file():
            return None
        try:
            record = dict(json.loads(self._file.read_text(encoding="utf-8")))
            identity = dict(record["identity"])
        except (ValueError, KeyError, TypeError):
            record, identity = {}, {}
        here = json.loads(json.dumps(self._identity))
        changed = [name for name in here if identity.get(name) != here[name]]
        if not changed:
            return record
        self.say_begun_anew(f"another {joined(changed)}" if identity else "no readable record")
        return None

    def say_begun_anew(self, why: str = "no readable record") -> None:
        """Say on standard error that the partial file is not continued."""
        print(f"note: {printable(str(display_path(self._part)))} has {why}: it is begun anew", file=sys.stderr)

    def write(self, content: Mapping[str, Any]) -> None:
        """Record how far the partial file goes, which must be on the disk."""
        write_json({**content, "identity": self._identity}, self._file)

    def remove(self) -> None:
        """Remove the record."""
        remove_files(self._file)


@contextmanager
def interruption_noted(done: Callable[[], int], total: int) -> Iterator[None]:
    """Say that the same command continues, when Ctrl-C or SIGTERM ends the work. done: images so far, of `total`."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        print(f"stopped at {done():,} of {total:,} images: the same command continues there", file=sys.stderr)
        raise
