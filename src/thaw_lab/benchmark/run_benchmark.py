"""Measures thaw against Keras part by part, and writes table, figures and plot after each."""

import dataclasses
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from thaw import tracking
from thaw.common.console import print_table, say
from thaw.common.errors import UserError, did_you_mean, joined
from thaw.common.files import write_atomically, write_json
from thaw.config.tool_schemas import BenchmarkConfig
from thaw_lab import machine, tables
from thaw_lab.benchmark import plot
from thaw_lab.benchmark.keras_scripts import keras_networks
from thaw_lab.benchmark.measure import PartRunner
from thaw_lab.benchmark.outcome import PartResult
from thaw_lab.benchmark.parts import PARTS
from thaw_lab.tables import BenchmarkRow

JSON, MARKDOWN, PNG = "benchmark.json", "benchmark.md", "benchmark.png"


def benchmark(config: BenchmarkConfig, root: Path) -> None:
    """Measure `config.what`; what is measured is written at once, so that Ctrl-C loses only the part at work.

    root: the checkout. Parts that `output` holds from before stay when machine, versions and commit are the same.
    Raises UserError for a network that is not compared, and for a piece that failed.
    """
    check_config(config)
    output = Path(config.output).expanduser().absolute()
    output.mkdir(parents=True, exist_ok=True)
    written = load_earlier(output / JSON, machine.describe(root))
    caption = machine.caption(written["machine"])
    say(f"{caption} Each side is measured {config.repeats} times, in turn.")
    with _workplace(output) as work:
        tracking.open_store(f"sqlite:///{work}/outputs/mlflow.db", work / "outputs")  # a user has it after one run
        for name in PARTS if config.what == "all" else [config.what]:
            bench = PartRunner(config, root, work, output / "logs", name)
            say(f"{name}:")
            done = PARTS[name](bench)
            written["parts"][name] = part_entry(done, bench)
            write_results(written, output)
            for used in (*work.glob("cache-*"), work / "runs"):  # no part needs another's: some GB
                shutil.rmtree(used, ignore_errors=True)
            print_table(tables.rich_table(name, done.rows, f"{caption}\n{done.note}"))
    say(f"written: {output / JSON}, {MARKDOWN}, {PNG}")


def check_config(config: BenchmarkConfig) -> None:
    """Raise UserError for a network or a count that cannot be measured."""
    for name in config.backbones:
        if name not in keras_networks.NAMES:
            raise UserError(
                f"backbones={name} is not compared.{did_you_mean(name, keras_networks.NAMES)} "
                f"Choose from: {joined(keras_networks.NAMES)}"
            )
    for key, least in (("backbones", 1), ("jobs", 1), ("growth", 20)):
        values = getattr(config, key)
        if not values:
            raise UserError(f"{key}=[] leaves nothing to measure")
        if key != "backbones" and min(values) < least:
            raise UserError(f"{key}={min(values)} is out of range: it must be at least {least}")


@contextmanager
def _workplace(output: Path) -> Iterator[Path]:
    """A folder for photos, caches and runs on the output's disk; some GB, gone at the end."""
    work = Path(tempfile.mkdtemp(prefix="work-", dir=output))
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def load_earlier(file: Path, here: dict[str, Any]) -> dict[str, Any]:
    """What `file` holds if it was measured on the same machine with the same code, else no parts yet."""
    here = json.loads(json.dumps(here))
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError):
        found = {}
    same = found.get("machine") == here and not here["dirty"]
    if found and not same:
        say(f"{file} was measured elsewhere, with other versions or uncommitted changes: it is begun anew")
    return {"machine": here, "parts": found["parts"] if same else {}}


def part_entry(done: PartResult, bench: PartRunner) -> dict[str, Any]:
    """A part for benchmark.json: its rows with ratios, what they include, and every single measurement."""
    rows = [{**dataclasses.asdict(row), "ratio": row.ratio, "reached": row.reached} for row in done.rows]
    return {
        "settings": dataclasses.asdict(bench.config),
        "rows": rows,
        "note": done.note,
        "lines": done.lines,
        "raw": bench.measurements,
    }


def write_results(written: dict[str, Any], output: Path) -> None:
    """Write the three files anew, from all parts so far."""
    parts = {name: written["parts"][name] for name in PARTS if name in written["parts"]}
    names = [field.name for field in dataclasses.fields(BenchmarkRow)]
    rows = [BenchmarkRow(**{name: row[name] for name in names}) for part in parts.values() for row in part["rows"]]
    here = written["machine"]
    text = [f"{machine.caption(here)}\n", f"{machine.versions(here)}\n", tables.markdown(rows)]
    text += [f"- {part['note']}" for part in parts.values()]
    lines: dict[str, Any] = next((part["lines"] for part in parts.values() if part["lines"]), {})
    write_json({**written, "parts": parts}, output / JSON)
    write_atomically(output / MARKDOWN, ("\n".join(text) + "\n").encode())
    ratios = [(row.what, row.ratio, row.target) for row in rows if row.ratio is not None and row.unit != "MB"]
    plot.benchmark_png(ratios, lines, machine.caption(here), output / PNG)
