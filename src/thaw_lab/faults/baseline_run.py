"""The training to which nothing happens: what all others are compared with."""

from functools import partial

from thaw_lab.faults import snapshots
from thaw_lab.faults.trial import Trial, Work
from thaw_lab.faults.triggers import EVALUATION, phase
from thaw_lab.faults.workspace import Reference, Yard

FAULT = "none"


def trials(yard: Yard) -> list[Work]:
    """Twice: the same command gives the same weights, or nothing else can be told."""
    return [partial(trial, yard, number) for number in (1, 2)]


def trial(yard: Yard, number: int) -> Trial:
    """Train to the end; the first that does is the reference."""
    place = yard.place(f"reference-{number}")
    ended = place.end(place.train())
    if ended.code:
        return place.judged(FAULT, "", [f"exit code {ended.code}: {ended.err.strip()}"])
    own = snapshots.read(place.run, place.outputs)
    judging = next(i for i in range(len(ended.lines)) if phase(ended.lines[: i + 1]) == EVALUATION)
    seconds = ended.times[-1]
    yard.references.append(Reference(own, seconds, seconds - ended.times[judging]))
    return place.judged(FAULT, "identical", snapshots.differences(own, yard.references[0].left), seconds=seconds)
