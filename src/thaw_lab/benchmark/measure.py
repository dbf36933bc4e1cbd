"""Runs what is measured, each piece in a fresh process: no thread, policy or cache of one touches another."""

import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from thaw.common.console import say
from thaw.common.errors import UserError
from thaw.config.tool_schemas import BenchmarkConfig
from thaw_lab.process import ProcessGroup


@dataclass(frozen=True)
class Measurement:
    """One process. report: what it measured inside; wall_seconds and peak_mb: as of `CompletedCommand`."""

    report: dict[str, Any]
    wall_seconds: float
    peak_mb: float

    @property
    def seconds(self) -> float:
        """Seconds of work without imports: thaw's `seconds.total` in result.json, a script's own figure."""
        seconds = self.report["seconds"]
        return float(seconds["total"] if isinstance(seconds, dict) else seconds)

    @property
    def images_per_second(self) -> float:
        """The speed that a script reports."""
        return float(self.report["images_per_second"])


Measurements = dict[str, list[Measurement]]  # the repeats of each side


@dataclass(frozen=True)
class PartRunner:
    """Runs one part's processes, and keeps all `measurements` in order, as benchmark.json has them.

    root: the checkout. work_dir: their working directory, removed at the end. logs_dir: gets what they print.
    """

    config: BenchmarkConfig
    root: Path
    work_dir: Path
    logs_dir: Path
    part: str
    measurements: list[dict[str, Any]] = field(default_factory=list)

    def run_module(self, what: str, side: str, module: str, *arguments: object) -> Measurement:
        """Run a module of thaw_lab.benchmark that writes its figures to `--json FILE`."""
        return self._record(what, side, self._run_module(what, side, module, *arguments))

    def run_file(self, what: str, side: str, python: str, file: Path, *arguments: object) -> Measurement:
        """Run a script with another interpreter, which need not have thaw; it writes its figures to `--json FILE`."""
        return self._record(what, side, self._run_script(what, side, [python, str(file)], *arguments))

    def run_training(self, what: str, run_dir: str, *overrides: object, side: str = "thaw") -> Measurement:
        """Run train.py in a folder below runs/; the report has result.json, and the epochs as `history`."""
        measured = self._train(what, f"hydra.run.dir=runs/{run_dir}", *overrides)
        return self._record(what, side, measured, **self._result(run_dir))

    def run_command(self, what: str, run_dir: str, *overrides: object, side: str = "thaw") -> Measurement:
        """Run train.py as a user does, to measure the whole process; the report is that of `run_training`.

        `run_training` imports everything first, so that imports which a run overlaps with its work, or never needs,
        are not in its seconds, but all in the process's.
        """
        command = [sys.executable, str(self.root / "train.py"), f"hydra.run.dir=runs/{run_dir}", *map(str, overrides)]
        return self._record(what, side, self._run(what, side, command, None), **self._result(run_dir))

    def _result(self, run_dir: str) -> dict[str, Any]:
        folder = self.work_dir / "runs" / run_dir
        result: dict[str, Any] = json.loads((folder / "result.json").read_text())
        history = folder / "report" / "history.json"
        return {**result, "history": json.loads(history.read_text()) if history.exists() else []}

    def run_sweep(self, what: str, sweep_dir: str, *overrides: object) -> Measurement:
        """Run a sweep with train.py in a folder below runs/; the report has each job's `seconds` as `jobs`."""
        measured = self._train(what, "-m", f"hydra.sweep.dir=runs/{sweep_dir}", *overrides)
        files = (self.work_dir / "runs" / sweep_dir).glob("*/result.json")
        ordered = sorted(files, key=lambda file: int(file.parent.name))
        jobs = [json.loads(file.read_text())["seconds"] for file in ordered]
        return self._record(what, "thaw", measured, jobs=jobs, seconds=measured.report["work_seconds"])

    def _train(self, what: str, *overrides: object) -> Measurement:
        return self._run_module(what, "thaw", "thaw_scripts.thaw_train", self.root, *overrides)

    def _run_module(self, what: str, side: str, module: str, *arguments: object) -> Measurement:
        command = [sys.executable, "-m", f"thaw_lab.benchmark.{module}"]
        return self._run_script(what, side, command, *arguments)

    def _run_script(self, what: str, side: str, command: list[str], *arguments: object) -> Measurement:
        report = self.work_dir / "report.json"
        report.unlink(missing_ok=True)
        return self._run(what, side, [*command, *map(str, arguments), "--json", str(report)], report)

    def _run(self, what: str, side: str, command: list[str], report: Path | None) -> Measurement:
        self.logs_dir.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"[^\w.-]", "-", f"{self.part} {what} {side} {len(self.measurements)}")
        log = self.logs_dir / f"{name}.log"
        # The rest of the environment is the user's, as for a command of their own. The other sides draw no report.
        env = {
            **os.environ, "PYTHONPATH": str(self.root / "src"), "THAW_OUTPUTS": str(self.work_dir / "outputs"),
            "THAW_REPORT": "none", "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3",
        }  # fmt: skip
        with ProcessGroup().kill_on_exit() as processes:
            ended = processes.start(command, self.work_dir, env, log).wait_for_exit(timeout=None)
        if ended.exit_code or (report and not report.exists()):
            end = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            raise UserError(f"{self.part}: {what} with {side} ended with exit code {ended.exit_code}. {log}:\n{end}")
        return Measurement(json.loads(report.read_text()) if report else {}, ended.wall_seconds, ended.peak_mb)

    def _record(self, what: str, side: str, measured: Measurement, **more: Any) -> Measurement:
        measured = replace(measured, report={**measured.report, **more})
        process = {"wall_seconds": measured.wall_seconds, "peak_mb": measured.peak_mb}
        self.measurements.append({"what": what, "side": side, **measured.report, **process})
        if isinstance(measured.report.get("images_per_second"), float):
            figure = f"{measured.images_per_second:.1f} images/s · "
        else:
            figure = f"{measured.seconds:.2f} s · " if "seconds" in measured.report else ""
        say(f"  {what} · {side} · {figure}whole process {measured.wall_seconds:.0f} s")
        return measured


def run_alternating(repeats: int, sides: Mapping[str, Callable[[int], Measurement]]) -> Measurements:
    """Run each side once, then each again: what slows the machine for a while slows all of them."""
    measurements: Measurements = {side: [] for side in sides}
    for repeat in range(repeats):
        for side, run in sides.items():
            measurements[side].append(run(repeat))
    return measurements


def median_figure(repeats: list[Measurement], figure: Callable[[Measurement], float]) -> float:
    """Return the median of a figure over the repeats."""
    return float(median(figure(measurement) for measurement in repeats))
