"""Source `csv`: a table of images with the columns path and label, and optionally split and group."""

import csv
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from thaw.common.console import printable
from thaw.common.errors import UserError, did_you_mean, joined
from thaw.config.schema import DatasetConfig
from thaw.data import class_name_spelling, split_names
from thaw.data.catalog import SPLIT_NAMES, UNASSIGNED, Catalog

REQUIRED_COLUMNS, OPTIONAL_COLUMNS = ("path", "label"), ("split", "group")
MAX_LISTED_LINES = 20  # rows that an error lists


@dataclass(frozen=True)
class CsvRow:
    """A row of the table; `path` absolute, `split` and `group` empty where the table has none."""

    line: int  # of the file, counted from 1
    path: str
    exists: bool
    label: str
    split: str
    group: str


def load_catalog(dataset: DatasetConfig, min_classes: int = 2) -> Catalog:
    """List the images of the table at `dataset.path`, sorted by name, whatever the order of its rows.

    Paths are relative to the table's folder, or absolute. A name in the catalog is relative to that folder, or, if an
    image lies outside of it, to the folder that all images share. An image without a split is unassigned; images of one
    group stay together. The text is UTF-8, with or without a byte order mark, but paths may be any bytes; further
    columns are ignored.

    Raises:
        UserError: The table cannot be used; the wrong lines are named.
    """
    file = _file(dataset.path)
    rows = list(_rows(file))
    _refuse(file, "have no path", [row for row in rows if not row.path])
    _refuse(file, "have no label", [row for row in rows if not row.label])
    _refuse(file, "have a label that is no text", [r for r in rows if printable(r.label) != r.label], lambda r: r.label)
    labels = ((row.label, f"line {row.line}") for row in rows)
    class_name_spelling.refuse_spelling_variants(labels, str(file), "Write the labels of a class alike")
    split_numbers = _split_numbers(rows)
    _refuse_unknown_splits(file, rows, split_numbers)
    _refuse_repeated_paths(file, rows)
    _refuse_divided_groups(file, rows, split_numbers)
    missing = [row for row in rows if not row.exists]
    _refuse(file, "name a picture that does not exist", missing, lambda row: row.path)
    classes = sorted({row.label for row in rows})
    if len(classes) < min_classes:
        least = "one class is" if min_classes == 1 else "two classes are"
        raise UserError(f"{file} holds {len(rows)} pictures of {len(classes)} classes; at least {least} needed")
    return _catalog(file.parent, rows, classes, split_numbers)


def picture_files(path: str | None) -> list[str]:
    """Return the pictures that a table names, in its order; raises UserError when it is no table of pictures."""
    return [row.path for row in _rows(_file(path))]


def _file(path: str | None) -> Path:
    if path is None:
        raise UserError("dataset=csv needs dataset.path=FILE, a table with the columns path and label")
    file = Path(os.path.abspath(Path(path).expanduser()))  # noqa: PTH100 - keeps links: the user's own name for it
    if not file.exists():
        raise UserError(f"dataset.path={path} does not exist (looked for {file})")
    if file.is_dir():
        raise UserError(f"dataset.path={path} is a folder; csv needs a file. For a folder use dataset=image_folder")
    return file


def _rows(file: Path) -> Iterator[CsvRow]:
    # utf-8-sig: Excel begins its files with a byte order mark. surrogateescape: names of files are bytes.
    with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
        table = csv.reader(lines, strict=True)
        try:
            header = next(table, [])
            _refuse_encoding(file, 1, header)
            columns = _columns(file, header)
            for row in table:
                if any(row):
                    yield _row(file, table.line_num, row, columns)
        except csv.Error as error:
            raise UserError(f"{file}, line {table.line_num}, cannot be read: {error}") from error


def _refuse_encoding(file: Path, line: int, texts: Iterable[str]) -> None:
    try:
        "".join(texts).encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{file}, line {line}, is not UTF-8; save it as CSV UTF-8") from error


def _columns(file: Path, header: list[str]) -> list[str]:
    columns = [name.strip().lower() for name in header]
    for name in REQUIRED_COLUMNS:
        if name not in columns:
            others = [column for column in columns if column not in REQUIRED_COLUMNS]
            near = did_you_mean(name, others).replace("Did you mean", "Is it called")
            hint = " Columns are separated by commas." if len(header) == 1 and set(";\t") & set(header[0]) else ""
            raise UserError(
                f"{file} has no column {name}.{near}{hint} Its first line must name the columns: path, label and, "
                f"where wanted, split and group; it is: {','.join(header) or 'empty'}"
            )
    for name in (*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS):
        if columns.count(name) > 1:
            raise UserError(f"{file} has the column {name} twice; rename or remove one")
    return columns


def _row(file: Path, line: int, row: list[str], columns: list[str]) -> CsvRow:
    if len(row) != len(columns):
        raise UserError(
            f"{file}, line {line}, has {len(row)} fields, and the first line names {len(columns)} columns. "
            "Put a text that holds a comma in double quotes"
        )
    fields = dict(zip(columns, row, strict=True))
    path = fields["path"] and os.path.normpath(os.path.join(file.parent, fields["path"]))  # noqa: PTH118
    exists = os.path.isfile(path)  # noqa: PTH113 - 60,000 of them
    _refuse_encoding(file, line, (text for name, text in fields.items() if name != "path" or not exists))
    return CsvRow(line, path, exists, *(fields.get(name, "").strip() for name in ("label", *OPTIONAL_COLUMNS)))


def _refuse(file: Path, problem: str, rows: list[CsvRow], detail: Callable[[CsvRow], str] = lambda row: "") -> None:
    if rows:
        raise UserError(f"{file}: {len(rows)} lines {problem}:{_listing((row.line, detail(row)) for row in rows)}")


def _refuse_unknown_splits(file: Path, rows: list[CsvRow], split_numbers: dict[str, int]) -> None:
    unknown = [row for row in rows if row.split not in split_numbers]
    problem = f"have an unknown split (there are {joined(SPLIT_NAMES)}, or nothing)"
    _refuse(file, problem, unknown, lambda row: f"{row.split}{did_you_mean(row.split, SPLIT_NAMES)}")


def _refuse_repeated_paths(file: Path, rows: list[CsvRow]) -> None:
    by_path: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        by_path[row.path].append(row.line)
    repeated = [(line, f"{path}, also line {joined(more)}") for path, (line, *more) in by_path.items() if more]
    if repeated:
        raise UserError(
            f"{file}: {len(repeated)} pictures are listed more than once:{_listing(repeated)}\nKeep one line each"
        )


def _refuse_divided_groups(file: Path, rows: list[CsvRow], split_numbers: dict[str, int]) -> None:
    """Raise UserError for groups that the table itself puts into different splits."""
    first: dict[str, CsvRow] = {}
    divided: dict[str, str] = {}
    for row in (row for row in rows if row.group and row.split):
        other = first.setdefault(row.group, row)
        if split_numbers[other.split] != split_numbers[row.split]:
            where = f"{other.split} (line {other.line}) and {row.split} (line {row.line})"
            divided.setdefault(row.group, f"\n  group {printable(row.group)} is in {where}")
    if divided:
        listing = "".join(list(divided.values())[:MAX_LISTED_LINES])
        raise UserError(
            f"{file}: {len(divided)} groups are in more than one split:{listing}\n"
            "Give all of a group to one split, or leave their split empty"
        )


def _listing(lines: Iterable[tuple[int, str]]) -> str:
    texts = [f"\n  line {line}" + (f": {printable(text)}" if text else "") for line, text in lines]
    hidden = len(texts) - MAX_LISTED_LINES
    return "".join(texts[:MAX_LISTED_LINES]) + (f"\n  and {hidden} more" if hidden > 0 else "")


def _split_numbers(rows: list[CsvRow]) -> dict[str, int]:
    """Return the split that each word in the column means, by the rules for names of folders; no word: UNASSIGNED."""
    splits = split_names.match_split_names(sorted({row.split for row in rows if row.split}))
    return {"": UNASSIGNED} | {word: number for word, number in splits.items() if number != split_names.UNLABELLED}


def _catalog(folder: Path, rows: list[CsvRow], classes: list[str], split_numbers: dict[str, int]) -> Catalog:
    root = str(folder)
    if not all(row.path.startswith(os.path.join(root, "")) for row in rows):  # noqa: PTH118
        root = os.path.commonpath([os.path.dirname(row.path) for row in rows])  # noqa: PTH120
    prefix = len(os.path.join(root, ""))  # noqa: PTH118
    label = {name: i for i, name in enumerate(classes)}
    named = sorted((row.path[prefix:].replace(os.sep, "/"), row) for row in rows)
    return Catalog(
        names=tuple(name for name, _ in named),
        paths=tuple(row.path for _, row in named),
        arrays=None,
        labels=np.array([label[row.label] for _, row in named], np.int32),
        class_names=tuple(classes),
        assigned_splits=np.array([split_numbers[row.split] for _, row in named], np.int8),
        groups=tuple(row.group for _, row in named) if any(row.group for row in rows) else None,
    )
