"""Eight processes that start at once, on a store and a cache that do not exist yet."""

from dataclasses import replace
from functools import partial

from thaw_lab.faults import snapshots
from thaw_lab.faults.trial import Trial, Work
from thaw_lab.faults.workspace import Yard

FAULT, COUNT = "8 processes, one empty store", 8


def trials(yard: Yard) -> list[Work]:
    """All eight are one trial: they need each other."""
    return [partial(trial, yard)]


def trial(yard: Yard) -> Trial:
    """Each is compared with the reference: same command, same weights."""
    place = yard.place("together")
    processes = [place.train() for _ in range(COUNT)]
    ends = [place.end(process) for process in processes]
    wrong = [f"exit code {ended.code}: {ended.err.strip()}" for ended in ends if ended.code]
    if len(place.runs()) != COUNT:
        wrong.append(f"{len(place.runs())} runs, not {COUNT}")
    for folder in place.runs() if not wrong else []:
        found = snapshots.differences(snapshots.read(folder, place.outputs), yard.references[0].left)
        wrong += [f"{folder.name}: {line}" for line in found]
    return replace(place.judged(FAULT, "all FINISHED with all metrics, identical", wrong), count=COUNT)
