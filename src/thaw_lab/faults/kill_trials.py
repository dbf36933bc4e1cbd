"""kill -9 at random and at chosen moments, and again after resuming; SIGTERM; Ctrl-C, once and twice."""

import signal
from dataclasses import replace

import numpy as np

from thaw_lab.faults import triggers
from thaw_lab.faults.trial import Trial
from thaw_lab.faults.triggers import Trigger
from thaw_lab.faults.workspace import TrialDir, Workspace, asks_to_start_anew
from thaw_lab.process import CompletedCommand, Process

KILL_FAULT = "kill -9"
WRITE_EVERY, EVALUATION_EVERY = 6, 10  # one trial in so many is aimed at a checkpoint's write; at evaluation
TWICE_EVERY = 4  # one resumed run in so many is killed as well
MAX_EPOCHS = 5  # writes are aimed at after up to so many epochs of a stage, less one
MAX_ATTEMPTS = 5  # a moment is drawn again when the training ended before it

StopSignal = tuple[str, int, int]  # name, signal, exit code
TERM: StopSignal = ("SIGTERM", signal.SIGTERM, 143)
CTRL_C: StopSignal = ("Ctrl-C", signal.SIGINT, 130)
SECONDS_BETWEEN_SIGNALS = 0.3


def kill_trial(workspace: Workspace, *, number: int) -> Trial:
    """Kill at random moments, drawn until the first one comes before the training's end."""
    for attempt in range(MAX_ATTEMPTS):
        planned = plan_triggers(workspace, number, attempt)
        trial_dir = workspace.new_trial_dir(f"kill-{number}-{attempt}")
        if trial := kill_and_resume(trial_dir, planned, by_run_dir=bool(number % 2)):
            return trial
    return Trial(KILL_FAULT, "", [f"not killed: the training ended before the moment, {MAX_ATTEMPTS} times"])


def plan_triggers(workspace: Workspace, number: int, attempt: int) -> list[Trigger]:
    """Return the moments of a trial, which depend on the seed, its number and the attempt alone."""
    rng = np.random.default_rng((workspace.config.seed, number, attempt))
    baseline = workspace.baselines[0]
    share = 1 - attempt / MAX_ATTEMPTS  # this training is faster than the baseline was: draw from an earlier part
    if number % WRITE_EVERY == 0:
        # A head is written in a moment, and so often missed.
        stage = triggers.HEAD if number // WRITE_EVERY % 4 == 3 else triggers.THAW
        epochs = int(rng.integers(MAX_EPOCHS))
        first = triggers.during_checkpoint_write(stage, epochs, 0 if stage == triggers.HEAD else rng.uniform(0, 0.01))
    elif number % EVALUATION_EVERY == 1:
        first = triggers.during_evaluation(rng.uniform(0, share * baseline.evaluation_seconds))
    else:
        first = triggers.seconds_after_start(rng.uniform(0, share * baseline.seconds))
    again = number % TWICE_EVERY == 2
    return [first, triggers.seconds_after_start(rng.uniform(0, baseline.seconds))] if again else [first]


def kill_and_resume(trial_dir: TrialDir, planned: list[Trigger], *, by_run_dir: bool) -> Trial | None:
    """Kill a training at each moment in turn and resume it in between; then resume it to its end, and compare.

    Returns:
        None when the training ended before it was killed.
    """
    phases, finished = list[str](), False  # in which it was killed
    for trigger in (*planned, None):
        process = trial_dir.start_resume(by_run_dir=by_run_dir) if phases else trial_dir.start_training()
        ended = _kill_at(trial_dir, process, trigger)
        if asks_to_start_anew(ended):
            ended = _kill_at(trial_dir, trial_dir.start_training(), trigger)
        if ended.exit_code != -signal.SIGKILL:
            break
        writing = triggers.is_writing_checkpoint(trial_dir)
        phases.append(triggers.WRITE if writing else triggers.training_phase(ended.lines))
        finished = bool(trial_dir.run_dirs()) and trial_dir.status_and_reason()[0] == "FINISHED"
        if finished:  # killed on its way out: there is nothing to resume
            break
    if not phases:
        return None
    wrong = trial_dir.differences() if finished else trial_dir.compare(ended)
    notes = {"moments": [trigger.description for trigger in planned], "fell": phases}
    trial = trial_dir.finish(f"{KILL_FAULT}: {phases[0]}", "identical", wrong, **notes)
    return replace(trial, rank=triggers.PHASES.index(phases[0]))


def _kill_at(trial_dir: TrialDir, process: Process, trigger: Trigger | None) -> CompletedCommand:
    if trigger and trigger.wait(process, trial_dir):
        process.send_signal(signal.SIGKILL)
    return trial_dir.wait_for_exit(process)


def stop_trial(workspace: Workspace, *, stop: StopSignal, trigger: Trigger, twice: bool = False) -> Trial:
    """Stop a training with a signal, check its exit code, output and status, and resume it."""
    name, number, exit_code = stop
    fault = f"{name}{' twice' if twice else ''}"
    trial_dir = workspace.new_trial_dir(f"{fault} {trigger.description}")
    process, wrong = trigger.start_training(trial_dir)
    process.send_signal(number)
    if twice:
        process.runs_for(SECONDS_BETWEEN_SIGNALS)
        process.send_signal(number)
    ended = trial_dir.wait_for_exit(process)
    problems = []
    if ended.shell_exit_code != exit_code:
        problems.append(f"exit code {ended.shell_exit_code} instead of {exit_code}")
    if "Traceback" in ended.stderr:
        problems.append(f"a traceback: {ended.stderr.strip().splitlines()[-1]}")
    if "resume=" not in ended.stdout + ended.stderr and not twice:
        problems.append("it does not say how to resume")
    status, _ = trial_dir.status_and_reason()
    if status != "KILLED" and not (twice and status == "RUNNING"):  # the second signal ends the process at once
        problems.append(f"the run is {status}")
    wrong += [f"{trigger.description}: {problem}" for problem in problems] + trial_dir.resume_and_compare()
    seen = f"exit code {exit_code}, {status}, identical after resume"
    return trial_dir.finish(fault, seen, wrong, moment=trigger.description)
