"""Disks that fill up: while a checkpoint is written, which ends the run, and while activations are, which does not."""

import signal
import time
from functools import partial

from thaw_lab.faults.mounts import fill_disk, small_disk
from thaw_lab.faults.trial import Trial, TrialFunction
from thaw_lab.faults.triggers import THAW, during_extraction, during_stage, is_writing_checkpoint
from thaw_lab.faults.workspace import TrialDir, Workspace, error_problems
from thaw_lab.process import Process

FAULT = "disk full"
SEEN = "one clear error, identical after room was made"
ELSEWHERE = "tracking.uri=sqlite:///store/mlflow.db"  # below the working directory, not on the small disk
NOT_KEPT = "what cannot be kept is computed in every epoch"
OUTPUTS, CACHE = 256, 8  # MiB of the disks


def full_trials(yard: Workspace) -> list[TrialFunction]:
    """Outputs with the store elsewhere, and beside them; the cache."""
    return [
        partial(full_outputs, yard, elsewhere=True),
        partial(full_outputs, yard, elsewhere=False),
        partial(full_cache, yard),
    ]


def full_outputs(yard: Workspace, *, elsewhere: bool) -> Trial:
    """Half a checkpoint's room is left before the next one is written."""
    name = f"full-outputs{'-store-elsewhere' if elsewhere else ''}"
    place = yard.new_trial_dir(name, *([ELSEWHERE] if elsewhere else []), outputs="disk/outputs")
    with small_disk(place.folder / "disk", OUTPUTS) as disk:
        process = place.start_training()
        wrong = [] if during_stage(THAW, 2).wait(process, place) else ["it ended before"]
        _pause_between_writes(process, place)
        half = max((file.stat().st_size for file in place.run_dir.glob("checkpoints/*.npz")), default=2) // 2
        ballast = fill_disk(disk, half)
        process.send_signal(signal.SIGCONT)
        ended = place.wait_for_exit(process)
        wrong += error_problems(ended)
        if is_writing_checkpoint(place):
            wrong.append("half a checkpoint was left")
        ballast.unlink()
        wrong += _marked(place) if elsewhere else []
        wrong += place.resume_and_compare(by_run_dir=True)
    return place.finish(f"{FAULT}: a checkpoint", SEEN, wrong, error=ended.stderr)


def full_cache(yard: Workspace) -> Trial:
    """16 kB are left when the activations of 320 images, of 5 kB each, are about to be computed.

    They are not kept then, and the run goes on.
    """
    place = yard.new_trial_dir("full-cache", "cache.dir=disk/cache")
    with small_disk(place.folder / "disk", CACHE) as disk:
        process = place.start_training()
        wrong = [] if during_extraction(0.1).wait(process, place) else ["it ended before"]
        fill_disk(disk, 16_000)
        ended = place.wait_for_exit(process)
        wrong += place.compare(ended)
        if NOT_KEPT not in ended.stdout:
            wrong.append("it does not say that activations are not kept")
    return place.finish(f"{FAULT}: the cache", "it goes on without; identical", wrong, error=ended.stderr)


def _pause_between_writes(process: Process, place: TrialDir) -> None:
    """Let the process stand still when no checkpoint is half written."""
    process.send_signal(signal.SIGSTOP)
    while process.running and is_writing_checkpoint(place):
        process.send_signal(signal.SIGCONT)
        time.sleep(0.005)
        process.send_signal(signal.SIGSTOP)


def _marked(place: TrialDir) -> list[str]:
    """A run that failed says so in the store, and why."""
    status, reason = place.status, place.reason
    return [] if status == "FAILED" and reason else [f"the run is {status}, its reason {reason!r}"]
