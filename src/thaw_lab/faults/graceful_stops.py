"""SIGTERM and Ctrl-C, once and twice, wherever a run may be."""

import signal
from functools import partial

from thaw_lab.faults.trial import Trial, TrialFunction
from thaw_lab.faults.triggers import (
    HEAD,
    THAW,
    Trigger,
    during_evaluation,
    during_extraction,
    during_scan,
    during_stage,
    seconds_after_start,
)
from thaw_lab.faults.workspace import Workspace

TERM, CTRL_C = ("SIGTERM", signal.SIGTERM, 143), ("Ctrl-C", signal.SIGINT, 130)
StopSignal = tuple[str, int, int]  # its name, the signal, the exit code
SECONDS_BETWEEN_SIGNALS = 0.3  # seconds between two Ctrl-C


def stop_trials(yard: Workspace) -> list[TrialFunction]:
    """Both in each stage; Ctrl-C wherever else a run takes its time; two of them."""
    training = [during_stage(HEAD), during_stage(THAW, 2)]
    elsewhere = [seconds_after_start(0.0), during_scan(), during_extraction(0.5), during_evaluation(0.5)]
    return [
        *(partial(stop_trial, yard, stop, moment) for stop in (TERM, CTRL_C) for moment in training),
        *(partial(stop_trial, yard, CTRL_C, moment) for moment in elsewhere),
        *(partial(stop_trial, yard, CTRL_C, moment, twice=True) for moment in training),
    ]


def stop_trial(yard: Workspace, stop: StopSignal, moment: Trigger, *, twice: bool = False) -> Trial:
    """Stop a run, look at what it says and how it is marked, and go on with it."""
    name, number, code = stop
    fault = f"{name}{' twice' if twice else ''}"
    place = yard.new_trial_dir(f"{fault} {moment.description}")
    process = place.start_training()
    wrong = [] if moment.wait(process, place) else ["it ended before"]
    process.send_signal(number)
    if twice:
        process.runs_for(SECONDS_BETWEEN_SIGNALS)
        process.send_signal(number)
    ended = place.wait_for_exit(process)
    if ended.shell_exit_code != code:
        wrong.append(f"{moment.description}: exit code {ended.shell_exit_code} instead of {code}")
    if "Traceback" in ended.stderr:
        wrong.append(f"{moment.description}: a traceback: {ended.stderr.strip().splitlines()[-1]}")
    if "resume=" not in ended.stdout + ended.stderr and not twice:
        wrong.append(f"{moment.description}: it does not say how to go on")
    status = place.status
    if status != "KILLED" and not (twice and status == "RUNNING"):  # the second one stops at once
        wrong.append(f"{moment.description}: the run is {status}")
    wrong += place.resume_and_compare()
    return place.finish(fault, f"exit code {code}, {status}, identical after resume", wrong, moment=moment.description)
