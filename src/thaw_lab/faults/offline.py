"""No network, and something to download."""

from functools import partial

from thaw_lab.faults.trial import Trial, TrialFunction
from thaw_lab.faults.workspace import Workspace, error_problems

FAULT = "no network"
COMMANDS = {"weights": ("backbone=inceptionv3", "dataset=digits"), "data": ("dataset=cifar10",)}


def offline_trials(yard: Workspace) -> list[TrialFunction]:
    """Weights that must be downloaded, and a data set."""
    return [partial(offline_download, yard, what) for what in COMMANDS]


def offline_download(yard: Workspace, what: str) -> Trial:
    """Said in one line."""
    place = yard.new_trial_dir(f"offline-{what}")
    ended = place.wait_for_exit(place.start_command("train.py", *COMMANDS[what]))
    return place.finish(FAULT, "one clear error", error_problems(ended), error=ended.stderr)
