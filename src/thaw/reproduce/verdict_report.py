"""What a reproduction says: on the terminal for people, as JSON for scripts."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from thaw.common.console import printable, say, show
from thaw.config.stored_config import Difference
from thaw.reproduce import manifest_check
from thaw.reproduce.comparison import IDENTICAL, Comparison, Parting, Value
from thaw.reproduce.manifest_check import FileDifference
from thaw.reproduce.stored_run import Recorded, reason
from thaw.results.result import write_json

FILE = "reproduction.json"
SHOWN = 10  # figures in the table; all are in the file


def counted(n: int, what: str) -> str:
    """Return `1 epoch`, `2 epochs`."""
    return f"{n:,} {what}{'s' * (n != 1)}"


def stopped(before: Recorded) -> None:
    """Say of a run that did not come to its end what is compared."""
    if not before.finished:
        why = f"{before.info.status} ({reason(before.info)})"
        say(f"  it is {why}: the epochs that it has are compared, and the rerun goes on to the end")


def environment(found: Sequence[Difference], deterministic: bool) -> None:
    """List what differs in code, packages, machine and settings."""
    if found:
        say(f"environment: {counted(len(found), 'difference')}")
        for difference in found:
            say(f"  {difference.line()}")
    else:
        say("environment: code, packages, machine and settings as in the run")
    if not deterministic:
        say("  the run was trained with deterministic=false: not even the same machine need come to the same bits")


def comparison(found: Comparison) -> None:
    """Show what differs, and the verdict."""
    if found.partings:
        show(_table(found.partings))
    if len(found.partings) > SHOWN:
        say(f"and {len(found.partings) - SHOWN} more figures, all in {FILE}")
    say(verdict(found))


def verdict(found: Comparison) -> str:
    """Return the verdict in a sentence, with the first figure in which the runs part."""
    epochs = counted(found.epochs, "epoch")
    if found.verdict == IDENTICAL:
        if found.whole:
            return f"identical: all figures of {epochs} and the final weights, to the last bit"
        return f"identical as far as the run went: all figures of {epochs}, to the last bit; it has no final weights"
    first, beyond = found.partings[0], found.beyond
    if found.inputs:
        said = f"{found.verdict}: {' and '.join(found.inputs)} changed since the run, so this is another one"
    else:
        said = f"{found.verdict}: the runs part in {first.name}"
    if first.figure == "weights":
        said += " only: all figures are equal"
    if beyond:
        said += ", parting" if found.inputs else ", and"
        said += f" by more than {found.tolerance:g} in {beyond.name}"
    return f"{said}; losses and accuracies differ by at most {found.largest:.2g}"


def write(
    before: Recorded,
    run_id: str,
    environment: Sequence[Difference],
    files: Sequence[FileDifference],
    found: Comparison,
    file: Path,
) -> None:
    """Write all of it as JSON."""
    content: dict[str, Any] = {
        "reproduces": before.info.id,
        "run_id": run_id,
        "verdict": found.verdict,
        "exit_code": found.code,
        "whole": found.whole,
        "epochs": found.epochs,
        "tolerance": found.tolerance,
        "largest_difference": found.largest,
        "first": _entry(found.partings[0]) if found.partings else None,
        "first_beyond_tolerance": _entry(found.beyond) if found.beyond else None,
        "figures": [_entry(parting) for parting in found.partings],
        "environment": [{"name": d.key, "before": d.before, "now": d.now} for d in environment],
        "data": manifest_check.counted(files),
    }
    write_json(content, file)


def _entry(parting: Parting) -> dict[str, Any]:
    return {
        "epoch": parting.epoch or None,
        "figure": parting.figure,
        "before": parting.before,
        "now": parting.now,
        "difference": parting.difference,
    }


def _table(partings: Sequence[Parting]) -> Table:
    table = Table()
    for column in ("epoch", "figure", "run", "now", "difference"):
        table.add_column(column, justify="left" if column == "figure" else "right")
    for parting in partings[:SHOWN]:
        apart = parting.difference
        table.add_row(
            str(parting.epoch or ""),
            printable(parting.figure),
            _shown(parting.before),
            _shown(parting.now),
            f"{apart:.2g}" if apart is not None and math.isfinite(apart) else "",
        )
    return table


def _shown(value: Value) -> str:
    if value is None:
        return "none"
    return f"{value[:12]}…" if isinstance(value, str) else f"{value:.9g}"
