r"""Rows as CSV text, for every list that holds names of files: these may hold any character but a slash.

A spreadsheet takes a cell that begins with `= + - @`, a tab or a carriage return for a formula, which may run commands
or send what is in other cells (OWASP: CSV injection). A file or a class can be named so. There are two kinds of lists:

- for people, `sheet_text`: findings.csv, images.csv, predictions.csv, per_class.csv, bad_files.csv,
  data_differences.csv, and what predict writes. Such a cell gets an apostrophe in front, which makes it text; numbers
  stay numbers. `re.sub(r"^'(?='*[=+\-@\t\r\n])", "", cell)` takes it off. predict's `format=json` has plain names.
- for programs, `csv_text`: manifest.csv, which reproduce reads, and groups.csv, which `dataset=csv` reads. Every cell
  is exactly what it was.
"""

import csv
import io
import re
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


def sheet_text(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return CSV as `csv_text`, for people: no text is a formula when a spreadsheet opens it."""
    return csv_text(columns, ([_no_formula(cell) for cell in row] for row in rows))


# Those of full width count in East Asian versions. An apostrophe is told from one of ours by another in front.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")


def _no_formula(cell: object) -> object:
    if not isinstance(cell, str) or not _FORMULA.match(cell):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell


class _Lines(io.StringIO):
    r"""Takes whole lines, and ends them in \n."""

    def __init__(self) -> None:
        super().__init__(newline="")

    def write(self, line: str) -> int:
        return super().write(line.removesuffix("\r\n") + "\n")
