"""Checkpoints cut off at each tenth of their length, or with one byte that changed."""

import re
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from thaw_lab.faults.trial import Trial, TrialFunction
from thaw_lab.faults.triggers import THAW, during_stage
from thaw_lab.faults.workspace import TrialDir, Workspace

CUT, FLIPPED, ALL = "checkpoint cut off", "checkpoint with a byte changed", "all checkpoints damaged"
FLIPS = 10
Corruption = Callable[[Path], None]


def corruption_trials(yard: Workspace) -> list[TrialFunction]:
    """The newest checkpoint, 20 times; all of them, once cut off and once changed."""
    cuts = [partial(truncate, tenths=tenths) for tenths in range(10)]
    flips = [partial(flip_bit, seed=(yard.config.seed, number)) for number in range(FLIPS)]
    return [
        *(partial(corrupt_newest, yard, CUT, f"torn-{i}", damage) for i, damage in enumerate(cuts)),
        *(partial(corrupt_newest, yard, FLIPPED, f"flipped-{i}", damage) for i, damage in enumerate(flips)),
        *(partial(corrupt_all, yard, f"torn-all-{i}", damage) for i, damage in enumerate((cuts[5], flips[0]))),
    ]


def truncate(file: Path, tenths: int) -> None:
    """Leave so many tenths of the file."""
    content = file.read_bytes()
    file.write_bytes(content[: len(content) * tenths // 10])


def flip_bit(file: Path, seed: tuple[int, int]) -> None:
    """Change one bit of one byte, anywhere."""
    rng = np.random.default_rng(seed)
    content = bytearray(file.read_bytes())
    content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
    file.write_bytes(content)


def corrupt_newest(yard: Workspace, fault: str, name: str, damage: Corruption) -> Trial:
    """The one before it is taken, and the damaged one is named; a byte that says nothing may go unseen."""
    place, files = _killed(yard, name)
    if len(files) < 2:
        return place.finish(fault, "", [f"{len(files)} checkpoints to damage, not two or more"])
    damage(files[-1])
    ended = place.wait_for_exit(place.start_resume())
    named = files[-1].name in ended.stdout
    taken = files[-2] if named else files[-1]
    wrong = place.compare(ended)
    if not _from(taken) or _from(taken) not in ended.stdout:
        wrong.append(f"does not go on from {taken.name}")
    if not named and fault == CUT:
        wrong.append("the damaged one is not named")
    seen = "named, the one before taken, identical" if named else "a byte that says nothing, identical"
    return place.finish(fault, seen, wrong)


def corrupt_all(yard: Workspace, name: str, damage: Corruption) -> Trial:
    """The run begins again, and each is named."""
    place, files = _killed(yard, name)
    for file in files:
        damage(file)
    ended = place.wait_for_exit(place.start_resume())
    wrong = [f"{file.name} is not named" for file in files if file.name not in ended.stdout]
    return place.finish(ALL, "named, begun again, identical", wrong + place.compare(ended))


def _killed(yard: Workspace, name: str) -> tuple[TrialDir, list[Path]]:
    """A training that was killed in its second stage, and its checkpoints, the oldest first."""
    place = yard.new_trial_dir(name)
    process = place.start_training()
    during_stage(THAW, 3).wait(process, place)
    process.send_signal(signal.SIGKILL)
    place.wait_for_exit(process)
    return place, sorted(place.run_dir.glob("checkpoints/*.npz"), key=lambda file: file.stat().st_mtime_ns)


def _from(file: Path) -> str:
    """What a run says that goes on from the checkpoint."""
    found = re.fullmatch(r"stage\d+-epoch(\d+)-step(\d+)\.npz", file.name)
    return f"after {int(found[1])} of 8 epochs and {int(found[2])} steps" if found else ""
