"""kill -9 at random moments, some of them aimed, and again while the run goes on."""

import signal
from dataclasses import replace
from functools import partial

import numpy as np

from thaw_lab.faults.trial import Trial, TrialFunction
from thaw_lab.faults.triggers import (
    HEAD,
    PHASES,
    THAW,
    WRITE,
    Trigger,
    during_checkpoint_write,
    during_evaluation,
    is_writing_checkpoint,
    seconds_after_start,
    training_phase,
)
from thaw_lab.faults.workspace import TrialDir, Workspace, asks_to_start_anew
from thaw_lab.process import CompletedCommand, Process

KILL_FAULT = "kill -9"
WRITE_EVERY, EVALUATION_EVERY = 6, 10  # one in so many is aimed at a checkpoint's write; at evaluation
TWICE_EVERY = 4  # one in so many resumed runs is killed as well
MAX_EPOCHS = 5  # writes are aimed at after up to so many, less one, of a stage
MAX_ATTEMPTS = 5  # a moment is drawn anew when the training ended before it


def kill_trial(yard: Workspace, number: int) -> Trial:
    """Draw moments until the first one comes before the training's end, and see what became of it."""
    for attempt in range(MAX_ATTEMPTS):
        made = kill_and_resume(
            yard.new_trial_dir(f"kill-{number}-{attempt}"),
            plan_triggers(yard, number, attempt),
            by_run_dir=bool(number % 2),
        )
        if made is not None:
            return made
    return Trial(KILL_FAULT, "", [f"not killed: the training ended before the moment, {MAX_ATTEMPTS} times"])


def kill_and_resume(place: TrialDir, triggers: list[Trigger], *, by_run_dir: bool) -> Trial | None:
    """Start, kill at each moment in turn, resuming in between; then resume to the end, and compare.

    None when the training had ended before it was killed.
    """
    fell, over = list[str](), False
    for moment in (*triggers, None):
        ended = _struck(place, place.start_resume(by_run_dir=by_run_dir) if fell else place.start_training(), moment)
        if asks_to_start_anew(ended):
            ended = _struck(place, place.start_training(), moment)
        if ended.exit_code != -signal.SIGKILL:
            break
        fell.append(WRITE if is_writing_checkpoint(place) else training_phase(ended.lines))
        over = bool(place.run_dirs()) and place.status == "FINISHED"
        if over:  # killed while it was leaving: there is nothing to resume
            break
    if not fell:
        return None
    wrong = place.differences() if over else place.compare(ended)
    trial = place.finish(
        f"{KILL_FAULT}: {fell[0]}", "identical", wrong, moments=[m.description for m in triggers], fell=fell
    )
    return replace(trial, rank=PHASES.index(fell[0]))


def _struck(place: TrialDir, process: Process, moment: Trigger | None) -> CompletedCommand:
    if moment and moment.wait(process, place):
        process.send_signal(signal.SIGKILL)
    return place.wait_for_exit(process)


def plan_triggers(yard: Workspace, number: int, attempt: int) -> list[Trigger]:
    """The moments of a trial, known from the seed, its number and the attempt."""
    rng = np.random.default_rng((yard.config.seed, number, attempt))
    reference = yard.baselines[0]
    left = 1 - attempt / MAX_ATTEMPTS  # it is faster than the reference was: draw from an earlier part
    if number % WRITE_EVERY == 0:
        stage = HEAD if number // WRITE_EVERY % 4 == 3 else THAW  # a head is written in a moment, and so often missed
        first = during_checkpoint_write(
            stage, int(rng.integers(MAX_EPOCHS)), 0 if stage == HEAD else rng.uniform(0, 0.01)
        )
    elif number % EVALUATION_EVERY == 1:
        first = during_evaluation(rng.uniform(0, left * reference.evaluation_seconds))
    else:
        first = seconds_after_start(rng.uniform(0, left * reference.seconds))
    return [first, seconds_after_start(rng.uniform(0, reference.seconds))] if number % TWICE_EVERY == 2 else [first]


def kill_trials(yard: Workspace) -> list[TrialFunction]:
    """As many as `kills` says."""
    return [partial(kill_trial, yard, number) for number in range(yard.config.kills)]
