"""The outcome of a trial, and the table that trials make together."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.table import Table

from thaw_lab.tables import rich_table


class TrialSkipped(Exception):
    """This machine cannot make the fault; the message says why."""


@dataclass(frozen=True)
class Trial:
    """The outcome of one trial, as faults.json has it.

    Attributes:
        fault: its row in the table, `kind` or `kind: detail`.
        seen: what was seen, in a few words.
        wrong: what did not hold, a line each; empty: the trial held.
        rank: order of its row among those of its kind.
        count: processes that the trial stands for.
        skipped: it was not made, and `seen` says why.
        notes: details for the file, by name.
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
        """How many of its processes ended as they should."""
        return 0 if self.wrong or self.skipped else self.count

    def line(self) -> str:
        """Return the outcome in one line."""
        name = f" ({self.notes['trial']})" if "trial" in self.notes else ""
        return f"{self.fault}{name} · {'; '.join(self.wrong) if self.wrong else self.seen}"


@dataclass(frozen=True)
class FaultRow:
    """One fault's line of the table, as faults.json has it; a fault that was skipped has no trials."""

    fault: str
    trials: int
    held: int
    seen: str


def fault_rows(trials: Iterable[Trial]) -> list[FaultRow]:
    """Return one row per fault: kinds in the order in which they first appear, in each the rows by rank."""
    kinds: dict[str, dict[str, list[Trial]]] = {}
    for trial in trials:
        kinds.setdefault(trial.fault.partition(":")[0], {}).setdefault(trial.fault, []).append(trial)
    ranked = (sorted(faults.items(), key=lambda fault: fault[1][0].rank) for faults in kinds.values())
    return [_fault_row(fault, members) for faults in ranked for fault, members in faults]


def _fault_row(fault: str, trials: Sequence[Trial]) -> FaultRow:
    seen = Counter[str]()
    for trial in trials:
        seen[trial.wrong[0] if trial.wrong else trial.seen] += trial.count
    texts = [text if len(seen) == 1 else f"{count}: {text}" for text, count in seen.most_common()]
    made = sum(trial.count for trial in trials if not trial.skipped)
    return FaultRow(fault, made, sum(trial.held for trial in trials), "; ".join(texts))


def fault_table(rows: Iterable[FaultRow]) -> Table:
    """Return the rows as they are shown in the terminal."""
    texts = [(row.fault, *([str(row.trials), str(row.held)] if row.trials else "--"), row.seen) for row in rows]
    return rich_table(("fault", "trials", "held", "what was seen"), texts, left=("fault", "what was seen"))
