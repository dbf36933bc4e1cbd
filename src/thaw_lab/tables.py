"""The table of what was measured: for the terminal, and as Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rich.table import Table

COLUMNS = ("what", "Keras", "thaw", "ratio", "target", "reached")


@dataclass(frozen=True)
class BenchmarkRow:
    """One comparison, medians over the repeats. keras: None when there is nothing to compare with.

    target: the least ratio; without Keras, what thaw must stay below; for an accuracy, the largest difference.
    None: there is none.
    """

    part: str
    what: str
    unit: Literal["images/s", "s", "accuracy", "MB"]
    keras: float | None
    thaw: float
    target: float | None = None

    @property
    def ratio(self) -> float | None:
        """How many times as fast, or as small, thaw is."""
        if self.keras is None or self.unit == "accuracy" or not self.keras or not self.thaw:
            return None
        return self.thaw / self.keras if self.unit == "images/s" else self.keras / self.thaw

    @property
    def reached(self) -> bool | None:
        """Whether the target was reached; None without one."""
        if self.target is None:
            return None
        if self.unit == "accuracy":
            return self.keras is not None and abs(self.thaw - self.keras) <= self.target
        return self.thaw < self.target if self.ratio is None else self.ratio >= self.target


def cells(row: BenchmarkRow) -> list[str]:
    """A row's cells as texts, in the order of COLUMNS."""
    target = ""
    if row.target is not None:
        ratio, unit = f"≥ {row.target:g}x", "" if row.unit == "accuracy" else f" {row.unit}"
        target = (
            f"± {row.target:.3f}"
            if row.unit == "accuracy"
            else f"< {row.target:g}{unit}"
            if row.keras is None
            else ratio
        )
    return [
        row.what,
        "" if row.keras is None else _figure(row.keras, row.unit),
        _figure(row.thaw, row.unit),
        "" if row.ratio is None else f"{row.ratio:.2f}x",
        target,
        {None: "", True: "yes", False: "NO"}[row.reached],
    ]


def _figure(value: float, unit: str) -> str:
    if unit == "accuracy":
        return f"{value:.3f}"
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f} {unit}"


def rich_table(title: str, rows: Sequence[BenchmarkRow], caption: str) -> Table:
    """The rows as they are shown in the terminal."""
    table = Table(title=title, title_justify="left", caption=caption, caption_justify="left")
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == "what" else "right", no_wrap=column != "what")
    for row in rows:
        table.add_row(*cells(row))
    return table


def markdown(rows: Sequence[BenchmarkRow]) -> str:
    """The rows as a Markdown table."""
    lines = [COLUMNS, ("---", *["---:"] * (len(COLUMNS) - 1)), *(cells(row) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
