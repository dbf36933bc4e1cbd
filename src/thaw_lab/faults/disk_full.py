"""Disks that fill up: while a checkpoint is written, which ends the run, and while activations are, which does not."""

import signal
import time
from functools import partial

from thaw_lab.faults.mounts import fill, small_disk
from thaw_lab.faults.trial import Trial, Work
from thaw_lab.faults.triggers import THAW, in_extraction, in_stage, writing
from thaw_lab.faults.workspace import Place, Yard, unclear
from thaw_lab.process import Process

FAULT = "disk full"
SEEN = "one clear error, identical after room was made"
ELSEWHERE = "tracking.uri=sqlite:///store/mlflow.db"  # below the working directory, not on the small disk
NOT_KEPT = "what cannot be kept is computed in every epoch"
OUTPUTS, CACHE = 256, 8  # MiB of the disks


def trials(yard: Yard) -> list[Work]:
    """Outputs with the store elsewhere, and beside them; the cache."""
    return [partial(outputs, yard, elsewhere=True), partial(outputs, yard, elsewhere=False), partial(cache, yard)]


def outputs(yard: Yard, *, elsewhere: bool) -> Trial:
    """Half a checkpoint's room is left before the next one is written."""
    name = f"full-outputs{'-store-elsewhere' if elsewhere else ''}"
    place = yard.place(name, *([ELSEWHERE] if elsewhere else []), outputs="disk/outputs")
    with small_disk(place.folder / "disk", OUTPUTS) as disk:
        process = place.train()
        wrong = [] if in_stage(THAW, 2).wait(process, place) else ["it ended before"]
        _pause_between_writes(process, place)
        half = max((file.stat().st_size for file in place.run.glob("checkpoints/*.npz")), default=2) // 2
        ballast = fill(disk, half)
        process.signal(signal.SIGCONT)
        ended = place.end(process)
        wrong += unclear(ended)
        if writing(place):
            wrong.append("half a checkpoint was left")
        ballast.unlink()
        wrong += _marked(place) if elsewhere else []
        wrong += place.goes_on(by_folder=True)
    return place.judged(f"{FAULT}: a checkpoint", SEEN, wrong, error=ended.err)


def cache(yard: Yard) -> Trial:
    """16 kB are left when the activations of 320 images, of 5 kB each, are about to be computed.

    They are not kept then, and the run goes on.
    """
    place = yard.place("full-cache", "cache.dir=disk/cache")
    with small_disk(place.folder / "disk", CACHE) as disk:
        process = place.train()
        wrong = [] if in_extraction(0.1).wait(process, place) else ["it ended before"]
        fill(disk, 16_000)
        ended = place.end(process)
        wrong += place.compare(ended)
        if NOT_KEPT not in ended.out:
            wrong.append("it does not say that activations are not kept")
    return place.judged(f"{FAULT}: the cache", "it goes on without; identical", wrong, error=ended.err)


def _pause_between_writes(process: Process, place: Place) -> None:
    """Let the process stand still when no checkpoint is half written."""
    process.signal(signal.SIGSTOP)
    while process.running and writing(place):
        process.signal(signal.SIGCONT)
        time.sleep(0.005)
        process.signal(signal.SIGSTOP)


def _marked(place: Place) -> list[str]:
    """A run that failed says so in the store, and why."""
    status, reason = place.status, place.reason
    return [] if status == "FAILED" and reason else [f"the run is {status}, its reason {reason!r}"]
