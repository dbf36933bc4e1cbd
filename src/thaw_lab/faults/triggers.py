"""Where a training is, by what it has printed, and moments to strike at."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from thaw_lab.faults.workspace import TrialDir
from thaw_lab.process import Process

BEFORE, HEAD, THAW = "before training", "stage head", "stage thaw"
WRITE, EVALUATION, RESULT = "a checkpoint's write", "evaluation", "after the result"
PHASES = (BEFORE, HEAD, THAW, WRITE, EVALUATION, RESULT)


def training_phase(lines: list[str]) -> str:
    """Where a training is that has printed these lines."""
    now = BEFORE
    for line in lines:
        if line.startswith("stage head ·"):
            now = HEAD
        elif line.startswith("stage thaw ·"):
            now = THAW
        elif line.startswith("  proved:") and now == THAW:
            now = EVALUATION
        elif line.startswith("result "):
            now = RESULT
    return now


@dataclass(frozen=True)
class Trigger:
    """A moment, in words. wait: returns when it has come, False when the process has ended before."""

    description: str
    wait: Callable[[Process, TrialDir], bool]


def seconds_after_start(seconds: float) -> Trigger:
    """So long after the first line of output."""

    def wait(process: Process, place: TrialDir) -> bool:
        return process.wait_until(bool) and process.runs_for(seconds)

    return Trigger(f"{seconds:.1f} s after its first line", wait)


def during_scan() -> Trigger:
    """As soon as the store has the run's command: what comes next is reading the data."""

    def wait(process: Process, place: TrialDir) -> bool:
        while process.running and not any(place.outputs.glob("artifacts/*/artifacts/overrides.txt")):
            time.sleep(0.005)
        return process.runs_for(0.1)

    return Trigger("in the scan", wait)


def during_extraction(seconds: float) -> Trigger:
    """So long after the first stage began to compute activations, which takes it two seconds."""

    def wait(process: Process, place: TrialDir) -> bool:
        return process.wait_until(lambda lines: training_phase(lines) == HEAD) and process.runs_for(seconds)

    return Trigger(f"{seconds:.1f} s into the extraction", wait)


def during_evaluation(seconds: float) -> Trigger:
    """So long after the last stage was proved."""

    def wait(process: Process, place: TrialDir) -> bool:
        return process.wait_until(lambda lines: training_phase(lines) == EVALUATION) and process.runs_for(seconds)

    return Trigger(f"{seconds:.1f} s into the evaluation", wait)


def during_stage(stage: str, epochs: int = 0) -> Trigger:
    """When the stage trains, and has done so many epochs; seconds would say little of a slow machine."""
    return Trigger(f"{stage}, after {epochs} epochs", lambda process, place: _trained(process, stage, epochs))


def during_checkpoint_write(stage: str, epochs: int, into: float) -> Trigger:
    """In the first checkpoint's write that begins after so many epochs of the stage; `into` it, in seconds."""

    def wait(process: Process, place: TrialDir) -> bool:
        if not _trained(process, stage, epochs):
            return False
        while process.running and training_phase(process.lines) in (HEAD, THAW):
            if is_writing_checkpoint(place):
                time.sleep(into)
                return True
            time.sleep(0.0005)
        return process.running

    return Trigger(f"in a checkpoint's write, {stage}, after {epochs} epochs", wait)


def _trained(process: Process, stage: str, epochs: int) -> bool:
    begun, done = f"{stage} ·", f"  {stage.removeprefix('stage ')} epoch "

    def seen(lines: list[str]) -> bool:
        own = lines[next((i for i, line in enumerate(lines) if line.startswith(begun)), len(lines)) :]
        trains = any(line.startswith("  training ") for line in own)
        return trains and sum(line.startswith(done) for line in own) >= epochs

    return process.wait_until(seen)


def is_writing_checkpoint(place: TrialDir) -> bool:
    """Whether a checkpoint is half written."""
    return bool(place.run_dirs()) and any(place.run_dir.glob("checkpoints/*.tmp"))
