"""Rows of numbers that are written a group at a time into a file, which goes on where an interruption left it.

While rows are missing, `NAME.part` holds those that are there, in NumPy's format, and `NAME.part.json` says of what
they are and how far they go. Rows are on the disk before the record is, so it is true after a power cut too.
"""

import os
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from thaw.common.files import remove_files
from thaw.tools.partial_record import PartialRecord, open_at, part_of

FORMAT = 1  # raise it when an older version's partial file may not be continued

Bad = tuple[int, str, str]  # position of a file that cannot be read, reason, kind


class PartialRows:
    """The partial file of one target; use it in a `with`, which locks it.

    Args:
        target: the file that is wanted in the end.
        identity: what the rows depend on, by name; a partial file of another identity is started anew.
        shape: of one row.

    Attributes:
        part: the partial file.
        shape: of one row.
        done: how many of the files have been read, unreadable ones included.
        rows: how many rows there are.
        unreadable: of the files that were read, those that have no row.
    """

    def __init__(self, target: Path, identity: Mapping[str, Any], shape: Sequence[int]) -> None:
        self.part = part_of(target)
        self._record = PartialRecord(self.part, {"format": FORMAT, **identity})
        self.shape = tuple(shape)
        self._row_bytes = 4 * int(np.prod(self.shape))
        self.done, self.rows, self._added, self.unreadable = 0, 0, 0, list[Bad]()

    def __enter__(self) -> "PartialRows":
        """Lock the partial file and continue it, or start it."""
        self._record.lock()
        if not self._continue():
            self.done, self.rows, self.unreadable = 0, 0, []
            self._record.remove()  # first: it is of rows that are about to go
            self.part.write_bytes(self._header(0))
        self._file = open_at(self.part, len(self._header(0)) + self.rows * self._row_bytes)
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._record.unlock()

    def _continue(self) -> bool:
        """Read the record of a partial file; return whether it is one of the same rows, and whole."""
        record = self._record.read()
        if record is None:
            return False
        try:
            self.done, self.rows = int(record["done"]), int(record["rows"])
            self.unreadable = [(int(i), str(reason), str(kind)) for i, reason, kind in record["unreadable"]]
            if self.part.stat().st_size >= len(self._header(0)) + self.rows * self._row_bytes:
                return True
        except (ValueError, KeyError, TypeError):
            pass
        self._record.say_begun_anew()
        return False

    def add(self, rows: npt.NDArray[np.float32]) -> None:
        """Write rows, float32 (N, *shape), that the next `commit` records."""
        self._file.write(np.ascontiguousarray(rows, "<f4").tobytes())
        self._added += len(rows)

    def commit(self, files: int, unreadable: Sequence[Bad] = ()) -> None:
        """Record that the next `files` files are done: the rows that were added, and those that are unreadable."""
        self._sync()
        self.done, self.rows, self._added = self.done + files, self.rows + self._added, 0
        self.unreadable += unreadable
        self._record.write({"done": self.done, "rows": self.rows, "unreadable": self.unreadable})

    def finish(self) -> None:
        """Write how many rows there are into the file's beginning: it is a whole .npy file then."""
        self._file.seek(0)
        self._file.write(self._header(self.rows))
        self._sync()

    def remove(self) -> None:
        """Remove the partial file and its record."""
        remove_files(self.part)
        self._record.remove()

    def move_to(self, target: Path) -> None:
        """Give the partial file its final name."""
        self.part.replace(target)
        self._record.remove()

    def _header(self, rows: int) -> bytes:
        """Return NumPy's header; it leaves room for any number of rows, so its length is always the same."""
        header = BytesIO()
        content = {"descr": "<f4", "fortran_order": False, "shape": (rows, *self.shape)}
        np.lib.format.write_array_header_1_0(header, content)
        return header.getvalue()

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
