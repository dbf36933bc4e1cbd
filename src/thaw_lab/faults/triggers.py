"""Where a training is, by what it has printed, and moments to strike at."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from thaw_lab.faults.workspace import Place
from thaw_lab.process import Process

BEFORE, HEAD, THAW = "before training", "stage head", "stage thaw"
WRITE, EVALUATION, RESULT = "a checkpoint's write", "evaluation", "after the result"
PHASES = (BEFORE, HEAD, THAW, WRITE, EVALUATION, RESULT)


def phase(lines: list[str]) -> str:
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
class Moment:
    """A moment, in words. wait: returns when it has come, False when the process has ended before."""

    what: str
    wait: Callable[[Process, Place], bool]


def at(seconds: float) -> Moment:
    """So long after the first line of output."""

    def wait(process: Process, place: Place) -> bool:
        return process.wait_until(bool) and process.wait(seconds)

    return Moment(f"{seconds:.1f} s after its first line", wait)


def in_scan() -> Moment:
    """As soon as the store has the run's command: what comes next is reading the data."""

    def wait(process: Process, place: Place) -> bool:
        while process.running and not any(place.outputs.glob("artifacts/*/artifacts/overrides.txt")):
            time.sleep(0.005)
        return process.wait(0.1)

    return Moment("in the scan", wait)


def in_extraction(seconds: float) -> Moment:
    """So long after the first stage began to compute activations, which takes it two seconds."""

    def wait(process: Process, place: Place) -> bool:
        return process.wait_until(lambda lines: phase(lines) == HEAD) and process.wait(seconds)

    return Moment(f"{seconds:.1f} s into the extraction", wait)


def in_evaluation(seconds: float) -> Moment:
    """So long after the last stage was proved."""

    def wait(process: Process, place: Place) -> bool:
        return process.wait_until(lambda lines: phase(lines) == EVALUATION) and process.wait(seconds)

    return Moment(f"{seconds:.1f} s into the evaluation", wait)


def in_stage(stage: str, epochs: int = 0) -> Moment:
    """When the stage trains, and has done so many epochs; seconds would say little of a slow machine."""
    return Moment(f"{stage}, after {epochs} epochs", lambda process, place: _trained(process, stage, epochs))


def in_write(stage: str, epochs: int, into: float) -> Moment:
    """In the first checkpoint's write that begins after so many epochs of the stage; `into` it, in seconds."""

    def wait(process: Process, place: Place) -> bool:
        if not _trained(process, stage, epochs):
            return False
        while process.running and phase(process.lines) in (HEAD, THAW):
            if writing(place):
                time.sleep(into)
                return True
            time.sleep(0.0005)
        return process.running

    return Moment(f"in a checkpoint's write, {stage}, after {epochs} epochs", wait)


def _trained(process: Process, stage: str, epochs: int) -> bool:
    begun, done = f"{stage} ·", f"  {stage.removeprefix('stage ')} epoch "

    def seen(lines: list[str]) -> bool:
        own = lines[next((i for i, line in enumerate(lines) if line.startswith(begun)), len(lines)) :]
        trains = any(line.startswith("  training ") for line in own)
        return trains and sum(line.startswith(done) for line in own) >= epochs

    return process.wait_until(seen)


def writing(place: Place) -> bool:
    """Whether a checkpoint is half written."""
    return bool(place.runs()) and any(place.run.glob("checkpoints/*.tmp"))
