"""SIGTERM and Ctrl-C, once and twice, wherever a run may be."""

import signal
from functools import partial

from thaw_lab.faults.trial import Trial, Work
from thaw_lab.faults.triggers import HEAD, THAW, Moment, at, in_evaluation, in_extraction, in_scan, in_stage
from thaw_lab.faults.workspace import Yard

TERM, CTRL_C = ("SIGTERM", signal.SIGTERM, 143), ("Ctrl-C", signal.SIGINT, 130)
Stop = tuple[str, int, int]  # its name, the signal, the exit code
TWICE = 0.3  # seconds between two Ctrl-C


def trials(yard: Yard) -> list[Work]:
    """Both in each stage; Ctrl-C wherever else a run takes its time; two of them."""
    training = [in_stage(HEAD), in_stage(THAW, 2)]
    elsewhere = [at(0.0), in_scan(), in_extraction(0.5), in_evaluation(0.5)]
    return [
        *(partial(trial, yard, stop, moment) for stop in (TERM, CTRL_C) for moment in training),
        *(partial(trial, yard, CTRL_C, moment) for moment in elsewhere),
        *(partial(trial, yard, CTRL_C, moment, twice=True) for moment in training),
    ]


def trial(yard: Yard, stop: Stop, moment: Moment, *, twice: bool = False) -> Trial:
    """Stop a run, look at what it says and how it is marked, and go on with it."""
    name, number, code = stop
    fault = f"{name}{' twice' if twice else ''}"
    place = yard.place(f"{fault} {moment.what}")
    process = place.train()
    wrong = [] if moment.wait(process, place) else ["it ended before"]
    process.signal(number)
    if twice:
        process.wait(TWICE)
        process.signal(number)
    ended = place.end(process)
    if ended.shell_code != code:
        wrong.append(f"{moment.what}: exit code {ended.shell_code} instead of {code}")
    if "Traceback" in ended.err:
        wrong.append(f"{moment.what}: a traceback: {ended.err.strip().splitlines()[-1]}")
    if "resume=" not in ended.out + ended.err and not twice:
        wrong.append(f"{moment.what}: it does not say how to go on")
    status = place.status
    if status != "KILLED" and not (twice and status == "RUNNING"):  # the second one stops at once
        wrong.append(f"{moment.what}: the run is {status}")
    wrong += place.goes_on()
    return place.judged(fault, f"exit code {code}, {status}, identical after resume", wrong, moment=moment.what)
