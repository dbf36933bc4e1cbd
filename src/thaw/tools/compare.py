"""Command `compare`: runs side by side, with statistics, as a table, a page and files."""

import sys
from datetime import datetime
from pathlib import Path

from thaw.common.console import display_path, print_table, progress, say
from thaw.common.files import write_atomically, write_json
from thaw.compare import comparison_page, comparison_tables, run_choice
from thaw.compare.compared_run import ComparedRun, read_run
from thaw.compare.run_comparison import RunComparison, compare_runs
from thaw.config.tool_schemas import CompareConfig
from thaw.tracking import StoredRun

MAX_PAIRS = 10  # of the terminal; page and comparison.json have all
MAX_COLUMNS = 4  # settings up to which the values of differing keys are printed
PAGE, NUMBERS, TABLE = "compare.html", "comparison.json", "comparison.csv"


def compare(config: CompareConfig) -> None:
    """Compare runs: print a table and one sentence, and write compare.html, comparison.json and comparison.csv.

    Raises:
        UserError: A run is unknown, has not finished, or is of another data set; or the test images differ.
    """
    outputs = Path(config.outputs)
    chosen = run_choice.choose_runs(
        config.runs, config.filter, config.tracking_experiment, config.tracking_uri, outputs
    )
    runs, remarks = _read(chosen.runs), chosen.remarks
    if config.images == "evaluate":
        from thaw.compare.reevaluation import evaluate_again  # late: TensorFlow is not needed otherwise

        runs, done = evaluate_again(runs, outputs, config.tracking_uri)
        remarks = [*remarks, *done]
    comparison = compare_runs(runs, aggregate=config.aggregate, common=config.images == "common", remarks=remarks)
    default = outputs / "comparisons" / f"{datetime.now():%Y-%m-%d/%H-%M-%S-%f}"
    page = Path(config.output or default).expanduser().absolute()
    page = page if page.suffix == ".html" else page / PAGE
    _write(comparison, page)
    if config.format == "table":
        _print(comparison, page)
    else:
        file = page.parent / (TABLE if config.format == "csv" else NUMBERS)
        sys.stdout.flush()
        sys.stdout.buffer.write(file.read_bytes())


def _read(stored: list[StoredRun]) -> list[ComparedRun]:
    runs = []
    with progress("reading runs", len(stored)) as bar:
        for run in stored:
            runs.append(read_run(run))
            bar.advance()
    return runs


def _write(comparison: RunComparison, page: Path) -> None:
    page.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(page, comparison_page.comparison_page(comparison).encode())
    write_json(comparison_tables.comparison_json(comparison), page.parent / NUMBERS)
    table = comparison_tables.comparison_csv(comparison)
    write_atomically(page.parent / TABLE, table.encode("utf-8", "surrogateescape"))


def _print(comparison: RunComparison, page: Path) -> None:
    say(comparison.sentence)
    print_table(comparison_tables.terminal_table(comparison))
    pairs = comparison_page.pairs_by_certainty(comparison)
    if len(pairs) > 1:
        say(f"differences on {comparison.test_images:,} test images, p corrected for {len(pairs)} pairs:")
        for pair in pairs[:MAX_PAIRS]:
            say(f"  {comparison_tables.pair_line(comparison, pair)}")
        if len(pairs) > MAX_PAIRS:
            say(f"  and {len(pairs) - MAX_PAIRS} more pairs, all in {NUMBERS}")
    if comparison.differing and len(comparison.rows) <= MAX_COLUMNS:
        print_table(comparison_tables.config_table(comparison))
    elif comparison.differing:
        say(f"keys that differ: {', '.join(entry.key for entry in comparison.differing)}")
    for remark in (*comparison.remarks, *comparison.notes):
        say(f"note: {remark}")
    say(f"page {display_path(page)}")
    say(f"numbers {display_path(page.parent / NUMBERS)} · table {display_path(page.parent / TABLE)}")
