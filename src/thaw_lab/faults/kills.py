"""kill -9 at random moments, some of them aimed, and again while the run goes on."""

import signal
from dataclasses import replace
from functools import partial

import numpy as np

from thaw_lab.faults.trial import Trial, Work
from thaw_lab.faults.triggers import HEAD, PHASES, THAW, WRITE, Moment, at, in_evaluation, in_write, phase, writing
from thaw_lab.faults.workspace import Place, Yard, anew
from thaw_lab.process import Ended, Process

FAULT = "kill -9"
WRITES, EVALUATIONS = 6, 10  # one in so many is aimed at a checkpoint's write; at evaluation
AGAIN = 4  # one in so many resumed runs is killed as well
EPOCHS = 5  # writes are aimed at after up to so many, less one, of a stage
TRIES = 5  # a moment is drawn anew when the training ended before it


def trial(yard: Yard, number: int) -> Trial:
    """Draw moments until the first one comes before the training's end, and see what became of it."""
    for attempt in range(TRIES):
        made = kill(yard.place(f"kill-{number}-{attempt}"), plan(yard, number, attempt), by_folder=bool(number % 2))
        if made is not None:
            return made
    return Trial(FAULT, "", [f"not killed: the training ended before the moment, {TRIES} times"])


def kill(place: Place, moments: list[Moment], *, by_folder: bool) -> Trial | None:
    """Start, kill at each moment in turn, resuming in between; then resume to the end, and compare.

    None when the training had ended before it was killed.
    """
    fell, over = list[str](), False
    for moment in (*moments, None):
        ended = _struck(place, place.resume(by_folder=by_folder) if fell else place.train(), moment)
        if anew(ended):
            ended = _struck(place, place.train(), moment)
        if ended.code != -signal.SIGKILL:
            break
        fell.append(WRITE if writing(place) else phase(ended.lines))
        over = bool(place.runs()) and place.status == "FINISHED"
        if over:  # killed while it was leaving: there is nothing to resume
            break
    if not fell:
        return None
    wrong = place.differences() if over else place.compare(ended)
    trial = place.judged(f"{FAULT}: {fell[0]}", "identical", wrong, moments=[m.what for m in moments], fell=fell)
    return replace(trial, rank=PHASES.index(fell[0]))


def _struck(place: Place, process: Process, moment: Moment | None) -> Ended:
    if moment and moment.wait(process, place):
        process.signal(signal.SIGKILL)
    return place.end(process)


def plan(yard: Yard, number: int, attempt: int) -> list[Moment]:
    """The moments of a trial, known from the seed, its number and the attempt."""
    rng = np.random.default_rng((yard.config.seed, number, attempt))
    reference = yard.references[0]
    left = 1 - attempt / TRIES  # it is faster than the reference was: draw from an earlier part
    if number % WRITES == 0:
        stage = HEAD if number // WRITES % 4 == 3 else THAW  # a head is written in a moment, and so often missed
        first = in_write(stage, int(rng.integers(EPOCHS)), 0 if stage == HEAD else rng.uniform(0, 0.01))
    elif number % EVALUATIONS == 1:
        first = in_evaluation(rng.uniform(0, left * reference.evaluation))
    else:
        first = at(rng.uniform(0, left * reference.seconds))
    return [first, at(rng.uniform(0, reference.seconds))] if number % AGAIN == 2 else [first]


def trials(yard: Yard) -> list[Work]:
    """As many as `kills` says."""
    return [partial(trial, yard, number) for number in range(yard.config.kills)]
