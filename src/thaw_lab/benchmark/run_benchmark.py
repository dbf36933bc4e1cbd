"""Measures thaw against Keras part by part, and writes table, figures and plot after each."""

import dataclasses
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from thaw import tracking
from thaw.common.console import print_table, say
from thaw.common.errors import UserError, did_you_mean, joined
from thaw.common.files import write_atomically
from thaw.config.tool_schemas import BenchmarkConfig
from thaw_lab import machine
from thaw_lab.benchmark import plot
from thaw_lab.benchmark.keras_scripts import keras_networks
from thaw_lab.benchmark.measure import PartRunner
from thaw_lab.benchmark.part_result import COLUMNS, BenchmarkRow, PartResult
from thaw_lab.benchmark.parts import bottleneck, extraction, growth, training_speed, two_stages
from thaw_lab.tables import markdown_table, rich_table

JSON, MARKDOWN, PNG = "benchmark.json", "benchmark.md", "benchmark.png"

PARTS: dict[str, Callable[[PartRunner], PartResult]] = {  # in the order in which they are measured
    "extract": extraction.extract,
    "jpeg": extraction.jpeg,
    "stages": two_stages.stages,
    "rerun": bottleneck.rerun,
    "sweep": bottleneck.sweep,
    "scratch": training_speed.scratch,
    "determinism": training_speed.determinism,
    "growth": growth.growth,
}


def benchmark(config: BenchmarkConfig, root: Path) -> None:
    """Measure `config.what`, and write after each part, so that Ctrl-C loses only the one that is being measured.

    root: the checkout. Parts that the output folder has already stay when machine, versions and commit are the same.

    Raises:
        UserError: a network is not compared, a count is out of range, or a process failed.
    """
    check_benchmark_config(config)
    output = Path(config.output).expanduser().absolute()
    output.mkdir(parents=True, exist_ok=True)
    content = load_earlier(output / JSON, machine.describe_machine(root))
    caption = machine.machine_caption(content["machine"])
    say(f"{caption} Each side is measured {config.repeats} times, in turn.")
    # Photos, caches and runs, some GB, on the output's disk.
    with tempfile.TemporaryDirectory(prefix="work-", dir=output, ignore_cleanup_errors=True) as temporary:
        work_dir = Path(temporary)
        # A user has the store's database after one run.
        tracking.open_store(f"sqlite:///{work_dir}/outputs/mlflow.db", work_dir / "outputs")
        for name in PARTS if config.what == "all" else [config.what]:
            runner = PartRunner(config, root, work_dir, output / "logs", name)
            say(f"{name}:")
            result = PARTS[name](runner)
            content["parts"][name] = part_entry(result, runner)
            write_results(content, output)
            for used in (*work_dir.glob("cache-*"), work_dir / "runs"):  # no part needs another's
                shutil.rmtree(used, ignore_errors=True)
            cells = [row.cells() for row in result.rows]
            print_table(rich_table(COLUMNS, cells, left=("what",), title=name, caption=f"{caption}\n{result.note}"))
    say(f"written: {output / JSON}, {MARKDOWN}, {PNG}")


def check_benchmark_config(config: BenchmarkConfig) -> None:
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


def load_earlier(file: Path, hardware: dict[str, Any]) -> dict[str, Any]:
    """Return what benchmark.json has if it was measured on the same machine with the same code, else no parts yet."""
    hardware = json.loads(json.dumps(hardware))
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError):
        content = {}
    is_same = content.get("machine") == hardware and not hardware["dirty"]
    if content and not is_same:
        say(f"{file} was measured elsewhere, with other versions or uncommitted changes: it is begun anew")
    return {"machine": hardware, "parts": content["parts"] if is_same else {}}


def part_entry(result: PartResult, runner: PartRunner) -> dict[str, Any]:
    """Return a part as benchmark.json has it: rows with ratios, what they include, and every single measurement."""
    rows = [{**dataclasses.asdict(row), "ratio": row.ratio, "reached": row.reached} for row in result.rows]
    settings = dataclasses.asdict(runner.config)
    return {
        "settings": settings, "rows": rows, "note": result.note, "lines": result.curves, "raw": runner.measurements,
    }  # fmt: skip


def write_results(content: dict[str, Any], output: Path) -> None:
    """Write the three files from all parts so far."""
    parts = {name: content["parts"][name] for name in PARTS if name in content["parts"]}
    names = [field.name for field in dataclasses.fields(BenchmarkRow)]
    rows = [BenchmarkRow(**{name: row[name] for name in names}) for part in parts.values() for row in part["rows"]]
    caption, versions = machine.machine_caption(content["machine"]), machine.version_line(content["machine"])
    table = markdown_table(COLUMNS, [row.cells() for row in rows])
    notes = "".join(f"- {part['note']}\n" for part in parts.values())
    write_atomically(output / JSON, json.dumps({**content, "parts": parts}, indent=1).encode())
    write_atomically(output / MARKDOWN, f"{caption}\n\n{versions}\n\n{table}\n{notes}".encode())
    ratios = [(row.what, row.ratio, row.target) for row in rows if row.ratio is not None and row.unit != "MB"]
    curves: dict[str, Any] = next((part["lines"] for part in parts.values() if part["lines"]), {})
    plot.benchmark_png(ratios, curves, caption, output / PNG)
