"""Where trials run: the small training, and per trial a user's folder with outputs, cache and store of its own."""

import os
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from thaw.config.tool_schemas import FaultsConfig
from thaw_lab.faults import snapshots
from thaw_lab.faults.trial import Trial
from thaw_lab.process import CompletedCommand, Process, ProcessGroup

# The real weights, two stages, and everything that a resumed training has to get right: dropout, augmentation, moving
# BatchNorm statistics, momentum, a rate that falls on a plateau, early stopping with the best weights, and checkpoints
# inside epochs (0.3 s apart), not only between them.
TRAINING_OVERRIDES = (
    "dataset=digits", "dataset.limit_per_class=16", "backbone=efficientnet_lite0", "backbone.image_size=32",
    "head=linear", "head.dropout=0.3", "augment=light", "augment.flip=false", "train.batch_size=16", "train.patience=3",
    "optimizer=sgd", "optimizer.learning_rate=0.01", "optimizer.momentum=0.9", "optimizer.schedule=plateau",
    "optimizer.plateau_patience=1", "finetune.head_epochs=6", "finetune.epochs=8", "finetune.batchnorm=trainable",
    "checkpoint.minutes=0.005",
)  # fmt: skip
_PROXIES = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")


@dataclass(frozen=True)
class BaselineRun:
    """A training to which nothing happened, with as many others beside it as trials run at a time.

    Attributes:
        snapshot: what it left.
        seconds: from its first line to its end.
        evaluation_seconds: of these, those after the last stage.
    """

    snapshot: snapshots.RunSnapshot
    seconds: float
    evaluation_seconds: float


@dataclass(frozen=True)
class Workspace:
    """What all trials share.

    Attributes:
        root: the checkout.
        work_dir: gets a folder per trial, and is removed at the end.
        logs_dir: gets what the trials printed.
        failed_dir: gets the folders of trials that did not hold.
        baselines: trainings without a fault; trials are compared with the first.
    """

    config: FaultsConfig
    root: Path
    work_dir: Path
    logs_dir: Path
    failed_dir: Path
    processes: ProcessGroup
    baselines: list[BaselineRun] = field(default_factory=list)

    def new_trial_dir(self, name: str, *overrides: str, outputs: str = "outputs") -> "TrialDir":
        """Make a trial's folder. outputs: the folder below it that runs write to."""
        name = re.sub(r"[^\w.-]+", "-", name)
        folder = self.work_dir / name
        folder.mkdir()
        return TrialDir(self, name, folder, folder / outputs, overrides)


TrialFunction = Callable[[Workspace], Trial]


@dataclass(frozen=True)
class TrialDir:
    """A trial's folder, and the commands that are given in it. overrides: added to TRAINING_OVERRIDES."""

    workspace: Workspace
    name: str
    folder: Path
    outputs: Path
    overrides: tuple[str, ...] = ()

    def start_training(self, *more: str) -> Process:
        """Start the small training."""
        return self.start_command("train.py", *TRAINING_OVERRIDES, *self.overrides, *more)

    def start_resume(self, *, by_run_dir: bool = False) -> Process:
        """Resume the run by its id or its folder; start a training when no run was opened."""
        if not self.run_dirs():
            return self.start_training()
        run = self.run_dir if by_run_dir else snapshots.run_id_and_store(self.run_dir)[0]
        return self.start_command("train.py", f"resume={run}")

    def start_command(self, script: str, *arguments: str) -> Process:
        """Start a command as a user without a network and without earlier downloads would."""
        proxies = dict.fromkeys(_PROXIES, "http://127.0.0.1:9")  # nothing answers at this port
        env = {**os.environ, **proxies, "KERAS_HOME": str(self.folder / "keras"), "THAW_OUTPUTS": str(self.outputs)}
        command = [sys.executable, "-u", str(self.workspace.root / script), *arguments]
        return self.workspace.processes.start(command, self.folder, env)

    def wait_for_exit(self, process: Process) -> CompletedCommand:
        """Wait for the command's end, and append what it printed to the trial's log."""
        ended = process.wait_for_exit()
        if self.workspace.processes.stopped:
            raise RuntimeError("interrupted")  # what we killed ourselves says nothing
        self.workspace.logs_dir.mkdir(parents=True, exist_ok=True)
        with (self.workspace.logs_dir / f"{self.name}.log").open("a", encoding="utf-8") as log:
            log.write(f"{ended.stdout}\n{ended.stderr}[exit code {ended.exit_code}]\n\n")
        return ended

    def train(self, *more: str) -> CompletedCommand:
        """Run the small training to its end."""
        return self.wait_for_exit(self.start_training(*more))

    def run_dirs(self) -> list[Path]:
        """Return the folders of the runs that were opened, the oldest first."""
        return [file.parent for file in sorted(self.outputs.glob("runs/*/*/run.json"))]

    @property
    def run_dir(self) -> Path:
        """The folder of the trial's newest run."""
        return self.run_dirs()[-1]

    def status_and_reason(self) -> tuple[str, str]:
        """Return the run's status in the store, and why it ended so."""
        run = snapshots.stored_run(self.run_dir, self.outputs)
        return str(run.info.status), str(run.data.tags.get("thaw.reason", ""))

    def resume_and_compare(self, *, by_run_dir: bool = False) -> list[str]:
        """Resume the run to its end, and return how it differs from the baseline run, a line each."""
        ended = self.wait_for_exit(self.start_resume(by_run_dir=by_run_dir))
        return self.compare(self.train() if asks_to_start_anew(ended) else ended)

    def compare(self, ended: CompletedCommand) -> list[str]:
        """Return how a training that has ended differs from the baseline run, a line each."""
        if ended.exit_code:
            last = (ended.stderr or ended.stdout).strip().splitlines()
            return [f"exit code {ended.exit_code}: {last[-1] if last else 'no output'}"]
        return self.differences()

    def differences(self) -> list[str]:
        """Return how what the run left differs from what the baseline run left, a line each."""
        snapshot = snapshots.read_snapshot(self.run_dir, self.outputs)
        return snapshots.differences(snapshot, self.workspace.baselines[0].snapshot)

    def finish(self, fault: str, seen: str, wrong: list[str], **notes: Any) -> Trial:
        """Return the trial's outcome, and remove its folder; one that did not hold is moved to `failed_dir`."""
        if wrong:
            self.workspace.failed_dir.mkdir(parents=True, exist_ok=True)
            shutil.move(self.folder, self.workspace.failed_dir / self.name)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)
        return Trial(fault, seen, wrong, notes={"trial": self.name, **notes})


def asks_to_start_anew(ended: CompletedCommand) -> bool:
    """Return whether a resumed run refuses because it was killed before there was anything to resume."""
    return ended.exit_code == 1 and "start it anew" in ended.stderr


def error_problems(ended: CompletedCommand) -> list[str]:
    """Return what is wrong with a refusal: it takes exit code 1 and one line that begins with `error: `."""
    lines = ended.stderr.strip().splitlines()
    last = lines[-1] if lines else ""
    problems = [] if ended.exit_code == 1 else [f"exit code {ended.exit_code} instead of 1"]
    if "Traceback" in ended.stderr + ended.stdout:
        problems.append(f"a traceback: {last}")
    elif len(lines) != 1 or not last.startswith("error: "):
        problems.append(f"not one line of error but {len(lines)}: {last}")
    return problems
