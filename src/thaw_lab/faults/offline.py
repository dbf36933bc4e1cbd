"""No network, and something to download."""

from functools import partial

from thaw_lab.faults.trial import Trial, Work
from thaw_lab.faults.workspace import Yard, unclear

FAULT = "no network"
COMMANDS = {"weights": ("backbone=inceptionv3", "dataset=digits"), "data": ("dataset=cifar10",)}


def trials(yard: Yard) -> list[Work]:
    """Weights that must be downloaded, and a data set."""
    return [partial(trial, yard, what) for what in COMMANDS]


def trial(yard: Yard, what: str) -> Trial:
    """Said in one line."""
    place = yard.place(f"offline-{what}")
    ended = place.end(place.command("train.py", *COMMANDS[what]))
    return place.judged(FAULT, "one clear error", unclear(ended), error=ended.err)
