"""Runs what is measured, each piece in a fresh process: threads, policies and caches of one do not touch another."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from thaw.common.console import say
from thaw.common.errors import UserError
from thaw.config.tool_schemas import BenchmarkConfig


@dataclass(frozen=True)
class Measurement:
    """One process. report: what it measured inside; wall_seconds: with Python's start and all imports.

    peak_mb: the most memory it had resident, in MB (1e6 bytes).
    """

    report: dict[str, Any]
    wall_seconds: float
    peak_mb: float

    @property
    def seconds(self) -> float:
        """Of the work, without imports: thaw's `seconds.total` in result.json, the script's own figure."""
        seconds = self.report["seconds"]
        return float(seconds["total"] if isinstance(seconds, dict) else seconds)

    @property
    def images_per_second(self) -> float:
        return float(self.report["images_per_second"])


@dataclass(frozen=True)
class PartRunner:
    """Where one part's processes run. root: the checkout; work: their folder, removed at the end; logs: is kept.

    raw: everything that was measured, in order.
    """

    config: BenchmarkConfig
    root: Path
    work: Path
    logs: Path
    part: str
    measurements: list[dict[str, Any]] = field(default_factory=list)

    def run_module(self, what: str, side: str, module: str, *arguments: object) -> Measurement:
        """Run a module of thaw_lab.benchmark that leaves its figures in `--json FILE`."""
        report = self.work / "report.json"
        ran = self._run(
            what, side, [f"thaw_lab.benchmark.{module}", *map(str, arguments), "--json", str(report)], report
        )
        return self._noted(what, side, ran)

    def run_training(self, what: str, folder: str, *overrides: object) -> Measurement:
        """Run train.py with these overrides, in run folder `folder`; its report is result.json, and more."""
        where = self.work / "runs" / folder
        ran = self._train(what, f"hydra.run.dir=runs/{folder}", *overrides)
        result = json.loads((where / "result.json").read_text())
        history = where / "report" / "history.json"
        epochs = json.loads(history.read_text()) if history.exists() else []
        report = {**ran.report, **result, "history": epochs}
        return self._noted(what, "thaw", Measurement(report, ran.wall_seconds, ran.peak_mb))

    def run_sweep(self, what: str, folder: str, *overrides: object) -> Measurement:
        """Run a sweep with train.py; `jobs` of its report holds the children's `seconds`, the slowest part by name."""
        ran = self._train(what, "-m", f"hydra.sweep.dir=runs/{folder}", *overrides)
        files = sorted((self.work / "runs" / folder).glob("*/result.json"), key=lambda file: int(file.parent.name))
        jobs = [json.loads(file.read_text())["seconds"] for file in files]
        seconds = ran.report["work_seconds"]
        return self._noted(
            what, "thaw", Measurement({**ran.report, "jobs": jobs, "seconds": seconds}, ran.wall_seconds, ran.peak_mb)
        )

    def _train(self, what: str, *overrides: object) -> Measurement:
        report = self.work / "report.json"
        command = ["thaw_lab.benchmark.thaw_scripts.thaw_train", str(self.root), str(report), *map(str, overrides)]
        return self._run(what, "thaw", command, report)

    def _run(self, what: str, side: str, command: list[str], report: Path) -> Measurement:
        report.unlink(missing_ok=True)
        self.logs.mkdir(parents=True, exist_ok=True)
        name = "".join(
            c if c.isalnum() or c in "-_." else "-" for c in f"{self.part} {what} {side} {len(self.measurements)}"
        )
        log = self.logs / f"{name}.log"
        # THAW_OUTPUTS: not the user's. Everything else is as the user's own command would have it.
        env = {
            **os.environ,
            "PYTHONPATH": str(self.root / "src"),
            "THAW_OUTPUTS": str(self.work / "outputs"),
            "KERAS_BACKEND": "tensorflow",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        with log.open("w") as out:
            started = time.perf_counter()
            process = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=self.work, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
            )  # fmt: skip
            peak = _wait(process)
        wall = time.perf_counter() - started
        if process.returncode or not report.exists():
            last = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            raise UserError(
                f"{self.part}: {what} with {side} ended with exit code {process.returncode}. {log}:\n{last}"
            )
        return Measurement(json.loads(report.read_text()), wall, peak)

    def _noted(self, what: str, side: str, ran: Measurement) -> Measurement:
        entry = {"what": what, "side": side, **ran.report, "wall_seconds": ran.wall_seconds, "peak_mb": ran.peak_mb}
        self.measurements.append(entry)
        speed = (
            f"{ran.images_per_second:.1f} images/s" if isinstance(ran.report.get("images_per_second"), float) else ""
        )
        figure = speed or (f"{ran.seconds:.2f} s" if "seconds" in ran.report else "")
        say(f"  {what} · {side} · {figure}{' · ' if figure else ''}whole process {ran.wall_seconds:.0f} s")
        return ran


def _wait(process: subprocess.Popen[bytes]) -> float:
    """Wait for the process and return its peak resident memory in MB; broken off, it is ended too."""
    try:
        if not hasattr(os, "wait4"):
            process.wait()
            return float("nan")
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    except BaseException:
        process.kill()
        process.wait()
        raise
    return usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e6 / 1024)  # bytes there, KiB elsewhere


def run_alternating(repeats: int, sides: Mapping[str, Callable[[int], Measurement]]) -> dict[str, list[Measurement]]:
    """Run every side once, then every side again: what slows the machine for a while slows all of them."""
    found: dict[str, list[Measurement]] = {side: [] for side in sides}
    for repeat in range(repeats):
        for side, run in sides.items():
            found[side].append(run(repeat))
    return found


def median_figure(runs: list[Measurement], figure: Callable[[Measurement], float]) -> float:
    """The median of a figure over the repeats."""
    return float(median(figure(ran) for ran in runs))
