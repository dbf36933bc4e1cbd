"""A comparison as numbers: comparison.json, comparison.csv and the table in the terminal."""

from dataclasses import asdict
from typing import Any

from rich.table import Table

from thaw.common.console import printable
from thaw.common.csv_text import spreadsheet_text
from thaw.compare.compared_run import ComparedRun
from thaw.compare.run_comparison import RunComparison
from thaw.compare.setting_figures import PairFigures, SettingFigures
from thaw.compare.worth_sentence import p_text, points

COLUMNS = (
    "setting", "runs", "run_ids", "test_images", "own_test_images", "test_accuracy", "low", "high", "interval",
    "deviation", "macro_f1", "loss", "val_accuracy", "seconds", "trained_parameters", "milliseconds_an_image",
)  # fmt: skip
WILSON = "95 % Wilson"


def comparison_json(comparison: RunComparison) -> dict[str, Any]:
    """Return all numbers of a comparison, to be written by `write_json`."""
    rows = comparison.rows
    return {
        "sentence": comparison.sentence,
        "remarks": list(comparison.remarks),
        "notes": list(comparison.notes),
        "test_images": comparison.test_images,
        "settings": [{**_entry(row), "runs": [_run_entry(run) for run in row.runs]} for row in rows],
        "pairs": [_pair_entry(pair, rows[pair.a].label, rows[pair.b].label) for pair in comparison.pairs],
        "config": [
            {"key": entry.key, "values": dict(zip([row.label for row in rows], entry.values, strict=True))}
            for entry in comparison.differing
        ],
        "disagreements": {
            "total": comparison.disagreements.total,
            "shown": [
                {
                    "image": entry.image.name,
                    "sha256": entry.image.sha256,
                    "label": entry.image.label,
                    "answers": {rows[row].label: asdict(answer) for row, answer in entry.answers.items()},
                }
                for entry in comparison.disagreements.shown
            ],
        },
    }


def comparison_csv(comparison: RunComparison) -> str:
    """Return a row a setting, best accuracy first."""
    entries = [_entry(comparison.rows[i]) for i in comparison.ranked]
    return spreadsheet_text(COLUMNS, [["" if e[name] is None else e[name] for name in COLUMNS] for e in entries])


def terminal_table(comparison: RunComparison) -> Table:
    """Return the settings as a table, best accuracy first."""
    table = Table()
    table.add_column("setting", overflow="fold")
    table.add_column("run", overflow="fold")
    for column in ("test accuracy", "interval", "macro F1", "seconds", "trained", "ms/image behind cut"):
        table.add_column(column, justify="right")
    for i in comparison.ranked:
        row = comparison.rows[i]
        table.add_row(
            printable(row.label),
            row.repeats or f"{row.runs[0].short_id} {printable(row.runs[0].stored.name)}",
            _number(row.accuracy.value, ".4f") + ("*" if row.own_images else ""),
            f"{_number(row.accuracy.low, '.3f')} to {_number(row.accuracy.high, '.3f')}",
            _number(row.macro_f1, ".4f"),
            _number(row.seconds, ",.0f"),
            _number(row.parameters, ",.0f"),
            _number(row.milliseconds, ".1f"),
        )
    return table


def config_table(comparison: RunComparison) -> Table:
    """Return the keys that differ, with a column a setting."""
    table = Table()
    table.add_column("key that differs")
    for i in comparison.ranked:
        table.add_column(printable(comparison.rows[i].label), overflow="fold")
    for entry in comparison.differing:
        table.add_row(entry.key, *(entry.values[i] for i in comparison.ranked))
    return table


def pair_line(comparison: RunComparison, pair: PairFigures) -> str:
    """Return a pair as a line: `bottleneck against finetune: +1.2 points (-0.1 to 2.5), p = 0.08`."""
    d = pair.difference
    a, b = comparison.rows[pair.a].label, comparison.rows[pair.b].label
    interval = f"{points(d.low, sign=False)} to {points(d.high, sign=False)}"
    return f"{a} against {b}: {points(d.difference)} points ({interval}), {p_text(d.corrected_p)}"


def _entry(row: SettingFigures) -> dict[str, Any]:
    return {
        "setting": row.label,
        "runs": len(row.runs),
        "run_ids": " ".join(run.stored.id for run in row.runs),
        "test_images": row.images,
        "own_test_images": row.own_images,
        "test_accuracy": row.accuracy.value,
        "low": row.accuracy.low,
        "high": row.accuracy.high,
        "interval": row.spread.interval if row.spread else WILSON,
        "deviation": row.spread.deviation if row.spread else None,
        "macro_f1": row.macro_f1,
        "loss": row.loss,
        "val_accuracy": row.val_accuracy,
        "seconds": row.seconds,
        "trained_parameters": row.parameters,
        "milliseconds_an_image": row.milliseconds,
    }


def _run_entry(run: ComparedRun) -> dict[str, Any]:
    return {
        "run_id": run.stored.id,
        "name": run.stored.name,
        "overrides": run.stored.overrides,
        "seed": run.config.seed,
        "data_sha256": run.data_sha256,
        "metrics": {name: value for name, value in run.metrics.items() if "/class/" not in name},
        "cost": asdict(run.cost),
        "predictions": bool(run.predictions),
    }


def _pair_entry(pair: PairFigures, a: str, b: str) -> dict[str, Any]:
    return {"first": a, "second": b, **asdict(pair.difference), "significant": pair.difference.significant}


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
