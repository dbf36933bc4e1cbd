"""What one trial came to, and the rows of the table that trials make together."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.table import Table

FAULT_COLUMNS = ("fault", "trials", "held", "what was seen")


class TrialSkipped(Exception):
    """This machine cannot make the fault; the message says why."""


@dataclass(frozen=True)
class Trial:
    """fault: its row in the table. seen: in a few words. wrong: what did not hold, a line each; empty: it held.

    rank: of the row among those of one kind, which is the fault's name up to a colon. count: processes that the trial
    stands for. skipped: it was not made, and `seen` says why. notes: for the file.
    """

    fault: str
    seen: str
    wrong: list[str] = field(default_factory=list)
    rank: int = 0
    count: int = 1
    skipped: bool = False
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def held(self) -> int:
        return 0 if self.wrong or self.skipped else self.count

    def line(self) -> str:
        """The trial in one line."""
        name = f" ({self.notes['trial']})" if "trial" in self.notes else ""
        return f"{self.fault}{name} · {'; '.join(self.wrong) if self.wrong else self.seen}"


TrialFunction = Callable[[], Trial]


@dataclass(frozen=True)
class FaultRow:
    """One line of the table; a fault that was skipped has no trials."""

    fault: str
    trials: int
    held: int
    seen: str


def fault_rows(trials: Iterable[Trial]) -> list[FaultRow]:
    """One row a fault; kinds in the order in which they first appear, in each the rows by rank."""
    kinds: dict[str, dict[str, list[Trial]]] = {}
    for trial in trials:
        kinds.setdefault(trial.fault.partition(":")[0], {}).setdefault(trial.fault, []).append(trial)
    ranked = (sorted(kind.items(), key=lambda item: item[1][0].rank) for kind in kinds.values())
    return [_row(fault, own) for kind in ranked for fault, own in kind]


def _row(fault: str, trials: Sequence[Trial]) -> FaultRow:
    seen = Counter[str]()
    for trial in trials:
        seen[trial.wrong[0] if trial.wrong else trial.seen] += trial.count
    texts = [text if len(seen) == 1 else f"{count}: {text}" for text, count in seen.most_common()]
    made = sum(trial.count for trial in trials if not trial.skipped)
    return FaultRow(fault, made, sum(trial.held for trial in trials), "; ".join(texts))


def fault_table(rows: Sequence[FaultRow]) -> Table:
    """The rows as they are shown in the terminal."""
    made = Table()
    for column in FAULT_COLUMNS:
        made.add_column(column, justify="right" if column in ("trials", "held") else "left")
    for row in rows:
        figures = (str(row.trials), str(row.held)) if row.trials else ("-", "-")
        made.add_row(row.fault, *figures, row.seen)
    return made
