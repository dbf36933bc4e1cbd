"""Eight processes that start at once, on a store and a cache that do not exist yet."""

from dataclasses import replace
from functools import partial

from thaw_lab.faults import snapshots
from thaw_lab.faults.trial import Trial, TrialFunction
from thaw_lab.faults.workspace import Workspace

FAULT, COUNT = "8 processes, one empty store", 8


def concurrent_trials(yard: Workspace) -> list[TrialFunction]:
    """All eight are one trial: they need each other."""
    return [partial(concurrent_starts, yard)]


def concurrent_starts(yard: Workspace) -> Trial:
    """Each is compared with the reference: same command, same weights."""
    place = yard.new_trial_dir("together")
    processes = [place.start_training() for _ in range(COUNT)]
    ends = [place.wait_for_exit(process) for process in processes]
    wrong = [f"exit code {ended.exit_code}: {ended.stderr.strip()}" for ended in ends if ended.exit_code]
    if len(place.run_dirs()) != COUNT:
        wrong.append(f"{len(place.run_dirs())} runs, not {COUNT}")
    for folder in place.run_dirs() if not wrong else []:
        found = snapshots.differences(snapshots.read_snapshot(folder, place.outputs), yard.baselines[0].snapshot)
        wrong += [f"{folder.name}: {line}" for line in found]
    return replace(place.finish(FAULT, "all FINISHED with all metrics, identical", wrong), count=COUNT)
