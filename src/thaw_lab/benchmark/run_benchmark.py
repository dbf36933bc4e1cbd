"""Measures thaw against Keras part by part, and writes table, figures and plot after each."""

import dataclasses
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from thaw import tracking
from thaw.common.console import print_table, say
from thaw.common.errors import UserError, did_you_mean, joined
from thaw.common.files import write_atomically
from thaw.config.tool_schemas import BenchmarkConfig
from thaw_lab import machine
from thaw_lab.benchmark import plot
from thaw_lab.benchmark.keras_scripts import keras_networks
from thaw_lab.benchmark.measure import PartRunner
from thaw_lab.benchmark.part_result import COLUMNS, KERAS, LIMIT_COLUMNS, BenchmarkRow, LimitRow, PartResult
from thaw_lab.benchmark.parts import (
    bottleneck,
    chip,
    extraction,
    first_run,
    growth,
    training_speed,
    training_step,
    two_stages,
)
from thaw_lab.benchmark.thaw_scripts import thaw_step
from thaw_lab.tables import markdown_table, rich_table

JSON, MARKDOWN, PNG = "benchmark.json", "benchmark.md", "benchmark.png"

Row = TypeVar("Row", BenchmarkRow, LimitRow)

PARTS: dict[str, Callable[[PartRunner], PartResult]] = {
    "chip": chip.chip,
    "stages": two_stages.stages,
    "first": first_run.first,
    "rerun": bottleneck.rerun,
    "sweep": bottleneck.sweep,
    "scratch": training_speed.scratch,
    "determinism": training_speed.determinism,
    "growth": growth.growth,
}
# Measured network by network: one that is measured again replaces only its own rows.
NETWORK_PARTS: dict[str, Callable[..., PartResult]] = {  # of the runner and the network's name
    "extract": extraction.extract,
    "jpeg": extraction.jpeg,
    "step": training_step.step,
}
ORDER = (  # in which parts are measured and written
    "chip", "extract", "jpeg", "step", "stages", "first", "rerun", "sweep", "scratch", "determinism", "growth",
)  # fmt: skip


def benchmark(config: BenchmarkConfig, root: Path) -> None:
    """Measure `config.what`, and write after each part, so that Ctrl-C loses only the one that is being measured.

    root: the checkout. Parts that the output folder has already stay when machine, versions and commit are the same.

    Raises:
        UserError: a network is not compared, a count is out of range, or a process failed.
    """
    config = with_absolute_programs(config)
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
        for name, measure in chosen_parts(config).items():
            runner = PartRunner(config, root, work_dir, output / "logs", name)
            say(f"{name}:")
            result = measure(runner)
            content["parts"][name] = part_entry(result, runner)
            write_results(content, output)
            for used in (*work_dir.glob("cache-*"), work_dir / "runs"):  # no part needs another's
                shutil.rmtree(used, ignore_errors=True)
            notes = "\n".join([caption, *result.notes])
            if result.rows:
                cells = [row.cells() for row in result.rows]
                print_table(rich_table(COLUMNS, cells, left=("what", "against"), title=name, caption=notes))
            if result.limits:
                cells = [row.cells() for row in result.limits]
                caption_below = "" if result.rows else notes
                print_table(rich_table(LIMIT_COLUMNS, cells, left=("what",), title=name, caption=caption_below))
    say(f"written: {output / JSON}, {MARKDOWN}, {PNG}")


def chosen_parts(config: BenchmarkConfig) -> dict[str, Callable[[PartRunner], PartResult]]:
    """Return what to measure, by the name that benchmark.json has for it: a part's, or a part's with a network's."""
    chosen: dict[str, Callable[[PartRunner], PartResult]] = {}
    for part in ORDER if config.what == "all" else [config.what]:
        if part in PARTS:
            chosen[part] = PARTS[part]
        else:
            chosen |= {f"{part} {name}": partial(NETWORK_PARTS[part], name=name) for name in config.backbones}
    return chosen


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
    leaves_out_first = [part for part in ("step", "scratch", "determinism") if config.what in ("all", part)]
    if config.epochs < 2 and leaves_out_first:
        raise UserError(
            f"epochs={config.epochs} leaves {joined(leaves_out_first)} nothing to measure: the first one is left out. "
            "Set epochs=2 or more"
        )
    check_step_images(config)
    check_other_programs(config)


def check_step_images(config: BenchmarkConfig) -> None:
    """Raise UserError if an epoch of step would end with a part of a batch."""
    if config.step_images % thaw_step.BATCH_SIZE:
        raise UserError(f"step_images={config.step_images} is no multiple of the batches of {thaw_step.BATCH_SIZE}")


def with_absolute_programs(config: BenchmarkConfig) -> BenchmarkConfig:
    """Return the config with absolute paths: what is measured runs in a working directory of its own."""
    baseline = config.baseline and str(Path(config.baseline).expanduser().absolute())
    # A name without a folder is looked up on PATH.
    is_path = config.pytorch and len(Path(config.pytorch).parts) > 1
    pytorch = str(Path(config.pytorch).expanduser().absolute()) if config.pytorch and is_path else config.pytorch
    return dataclasses.replace(config, baseline=baseline, pytorch=pytorch)


def check_other_programs(config: BenchmarkConfig) -> None:
    """Raise UserError if `baseline` is no checkout of thaw, or `pytorch` no Python with torch and torchvision."""
    if config.baseline and not (Path(config.baseline) / "src" / "thaw" / "__init__.py").exists():
        raise UserError(f"baseline={config.baseline} is no checkout of thaw: it has no src/thaw. Name its folder")
    if config.pytorch:
        try:
            ran = subprocess.run([config.pytorch, "-c", "import torch, torchvision"], capture_output=True, text=True)
            error = "" if not ran.returncode else f"exit code {ran.returncode}"
            error = (ran.stderr.strip().splitlines() or [error])[-1] if error else ""
        except OSError as failure:
            error = str(failure)
        if error:
            raise UserError(
                f"pytorch={config.pytorch} does not import torch and torchvision: {error}. Name the python of an "
                "environment that has both (pip install torch torchvision)"
            )


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
    limits = [
        {**dataclasses.asdict(row), "used": row.used, "share": row.share, "reached": row.reached}
        for row in result.limits
    ]
    settings = dataclasses.asdict(runner.config)
    return {
        "settings": settings, "rows": rows, "limits": limits, "notes": result.notes, "lines": result.curves,
        "raw": runner.measurements,
    }  # fmt: skip


def write_results(content: dict[str, Any], output: Path) -> None:
    """Write the three files from all parts so far."""
    parts = dict(sorted(content["parts"].items(), key=lambda entry: _place(entry[0])))
    rows = [_from_json(BenchmarkRow, row) for part in parts.values() for row in part["rows"]]
    limits = [_from_json(LimitRow, row) for part in parts.values() for row in part["limits"]]
    caption, versions = machine.machine_caption(content["machine"]), machine.version_line(content["machine"])
    tables = [
        f"{title}\n\n{markdown_table(columns, [row.cells() for row in table])}"
        for title, columns, table in (("## Limits", LIMIT_COLUMNS, limits), ("## Ratios", COLUMNS, rows))
        if table
    ]
    notes = "".join(f"- {note}\n" for note in dict.fromkeys(note for part in parts.values() for note in part["notes"]))
    text = "\n\n".join([caption, versions, "\n".join(tables)])
    write_atomically(output / JSON, json.dumps({**content, "parts": parts}, indent=1).encode())
    write_atomically(output / MARKDOWN, f"{text}\n{notes}".encode())
    ratios = [
        (row.what, row.ratio, row.target) for row in rows if row.ratio and row.unit != "MB" and row.against == KERAS
    ]
    curves: dict[str, Any] = next((part["lines"] for part in parts.values() if part["lines"]), {})
    plot.benchmark_png(ratios, curves, caption, output / PNG)


def _place(entry: str) -> tuple[int, int]:
    """Return where an entry of benchmark.json stands."""
    part, _, network = entry.partition(" ")
    return ORDER.index(part), keras_networks.NAMES.index(network) if network else 0


def _from_json(row_type: type[Row], values: dict[str, Any]) -> Row:
    return row_type(**{field.name: values[field.name] for field in dataclasses.fields(row_type)})
