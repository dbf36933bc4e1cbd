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
from thaw_lab.faults.snapshots import Left
from thaw_lab.faults.trial import Trial
from thaw_lab.process import Ended, Process, Processes

# The real weights, two stages, and everything that a resumed training has to get right: dropout, augmentation, moving
# BatchNorm statistics, momentum, a rate that falls on a plateau, early stopping with the best weights, and checkpoints
# inside epochs (0.3 s apart), not only between them.
TRAINING = (
    "dataset=digits", "dataset.limit_per_class=16", "backbone=efficientnet_lite0", "backbone.image_size=32",
    "head=linear", "head.dropout=0.3", "augment=light", "augment.flip=false", "train.batch_size=16", "train.patience=3",
    "optimizer=sgd", "optimizer.learning_rate=0.01", "optimizer.momentum=0.9", "optimizer.schedule=plateau",
    "optimizer.plateau_patience=1", "finetune.head_epochs=6", "finetune.epochs=8", "finetune.batchnorm=trainable",
    "checkpoint.minutes=0.005",
)  # fmt: skip
_PROXIES = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")


@dataclass(frozen=True)
class Reference:
    """What the training leaves when nothing happens, and the seconds that it takes, as many at a time as trials run.

    seconds: from its first line to its end; evaluation: of these, those after the last stage.
    """

    left: Left
    seconds: float
    evaluation: float


@dataclass(frozen=True)
class Yard:
    """What all trials share. root: the checkout; work: their folder, removed at the end; logs: is kept.

    failed: gets the folders of trials that did not hold. references: trainings to which nothing happened.
    """

    config: FaultsConfig
    root: Path
    work: Path
    logs: Path
    failed: Path
    processes: Processes
    references: list[Reference] = field(default_factory=list)

    def place(self, name: str, *overrides: str, outputs: str = "outputs") -> "Place":
        """A new folder for the trial `name`; outputs: the folder in it for what runs write."""
        name = re.sub(r"[^\w.-]+", "-", name)
        folder = self.work / name
        folder.mkdir()
        return Place(self, name, folder, folder / outputs, overrides)


@dataclass(frozen=True)
class Place:
    """A trial's folder, and the commands that are given in it. overrides: added to the training's."""

    yard: Yard
    name: str
    folder: Path
    outputs: Path
    overrides: tuple[str, ...] = ()

    def train(self, *more: str) -> Process:
        """Start the training."""
        return self.command("train.py", *TRAINING, *self.overrides, *more)

    def resume(self, *, by_folder: bool = False) -> Process:
        """Go on with the run, by its id or its folder; start anew when none was opened."""
        if not self.runs():
            return self.train()
        run_id, _ = left.run_of(self.run)
        return self.command("train.py", f"resume={self.run if by_folder else run_id}")

    def command(self, script: str, *arguments: str) -> Process:
        """Start a command as a user without a network has it."""
        # Nothing answers at this port. Downloads of before are not the user's either.
        env = {**os.environ, **dict.fromkeys(_PROXIES, "http://127.0.0.1:9"), "KERAS_HOME": str(self.folder / "keras")}
        env["THAW_OUTPUTS"] = str(self.outputs)
        command = [sys.executable, "-u", str(self.yard.root / script), *arguments]
        return self.yard.processes.start(command, self.folder, env)

    def end(self, process: Process) -> Ended:
        """Wait for the command's end, and add what it printed to the trial's log."""
        ended = process.end()
        if self.yard.processes.over:
            raise RuntimeError("broken off")  # what is left says nothing
        self.yard.logs.mkdir(parents=True, exist_ok=True)
        with (self.yard.logs / f"{self.name}.log").open("a", encoding="utf-8") as log:
            log.write(f"{ended.out}\n{ended.err}[exit code {ended.code}]\n\n")
        return ended

    def runs(self) -> list[Path]:
        """Folders of runs that were opened, the oldest first."""
        return [file.parent for file in sorted(self.outputs.glob("runs/*/*/run.json"))]

    @property
    def run(self) -> Path:
        """The folder of the trial's run."""
        return self.runs()[-1]

    @property
    def status(self) -> str:
        """The run's status in the store."""
        return str(left.stored(self.run, self.outputs).info.status)

    @property
    def reason(self) -> str:
        """Why the run ended, as the store has it."""
        return str(left.stored(self.run, self.outputs).data.tags.get("thaw.reason", ""))

    def goes_on(self, *, by_folder: bool = False) -> list[str]:
        """Resume the run to its end: what is not as it would be without the fault."""
        ended = self.end(self.resume(by_folder=by_folder))
        return self.compare(self.end(self.train()) if anew(ended) else ended)

    def compare(self, ended: Ended) -> list[str]:
        """What a training that ended well left, against the reference."""
        if ended.code:
            last = (ended.err or ended.out).strip().splitlines()
            return [f"exit code {ended.code}: {last[-1] if last else 'without a word'}"]
        return self.differences()

    def differences(self) -> list[str]:
        """What the run left, against the reference."""
        return left.differences(left.read(self.run, self.outputs), self.yard.references[0].left)

    def judged(self, fault: str, seen: str, wrong: list[str], **notes: Any) -> Trial:
        """The trial's outcome. Its folder goes, unless something did not hold."""
        if wrong:
            self.yard.failed.mkdir(parents=True, exist_ok=True)
            shutil.move(self.folder, self.yard.failed / self.name)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)
        return Trial(fault, seen, wrong, notes={"trial": self.name, **notes})


def anew(ended: Ended) -> bool:
    """Whether a resumed run answers that it ended in its first moments, before there was anything to go on with."""
    return ended.code == 1 and "start it anew" in ended.err


def unclear(ended: Ended) -> list[str]:
    """What is wrong with how a command refused: it takes exit code 1 and one line that begins with `error: `."""
    lines = ended.err.strip().splitlines()
    found = [] if ended.code == 1 else [f"exit code {ended.code} instead of 1"]
    if "Traceback" in ended.err + ended.out:
        found.append(f"a traceback: {lines[-1] if lines else ''}")
    elif len(lines) != 1 or not lines[0].startswith("error: "):
        found.append(f"not one line of error but {len(lines)}: {lines[-1] if lines else ''}")
    return found
