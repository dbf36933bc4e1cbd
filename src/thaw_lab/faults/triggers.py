"""The phase that a training is in, read from its output, and the moments at which faults are made."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from thaw_lab.faults.workspace import TrialDir
from thaw_lab.process import Process

BEFORE, HEAD, THAW = "before training", "stage head", "stage thaw"
WRITE, EVALUATION, RESULT = "a checkpoint's write", "evaluation", "after the result"
PHASES = (BEFORE, HEAD, THAW, WRITE, EVALUATION, RESULT)


def training_phase(lines: Sequence[str]) -> str:
    """Return the phase of a training that has printed these lines."""
    phase = BEFORE
    for line in lines:
        if line.startswith("stage head ·"):
            phase = HEAD
        elif line.startswith("stage thaw ·"):
            phase = THAW
        elif line.startswith("  proved:") and phase == THAW:
            phase = EVALUATION
        elif line.startswith("result "):
            phase = RESULT
    return phase


def has_trained(lines: Sequence[str], stage: str, epochs: int) -> bool:
    """Return whether a training that has printed these lines is past so many epochs of a stage."""
    begin = next((i for i, line in enumerate(lines) if line.startswith(f"{stage} ·")), len(lines))
    trains = any(line.startswith("  training ") for line in lines[begin:])
    epoch = f"  {stage.removeprefix('stage ')} epoch "
    return trains and sum(line.startswith(epoch) for line in lines[begin:]) >= epochs


def is_writing_checkpoint(trial_dir: TrialDir) -> bool:
    """Return whether a checkpoint is half written."""
    return bool(trial_dir.run_dirs()) and any(trial_dir.run_dir.glob("checkpoints/*.tmp"))


@dataclass(frozen=True)
class Trigger:
    """A moment in a training: so many seconds after a condition on its lines and its folder holds."""

    description: str
    condition: Callable[[Sequence[str], TrialDir], bool]
    seconds: float = 0.0

    def wait(self, process: Process, trial_dir: TrialDir) -> bool:
        """Wait for the moment; return False when the training ended first."""
        return process.wait_until(lambda: self.condition(process.lines, trial_dir)) and process.runs_for(self.seconds)

    def start_training(self, trial_dir: TrialDir) -> tuple[Process, list[str]]:
        """Start the training and wait for the moment; return the process, and as a problem that it ended first."""
        process = trial_dir.start_training()
        return process, [] if self.wait(process, trial_dir) else ["it ended before"]


def seconds_after_start(seconds: float) -> Trigger:
    """Return the moment so many seconds after the first line of output."""
    return Trigger(f"{seconds:.1f} s after its first line", lambda lines, _: bool(lines), seconds)


def during_scan() -> Trigger:
    """Return the moment 0.1 s after the store has the run's command: the data set is read next."""
    command = "artifacts/*/artifacts/overrides.txt"
    return Trigger("in the scan", lambda _, trial_dir: any(trial_dir.outputs.glob(command)), 0.1)


def during_extraction(seconds: float) -> Trigger:
    """Return the moment so many seconds after the first stage began to compute activations, which takes two."""
    return Trigger(f"{seconds:.1f} s into the extraction", lambda lines, _: training_phase(lines) == HEAD, seconds)


def during_evaluation(seconds: float) -> Trigger:
    """Return the moment so many seconds after the last stage was proved."""
    return Trigger(
        f"{seconds:.1f} s into the evaluation", lambda lines, _: training_phase(lines) == EVALUATION, seconds
    )


def during_stage(stage: str, epochs: int = 0) -> Trigger:
    """Return the moment when a stage trains and has done so many epochs, on slow machines too."""
    return Trigger(f"{stage}, after {epochs} epochs", lambda lines, _: has_trained(lines, stage, epochs))


def during_checkpoint_write(stage: str, epochs: int, seconds: float) -> Trigger:
    """Return the moment so many seconds into the first checkpoint's write after so many epochs of a stage.

    Where no more is written, it is the end of the stages.
    """

    def condition(lines: Sequence[str], trial_dir: TrialDir) -> bool:
        if not has_trained(lines, stage, epochs):
            return False
        return is_writing_checkpoint(trial_dir) or training_phase(lines) not in (HEAD, THAW)

    return Trigger(f"in a checkpoint's write, {stage}, after {epochs} epochs", condition, seconds)
