"""Report of a reproduction: printed lines for people, `reproduction.json` for scripts."""

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
TABLE_ROWS = 10  # of the printed table; the file has all mismatches


def count_noun(n: int, what: str) -> str:
    """Return a count with its noun: `1 epoch`, `2 epochs`."""
    return f"{n:,} {what}{'s' * (n != 1)}"


def print_unfinished(original: OriginalRun) -> None:
    """Print what is compared when the run did not finish; print nothing when it did."""
    if not original.finished:
        why = f"{original.run.status} ({failure_reason(original.run)})"
        say(f"  it is {why}: the epochs that it has are compared, and the rerun continues to the end")


def print_environment(differences: Sequence[ConfigDifference], deterministic: bool) -> None:
    """Print what differs in code, packages, machine and settings."""
    if differences:
        say(f"environment: {count_noun(len(differences), 'difference')}")
        for difference in differences:
            say(f"  {difference.line()}")
    else:
        say("environment: code, packages, machine and settings as in the run")
    if not deterministic:
        say("  the run was trained with deterministic=false: not even the same machine need come to the same bits")


def print_comparison(comparison: Comparison) -> None:
    """Print a table of the first mismatches, and the verdict."""
    mismatches = comparison.mismatches
    if mismatches:
        print_table(_table(mismatches))
    if len(mismatches) > TABLE_ROWS:
        say(f"and {len(mismatches) - TABLE_ROWS} more figures, all in {REPORT_FILE}")
    say(verdict_line(comparison))


def verdict_line(comparison: Comparison) -> str:
    """Return the verdict in a sentence, with the first quantity in which the runs differ."""
    epochs = count_noun(comparison.epochs, "epoch")
    if comparison.verdict == IDENTICAL:
        if comparison.complete:
            return f"identical: all figures of {epochs} and the final weights, to the last bit"
        return f"identical as far as the run went: all figures of {epochs}, to the last bit; it has no final weights"
    first, over, inputs = comparison.mismatches[0], comparison.first_over_tolerance, comparison.changed_inputs
    if inputs:
        sentence = f"{comparison.verdict}: {' and '.join(inputs)} changed since the run, so this is another one"
    else:
        sentence = f"{comparison.verdict}: the runs part in {first.name}"
    if first.quantity == "weights":
        sentence += " only: all figures are equal"
    if over:
        sentence += ", parting" if inputs else ", and"
        sentence += f" by more than {comparison.tolerance:g} in {over.name}"
    return f"{sentence}; losses and accuracies differ by at most {comparison.largest_difference:.2g}"


def write_reproduction_report(
    original: OriginalRun,
    rerun_id: str,
    environment: Sequence[ConfigDifference],
    files: Sequence[FileDifference],
    comparison: Comparison,
    file: Path,
) -> None:
    """Write the verdict and everything it rests on as JSON."""
    first_over = comparison.first_over_tolerance
    content: dict[str, Any] = {
        "reproduces": original.run.id,
        "run_id": rerun_id,
        "verdict": comparison.verdict,
        "exit_code": comparison.exit_code,
        "whole": comparison.complete,
        "epochs": comparison.epochs,
        "tolerance": comparison.tolerance,
        "largest_difference": comparison.largest_difference,
        "first": _entry(comparison.mismatches[0]) if comparison.mismatches else None,
        "first_beyond_tolerance": _entry(first_over) if first_over else None,
        "figures": [_entry(mismatch) for mismatch in comparison.mismatches],
        "environment": [{"name": d.key, "before": d.stored, "now": d.current} for d in environment],
        "data": manifest_check.count_by_kind(files),
    }
    write_json(content, file)


def _entry(mismatch: Mismatch) -> dict[str, Any]:
    return {
        "epoch": mismatch.epoch or None,
        "figure": mismatch.quantity,
        "before": mismatch.original,
        "now": mismatch.rerun,
        "difference": mismatch.difference,
    }


def _table(mismatches: Sequence[Mismatch]) -> Table:
    table = Table()
    for column in ("epoch", "figure", "run", "now", "difference"):
        table.add_column(column, justify="left" if column == "figure" else "right")
    for mismatch in mismatches[:TABLE_ROWS]:
        difference = mismatch.difference
        table.add_row(
            str(mismatch.epoch or ""),
            printable(mismatch.quantity),
            _cell(mismatch.original),
            _cell(mismatch.rerun),
            f"{difference:.2g}" if difference is not None and math.isfinite(difference) else "",
        )
    return table


def _cell(value: FigureValue) -> str:
    if value is None:
        return "none"
    return f"{value[:12]}…" if isinstance(value, str) else f"{value:.9g}"
