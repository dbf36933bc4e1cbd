"""Where trials run: the small training, and for each trial a user's folder with outputs, cache and store of its own."""

import os
import re
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from thaw.config.tool_schemas import FaultsConfig
from thaw_lab.faults import snapshots as left
from thaw_lab.faults.snapshots import RunSnapshot
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
    """What the training leaves when nothing happens, and the seconds that it takes, as many at a time as trials run.

    seconds: from its first line to its end; evaluation: of these, those after the last stage.
    """

    snapshot: RunSnapshot
    seconds: float
    evaluation_seconds: float


@dataclass(frozen=True)
class Workspace:
    """What all trials share. root: the checkout; work: their folder, removed at the end; logs: is kept.

    failed: gets the folders of trials that did not hold. references: trainings to which nothing happened.
    """

    config: FaultsConfig
    root: Path
    work_dir: Path
    logs_dir: Path
    failed_dir: Path
    processes: ProcessGroup
    baselines: list[BaselineRun] = field(default_factory=list)

    def new_trial_dir(self, name: str, *overrides: str, outputs: str = "outputs") -> "TrialDir":
        """A new folder for the trial `name`; outputs: the folder in it for what runs write."""
        name = re.sub(r"[^\w.-]+", "-", name)
        folder = self.work_dir / name
        folder.mkdir()
        return TrialDir(self, name, folder, folder / outputs, overrides)


@dataclass(frozen=True)
class TrialDir:
    """A trial's folder, and the commands that are given in it. overrides: added to the training's."""

    workspace: Workspace
    name: str
    folder: Path
    outputs: Path
    overrides: tuple[str, ...] = ()

    def start_training(self, *more: str) -> Process:
        """Start the training."""
        return self.start_command("train.py", *TRAINING_OVERRIDES, *self.overrides, *more)

    def start_resume(self, *, by_run_dir: bool = False) -> Process:
        """Go on with the run, by its id or its folder; start anew when none was opened."""
        if not self.run_dirs():
            return self.start_training()
        run_id, _ = left.run_id_and_store(self.run_dir)
        return self.start_command("train.py", f"resume={self.run_dir if by_run_dir else run_id}")

    def start_command(self, script: str, *arguments: str) -> Process:
        """Start a command as a user without a network has it."""
        # Nothing answers at this port. Downloads of before are not the user's either.
        env = {**os.environ, **dict.fromkeys(_PROXIES, "http://127.0.0.1:9"), "KERAS_HOME": str(self.folder / "keras")}
        env["THAW_OUTPUTS"] = str(self.outputs)
        command = [sys.executable, "-u", str(self.workspace.root / script), *arguments]
        return self.workspace.processes.start(command, self.folder, env)

    def wait_for_exit(self, process: Process) -> CompletedCommand:
        """Wait for the command's end, and add what it printed to the trial's log."""
        ended = process.wait_for_exit()
        if self.workspace.processes.stopped:
            raise RuntimeError("broken off")  # what is left says nothing
        self.workspace.logs_dir.mkdir(parents=True, exist_ok=True)
        with (self.workspace.logs_dir / f"{self.name}.log").open("a", encoding="utf-8") as log:
            log.write(f"{ended.stdout}\n{ended.stderr}[exit code {ended.exit_code}]\n\n")
        return ended

    def run_dirs(self) -> list[Path]:
        """Folders of runs that were opened, the oldest first."""
        return [file.parent for file in sorted(self.outputs.glob("runs/*/*/run.json"))]

    @property
    def run_dir(self) -> Path:
        """The folder of the trial's run."""
        return self.run_dirs()[-1]

    @property
    def status(self) -> str:
        """The run's status in the store."""
        return str(left.stored_run(self.run_dir, self.outputs).info.status)

    @property
    def reason(self) -> str:
        """Why the run ended, as the store has it."""
        return str(left.stored_run(self.run_dir, self.outputs).data.tags.get("thaw.reason", ""))

    def resume_and_compare(self, *, by_run_dir: bool = False) -> list[str]:
        """Resume the run to its end: what is not as it would be without the fault."""
        ended = self.wait_for_exit(self.start_resume(by_run_dir=by_run_dir))
        return self.compare(self.wait_for_exit(self.start_training()) if asks_to_start_anew(ended) else ended)

    def compare(self, ended: CompletedCommand) -> list[str]:
        """What a training that ended well left, against the reference."""
        if ended.exit_code:
            last = (ended.stderr or ended.stdout).strip().splitlines()
            return [f"exit code {ended.exit_code}: {last[-1] if last else 'without a word'}"]
        return self.differences()

    def differences(self) -> list[str]:
        """What the run left, against the reference."""
        return left.differences(left.read_snapshot(self.run_dir, self.outputs), self.workspace.baselines[0].snapshot)

    def finish(self, fault: str, seen: str, wrong: list[str], **notes: Any) -> Trial:
        """The trial's outcome. Its folder goes, unless something did not hold."""
        if wrong:
            self.workspace.failed_dir.mkdir(parents=True, exist_ok=True)
            shutil.move(self.folder, self.workspace.failed_dir / self.name)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)
        return Trial(fault, seen, wrong, notes={"trial": self.name, **notes})


def asks_to_start_anew(ended: CompletedCommand) -> bool:
    """Whether a resumed run answers that it ended in its first moments, before there was anything to go on with."""
    return ended.exit_code == 1 and "start it anew" in ended.stderr


def error_problems(ended: CompletedCommand) -> list[str]:
    """What is wrong with how a command refused: it takes exit code 1 and one line that begins with `error: `."""
    lines = ended.stderr.strip().splitlines()
    found = [] if ended.exit_code == 1 else [f"exit code {ended.exit_code} instead of 1"]
    if "Traceback" in ended.stderr + ended.stdout:
        found.append(f"a traceback: {lines[-1] if lines else ''}")
    elif len(lines) != 1 or not lines[0].startswith("error: "):
        found.append(f"not one line of error but {len(lines)}: {lines[-1] if lines else ''}")
    return found
