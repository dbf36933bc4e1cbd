"""The training to which nothing happens: what all others are compared with."""

from functools import partial

from thaw_lab.faults import snapshots
from thaw_lab.faults.trial import Trial, TrialFunction
from thaw_lab.faults.triggers import EVALUATION, training_phase
from thaw_lab.faults.workspace import BaselineRun, Workspace

BASELINE_FAULT = "none"


def baseline_trials(yard: Workspace) -> list[TrialFunction]:
    """Twice: the same command gives the same weights, or nothing else can be told."""
    return [partial(baseline_trial, yard, number) for number in (1, 2)]


def baseline_trial(yard: Workspace, number: int) -> Trial:
    """Train to the end; the first that does is the reference."""
    place = yard.new_trial_dir(f"reference-{number}")
    ended = place.wait_for_exit(place.start_training())
    if ended.exit_code:
        return place.finish(BASELINE_FAULT, "", [f"exit code {ended.exit_code}: {ended.stderr.strip()}"])
    own = snapshots.read_snapshot(place.run_dir, place.outputs)
    judging = next(i for i in range(len(ended.lines)) if training_phase(ended.lines[: i + 1]) == EVALUATION)
    seconds = ended.times[-1]
    yard.baselines.append(BaselineRun(own, seconds, seconds - ended.times[judging]))
    return place.finish(
        BASELINE_FAULT, "identical", snapshots.differences(own, yard.baselines[0].snapshot), seconds=seconds
    )
