"""What a reproduction says: on the terminal for people, as JSON for scripts."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from thaw.common.console import print_table, printable, say
from thaw.common.files import write_json
from thaw.config.stored_config import ConfigDifference
from thaw.reproduce import manifest_check
from thaw.reproduce.comparison import IDENTICAL, Comparison, FigureValue, Mismatch
from thaw.reproduce.manifest_check import FileDifference
from thaw.reproduce.original_run import OriginalRun, failure_reason

REPORT_FILE = "reproduction.json"
TABLE_ROWS = 10  # figures in the table; all are in the file


def count_noun(n: int, what: str) -> str:
    """Return `1 epoch`, `2 epochs`."""
    return f"{n:,} {what}{'s' * (n != 1)}"


def print_unfinished(before: OriginalRun) -> None:
    """Say of a run that did not come to its end what is compared."""
    if not before.finished:
        why = f"{before.run.status} ({failure_reason(before.run)})"
        say(f"  it is {why}: the epochs that it has are compared, and the rerun goes on to the end")


def print_environment(found: Sequence[ConfigDifference], deterministic: bool) -> None:
    """List what differs in code, packages, machine and settings."""
    if found:
        say(f"environment: {count_noun(len(found), 'difference')}")
        for difference in found:
            say(f"  {difference.line()}")
    else:
        say("environment: code, packages, machine and settings as in the run")
    if not deterministic:
        say("  the run was trained with deterministic=false: not even the same machine need come to the same bits")


def print_comparison(found: Comparison) -> None:
    """Show what differs, and the verdict."""
    if found.mismatches:
        print_table(_table(found.mismatches))
    if len(found.mismatches) > TABLE_ROWS:
        say(f"and {len(found.mismatches) - TABLE_ROWS} more figures, all in {REPORT_FILE}")
    say(verdict_line(found))


def verdict_line(found: Comparison) -> str:
    """Return the verdict in a sentence, with the first figure in which the runs part."""
    epochs = count_noun(found.epochs, "epoch")
    if found.verdict == IDENTICAL:
        if found.complete:
            return f"identical: all figures of {epochs} and the final weights, to the last bit"
        return f"identical as far as the run went: all figures of {epochs}, to the last bit; it has no final weights"
    first, beyond = found.mismatches[0], found.first_over_tolerance
    if found.changed_inputs:
        said = f"{found.verdict}: {' and '.join(found.changed_inputs)} changed since the run, so this is another one"
    else:
        said = f"{found.verdict}: the runs part in {first.name}"
    if first.quantity == "weights":
        said += " only: all figures are equal"
    if beyond:
        said += ", parting" if found.changed_inputs else ", and"
        said += f" by more than {found.tolerance:g} in {beyond.name}"
    return f"{said}; losses and accuracies differ by at most {found.largest_difference:.2g}"


def write_report(
    before: OriginalRun,
    run_id: str,
    environment: Sequence[ConfigDifference],
    files: Sequence[FileDifference],
    found: Comparison,
    file: Path,
) -> None:
    """Write all of it as JSON."""
    content: dict[str, Any] = {
        "reproduces": before.run.id,
        "run_id": run_id,
        "verdict": found.verdict,
        "exit_code": found.exit_code,
        "whole": found.complete,
        "epochs": found.epochs,
        "tolerance": found.tolerance,
        "largest_difference": found.largest_difference,
        "first": _entry(found.mismatches[0]) if found.mismatches else None,
        "first_beyond_tolerance": _entry(found.first_over_tolerance) if found.first_over_tolerance else None,
        "figures": [_entry(parting) for parting in found.mismatches],
        "environment": [{"name": d.key, "before": d.stored, "now": d.current} for d in environment],
        "data": manifest_check.count_by_kind(files),
    }
    write_json(content, file)


def _entry(parting: Mismatch) -> dict[str, Any]:
    return {
        "epoch": parting.epoch or None,
        "figure": parting.quantity,
        "before": parting.original,
        "now": parting.rerun,
        "difference": parting.difference,
    }


def _table(partings: Sequence[Mismatch]) -> Table:
    table = Table()
    for column in ("epoch", "figure", "run", "now", "difference"):
        table.add_column(column, justify="left" if column == "figure" else "right")
    for parting in partings[:TABLE_ROWS]:
        apart = parting.difference
        table.add_row(
            str(parting.epoch or ""),
            printable(parting.quantity),
            _shown(parting.original),
            _shown(parting.rerun),
            f"{apart:.2g}" if apart is not None and math.isfinite(apart) else "",
        )
    return table


def _shown(value: FigureValue) -> str:
    if value is None:
        return "none"
    return f"{value[:12]}…" if isinstance(value, str) else f"{value:.9g}"
