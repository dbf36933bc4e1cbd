"""Command `runs`: list the runs of a store, and remove run folders and checkpoints that no run needs any more."""

import dataclasses
import json
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.table import Table

from thaw.common.console import display_path, format_bytes, print_table, printable, say
from thaw.common.csv_text import spreadsheet_text
from thaw.common.errors import UserError, did_you_mean, joined
from thaw.config.tool_schemas import RunsConfig
from thaw.tracking import leftovers, run_overview, run_search
from thaw.tracking.leftovers import Leftover
from thaw.tracking.mlflow_store import MlflowStore
from thaw.tracking.run_overview import RunRow

COLUMNS = tuple(field.name for field in dataclasses.fields(RunRow))
_NEWEST_FIRST = "-started"
# Of the table, with their titles. The last ones are left out where the terminal is too narrow: the name says the most
# of them.
_TITLES = {
    "id": "run", "name": "name", "status": "status", "started": "started", "minutes": "min",
    "val_accuracy": "val acc.", "test_accuracy": "test acc.", "runs": "runs", "backbone": "backbone",
    "dataset": "data set", "recipe": "recipe", "folder": "folder",
}  # fmt: skip
_FIRST_DROPPED = ("folder", "recipe", "dataset", "backbone")
_NUMBERS = ("minutes", "val_accuracy", "test_accuracy", "runs")
_NARROWEST_NAME = 24


def runs(config: RunsConfig) -> None:
    """List the runs of a store, or clean up its run folders.

    Raises:
        UserError: The store cannot be reached, a filter, column or experiment is unknown, or a file of a leftover
            cannot be removed.
    """
    if config.order.removeprefix("-") not in COLUMNS:
        name = config.order.removeprefix("-")
        raise UserError(f"order={config.order} is no column.{did_you_mean(name, COLUMNS)} Columns: {joined(COLUMNS)}")
    store = run_search.open_existing_store(config.tracking_uri, Path(config.outputs))
    if config.action == "clean":
        _clean(store, Path(config.outputs).absolute(), config)
    else:
        _list(store, config)


def _list(store: MlflowStore, config: RunsConfig) -> None:
    limit = config.limit
    found = run_search.iterate_runs(store, config.filter, config.tracking_experiment)
    newest = limit if config.order == _NEWEST_FIRST else None
    rows = run_overview.run_rows(store, found, collapsed=config.sweeps == "collapsed", newest=newest)
    rows = sorted_rows(rows, config.order)
    shown = rows[:limit]
    if config.format == "csv":
        sys.stdout.write(spreadsheet_text(COLUMNS, ([_cell(row, name) for name in COLUMNS] for row in shown)))
    elif config.format == "json":
        print(json.dumps([{name: _cell(row, name) for name in COLUMNS} for row in shown], indent=1))
    elif shown:
        print_table(_table(shown))
    else:
        say(f"no run {'that the filter finds ' if config.filter else ''}in {store.uri}")
    if len(shown) < len(rows):
        more = f"only the first {len(shown)} by {config.order}; there are more: limit=N, or limit=null for all"
        print(more, file=sys.stderr if config.format != "table" else sys.stdout)


def sorted_rows(rows: list[RunRow], order: str) -> list[RunRow]:
    """Return rows in the order of a column, `-column` for descending; those without a value come last."""
    name = order.removeprefix("-")

    def key(row: RunRow) -> Any:
        value = getattr(row, name)
        return value.casefold() if isinstance(value, str) else value

    known = sorted((row for row in rows if getattr(row, name) is not None), key=key, reverse=order.startswith("-"))
    return known + [row for row in rows if getattr(row, name) is None]


def _cell(row: RunRow, name: str) -> Any:
    """Return a value of CSV and JSON; times as `2026-11-29T07:21:08+00:00`."""
    value = getattr(row, name)
    if name == "started" and value is not None:
        return datetime.fromtimestamp(value / 1000, UTC).isoformat(timespec="seconds")
    return round(value, 3) if name == "minutes" and value is not None else value


def _table(rows: list[RunRow]) -> Table:
    cells = {name: [_text(row, name) for row in rows] for name in _TITLES}
    for name in ("runs", *_FIRST_DROPPED):
        room = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
        empty = not any(cells[name])
        if empty or (name != "runs" and _width(cells) > room):
            del cells[name]
    table = Table()
    for name in cells:
        numeric, folds = name in _NUMBERS, name in ("name", "folder")
        table.add_column(
            _TITLES[name],
            justify="right" if numeric else "left",
            no_wrap=not folds,
            overflow="fold",
            min_width=_NARROWEST_NAME if name == "name" else None,
        )
    for row in zip(*cells.values(), strict=True):
        table.add_row(*row)
    return table


def _width(cells: dict[str, list[str]]) -> int:
    """Return the width that columns need, the name's folded; each has a border and a space on both sides."""
    widths = {name: max(map(len, [_TITLES[name], *column])) for name, column in cells.items()}
    widths["name"] = min(widths["name"], _NARROWEST_NAME)
    return sum(widths.values()) + 3 * len(widths) + 1


def _text(row: RunRow, name: str) -> str:
    value = getattr(row, name)
    if value is None:
        return ""
    if name == "id":
        return str(value)[:8]
    if name == "started":
        return datetime.fromtimestamp(value / 1000).strftime("%Y-%m-%d %H:%M")
    if name == "minutes":
        return f"{value:.1f}"
    if name == "folder":
        return printable(str(display_path(Path(value))))
    return f"{value:.4f}" if isinstance(value, float) else printable(str(value))


def _clean(store: MlflowStore, outputs: Path, config: RunsConfig) -> None:
    search = leftovers.find_leftovers(store, outputs, config.older_than_days)
    for kept in search.kept:
        say(f"stays: {display_path(kept.folder)}: {kept.why}")
    if search.other_stores:
        say(f"{search.other_stores} run folders are of other stores than {store.uri} and are not looked at")
    if not search.found:
        say("nothing can be removed")
        return
    print_table(_leftovers_table(search.found))
    total = sum(leftover.size for leftover in search.found)
    if config.confirm:
        _remove(search.found, outputs)
    else:
        say(f"nothing was removed. confirm=true removes these, {format_bytes(total)}")


def _leftovers_table(found: list[Leftover]) -> Table:
    table = Table()
    for title in ("what", "where", "why", "size"):
        table.add_column(title, justify="right" if title == "size" else "left", overflow="fold")
    for leftover in found:
        where = printable(str(display_path(leftover.folder)))
        table.add_row(leftover.what, where, leftover.why, format_bytes(leftover.size))
    return table


def _remove(found: list[Leftover], outputs: Path) -> None:
    freed, failed = 0, 0
    for leftover in found:
        where = display_path(leftover.folder)
        try:
            leftovers.remove_leftover(leftover, outputs)
            freed += leftover.size
        except leftovers.Kept as kept:
            say(f"stays: {where}: {kept}")
        except OSError as error:
            failed += 1
            say(f"not removed: {where}: {error.strerror} ({Path(str(error.filename)).name})")
    say(f"{format_bytes(freed)} removed")
    if failed:
        raise UserError(f"{failed} of {len(found)} could not be removed, or not whole: the reasons are above")
