"""Rows as CSV text, for every list that holds names of files: these may hold any character but a slash."""

import csv
import io
from collections.abc import Iterable, Sequence


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    r"""Return a line of column names and a line a row; write it with `errors="surrogateescape", newline=""`.

    Names of files are bytes and need not be UTF-8: written so, they come out as they are on the disk. Lines end in \n.
    """
    lines = _Lines()
    writer = csv.writer(lines, lineterminator="\r\n")  # it quotes what holds a character of its line end: \r too
    writer.writerow(columns)
    writer.writerows(rows)
    return lines.getvalue()


class _Lines(io.StringIO):
    r"""Takes whole lines, and ends them in \n."""

    def __init__(self) -> None:
        super().__init__(newline="")

    def write(self, line: str) -> int:
        return super().write(line.removesuffix("\r\n") + "\n")
