r"""CSV text for every table that holds names of files: these may hold any character but a slash.

A spreadsheet takes a cell that begins with `= + - @`, a tab or a carriage return for a formula, which may run commands
or send what is in other cells (OWASP: CSV injection). A file or a class can be named so. Some split cells at `;` or
tabs (German and French locales): to them `x,"a;=1"` has a cell `=1"`, in quotes or not, for quotes count only at the
beginning of what they take for a cell. There are two kinds of tables:

- for people, `spreadsheet_text`: findings.csv, images.csv, predictions.csv, per_class.csv, bad_files.csv,
  data_differences.csv, explain.csv, and the listing of predict. A cell that begins so, and what follows `;`, `|`, a
  tab or a line end in it, gets an apostrophe in front, which makes it text. Numbers stay numbers. The original is
  `re.sub(r"(?:^'(?='*[\t\r\n])|(?:^|(?<=[;|\t\r\n]))'(?=[\s'\"]*[=+\-@\uff1d\uff0b\uff0d\uff20]))", "", cell)`.
  predict's `format=json` has plain names.
- for programs, `csv_text`: manifest.csv, which reproduce reads, groups.csv, which `dataset=csv` reads, and the list of
  images beside features in a .npy file. Every cell is exactly what it was.
"""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from itertools import chain


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    r"""Return a line of column names and a line a row; write it with `errors="surrogateescape", newline=""`.

    Names of files are bytes and need not be UTF-8; written so, they have the bytes that they have on the disk.
    """
    return csv_lines(chain([columns], rows))


def csv_lines(rows: Iterable[Sequence[object]]) -> str:
    """Return a line a row, as `csv_text` does, of a table that is written in pieces."""
    lines = _Lines()
    writer = csv.writer(lines, lineterminator="\r\n")  # it quotes what holds a character of its line end: \r too
    writer.writerows(rows)
    return lines.getvalue()


def spreadsheet_lines(rows: Iterable[Sequence[object]]) -> str:
    """Return a line a row, as `spreadsheet_text` does, of a table that is written in pieces."""
    return csv_lines([without_formula(cell) for cell in row] for row in rows)


def spreadsheet_text(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return CSV as `csv_text` does, in which a spreadsheet takes no text for a formula."""
    return csv_text(columns, ([without_formula(cell) for cell in row] for row in rows))


# Where a formula begins. Signs of full width count in East Asian versions; spaces and quotes in front may be dropped.
# An apostrophe of the name itself gets another one in front, which tells it from ours.
_FORMULA = re.compile(r"^(?='*[\t\r\n])|(?:^|(?<=[;|\t\r\n]))(?=[\s'\"]*[=+\-@\uff1d\uff0b\uff0d\uff20])")


def without_formula(cell: object) -> object:
    """Return a cell as `spreadsheet_text` writes it: a text that is no formula, and anything else as it is."""
    if not isinstance(cell, str):
        return cell
    try:
        float(cell)
    except ValueError:
        return _FORMULA.sub("'", cell)
    return cell


class _Lines(io.StringIO):
    r"""Ends lines in \n whatever the writer ends them in."""

    def __init__(self) -> None:
        super().__init__(newline="")

    def write(self, line: str) -> int:
        return super().write(line.removesuffix("\r\n") + "\n")
