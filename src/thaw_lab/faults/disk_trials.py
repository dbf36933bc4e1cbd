"""Disks that are full, folders that are read-only, checkpoints that are corrupt; and the mounts that make them so."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from thaw_lab import sample_images
from thaw_lab.faults import triggers
from thaw_lab.faults.trial import Trial, TrialSkipped
from thaw_lab.faults.workspace import TrialDir, TrialFunction, Workspace, error_problems
from thaw_lab.process import Process

STORE_ELSEWHERE = "tracking.uri=sqlite:///store/mlflow.db"  # below the working directory, not on the small disk
NOT_KEPT = "what cannot be kept is computed in every epoch"
OUTPUTS_MIB, CACHE_MIB = 256, 8  # of the small disks
TRUNCATED, FLIPPED = "checkpoint cut off", "checkpoint with a byte changed"
FLIPS = 10
Corruption = Callable[[Path], None]


def full_outputs(workspace: Workspace, *, store_elsewhere: bool) -> Trial:
    """Fill the outputs' disk but for half a checkpoint: the run fails with one clear error, and resumes after."""
    name = f"full-outputs{'-store-elsewhere' if store_elsewhere else ''}"
    trial_dir = workspace.new_trial_dir(name, *([STORE_ELSEWHERE] if store_elsewhere else []), outputs="disk/outputs")
    with small_disk(trial_dir.folder / "disk", OUTPUTS_MIB) as disk:
        process, wrong = triggers.during_stage(triggers.THAW, 2).start_training(trial_dir)
        _pause_between_writes(process, trial_dir)
        half = max((file.stat().st_size for file in trial_dir.run_dir.glob("checkpoints/*.npz")), default=2) // 2
        ballast = fill_disk(disk, half)
        process.send_signal(signal.SIGCONT)
        ended = trial_dir.wait_for_exit(process)
        wrong += error_problems(ended)
        if triggers.is_writing_checkpoint(trial_dir):
            wrong.append("half a checkpoint was left")
        ballast.unlink()
        if store_elsewhere:
            status, reason = trial_dir.status_and_reason()
            wrong += [] if status == "FAILED" and reason else [f"the run is {status}, its reason {reason!r}"]
        wrong += trial_dir.resume_and_compare(by_run_dir=True)
    seen = "one clear error, identical after room was made"
    return trial_dir.finish("disk full: a checkpoint", seen, wrong, error=ended.stderr)


def _pause_between_writes(process: Process, trial_dir: TrialDir) -> None:
    """Stop the process while no checkpoint is half written."""
    process.send_signal(signal.SIGSTOP)
    while process.running and triggers.is_writing_checkpoint(trial_dir):
        process.send_signal(signal.SIGCONT)
        time.sleep(0.005)
        process.send_signal(signal.SIGSTOP)


def full_cache(workspace: Workspace) -> Trial:
    """Fill the cache's disk but for 16 kB before the activations of 320 images, 5 kB each, are computed.

    The run does not cache them, and continues.
    """
    trial_dir = workspace.new_trial_dir("full-cache", "cache.dir=disk/cache")
    with small_disk(trial_dir.folder / "disk", CACHE_MIB) as disk:
        process, wrong = triggers.during_extraction(0.1).start_training(trial_dir)
        fill_disk(disk, 16_000)
        ended = trial_dir.wait_for_exit(process)
        wrong += trial_dir.compare(ended)
        if NOT_KEPT not in ended.stdout:
            wrong.append("it does not say that activations are not kept")
    return trial_dir.finish("disk full: the cache", "it continues without; identical", wrong, error=ended.stderr)


def read_only_outputs(workspace: Workspace) -> Trial:
    """Train with outputs that cannot be written: one clear error at once."""
    trial_dir = workspace.new_trial_dir("read-only-outputs")
    trial_dir.outputs.mkdir()
    with read_only_folder(trial_dir.outputs):
        ended = trial_dir.train()
    return trial_dir.finish("read-only outputs", "one clear error", error_problems(ended), error=ended.stderr)


def read_only_cache(workspace: Workspace) -> Trial:
    """Train with an empty cache that cannot be written: one clear error; then the run resumes with one that can."""
    trial_dir = workspace.new_trial_dir("read-only-cache", "cache.dir=cache")
    (trial_dir.folder / "cache").mkdir()
    with read_only_folder(trial_dir.folder / "cache"):
        ended = trial_dir.train()
    wrong = error_problems(ended) + trial_dir.resume_and_compare()
    return trial_dir.finish("read-only cache", "one clear error, identical when writable", wrong, error=ended.stderr)


def read_only_filled_cache(workspace: Workspace) -> Trial:
    """Train with a cache that cannot be written and has all that the run needs: it works, or is refused clearly."""
    trial_dir = workspace.new_trial_dir("read-only-filled-cache", "cache.dir=cache")
    trial_dir.train()
    with read_only_folder(trial_dir.folder / "cache"):
        ended = trial_dir.train()
        wrong = error_problems(ended) if ended.exit_code else trial_dir.compare(ended)
    seen = "works, identical" if not ended.exit_code else "one clear error"
    return trial_dir.finish("read-only cache with all in it", seen, wrong, error=ended.stderr)


def read_only_dataset(workspace: Workspace) -> Trial:
    """Train on photos in a folder that cannot be written: it works, as they are only read."""
    trial_dir = workspace.new_trial_dir("read-only-data")
    folder = sample_images.photo_folder(trial_dir.folder, 40, with_test=False)
    with read_only_folder(folder):
        ended = trial_dir.train("dataset=image_folder", f"dataset.path={folder}", "dataset.limit_per_class=8")
    wrong = [f"exit code {ended.exit_code}: {ended.stderr.strip()}"] if ended.exit_code else []
    if not wrong and trial_dir.status_and_reason()[0] != "FINISHED":
        wrong.append(f"the run is {trial_dir.status_and_reason()[0]}")
    return trial_dir.finish("read-only data set", "works", wrong)


def corruption_trials(seed: int) -> list[TrialFunction]:
    """Return trials of the newest checkpoint: cut off at each tenth, or one bit changed; and of all checkpoints."""
    truncations = [partial(truncate, tenths=tenths) for tenths in range(10)]
    flips = [partial(flip_bit, seed=(seed, number)) for number in range(FLIPS)]
    return [
        *(partial(corrupt_newest, fault=TRUNCATED, name=f"torn-{i}", corrupt=c) for i, c in enumerate(truncations)),
        *(partial(corrupt_newest, fault=FLIPPED, name=f"flipped-{i}", corrupt=c) for i, c in enumerate(flips)),
        *(partial(corrupt_all, name=f"torn-all-{i}", corrupt=c) for i, c in enumerate((truncations[5], flips[0]))),
    ]


def truncate(file: Path, tenths: int) -> None:
    """Keep so many tenths of a file."""
    content = file.read_bytes()
    file.write_bytes(content[: len(content) * tenths // 10])


def flip_bit(file: Path, seed: tuple[int, int]) -> None:
    """Change one bit of one byte, anywhere in a file."""
    rng = np.random.default_rng(seed)
    content = bytearray(file.read_bytes())
    content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
    file.write_bytes(content)


def corrupt_newest(workspace: Workspace, *, fault: str, name: str, corrupt: Corruption) -> Trial:
    """Corrupt the newest checkpoint: the run names it and resumes from the one before.

    A changed bit may go unnoticed where it means nothing, as in a ZIP file's dates.
    """
    trial_dir, files = _killed_training(workspace, name)
    if len(files) < 2:
        return trial_dir.finish(fault, "", [f"{len(files)} checkpoints to damage, not two or more"])
    corrupt(files[-1])
    ended = trial_dir.wait_for_exit(trial_dir.start_resume())
    is_named = files[-1].name in ended.stdout
    resumed = files[-2] if is_named else files[-1]
    wrong = trial_dir.compare(ended)
    match = re.fullmatch(r"stage\d+-epoch(\d+)-step(\d+)\.npz", resumed.name)
    if not match or f"after {int(match[1])} of 8 epochs and {int(match[2])} steps" not in ended.stdout:
        wrong.append(f"does not resume from {resumed.name}")
    if not is_named and fault == TRUNCATED:
        wrong.append("the damaged one is not named")
    seen = "named, the one before taken, identical" if is_named else "a byte that says nothing, identical"
    return trial_dir.finish(fault, seen, wrong)


def corrupt_all(workspace: Workspace, *, name: str, corrupt: Corruption) -> Trial:
    """Corrupt all checkpoints: the run names each and begins again."""
    trial_dir, files = _killed_training(workspace, name)
    for file in files:
        corrupt(file)
    ended = trial_dir.wait_for_exit(trial_dir.start_resume())
    wrong = [f"{file.name} is not named" for file in files if file.name not in ended.stdout]
    wrong += trial_dir.compare(ended)
    return trial_dir.finish("all checkpoints damaged", "named, begun again, identical", wrong)


def _killed_training(workspace: Workspace, name: str) -> tuple[TrialDir, list[Path]]:
    """Return a training that was killed in its second stage, and its checkpoints, the oldest first."""
    trial_dir = workspace.new_trial_dir(name)
    process, _ = triggers.during_stage(triggers.THAW, 3).start_training(trial_dir)
    process.send_signal(signal.SIGKILL)
    trial_dir.wait_for_exit(process)
    return trial_dir, sorted(trial_dir.run_dir.glob("checkpoints/*.npz"), key=lambda file: file.stat().st_mtime_ns)


@contextmanager
def small_disk(folder: Path, mib: int) -> Iterator[Path]:
    """Mount an empty disk of so many MiB at `folder`. Raises TrialSkipped where nothing can be mounted."""
    folder.mkdir()
    with _mounted(folder, ["-t", "tmpfs", "-o", f"size={mib}m", "tmpfs"]):
        yield folder


@contextmanager
def read_only_folder(folder: Path) -> Iterator[None]:
    """Let nobody write below `folder`. Raises TrialSkipped for root where nothing can be mounted."""
    if os.geteuid():  # permissions hold for everybody but root
        mode = folder.stat().st_mode
        folder.chmod(0o555)
        try:
            yield
        finally:
            folder.chmod(mode)
    else:
        with _mounted(folder, ["--bind", str(folder)], ["-o", "remount,bind,ro"]):
            yield


def fill_disk(disk: Path, free_bytes: int) -> Path:
    """Fill a disk but for so many bytes with one file, and return the file."""
    file = disk / "ballast"
    with file.open("wb") as ballast:
        os.posix_fallocate(ballast.fileno(), 0, max(1, shutil.disk_usage(disk).free - free_bytes))
    return file


@contextmanager
def _mounted(folder: Path, *mounts: Sequence[str]) -> Iterator[None]:
    """Call mount with these arguments and the folder in turn, and unmount it at the end."""
    if not sys.platform.startswith("linux") or os.geteuid():
        raise TrialSkipped("mounting a small disk needs Linux and root")
    with ExitStack() as stack:
        for i, arguments in enumerate(mounts):
            done = subprocess.run(["mount", *arguments, str(folder)], capture_output=True, text=True)
            if done.returncode:
                raise TrialSkipped(f"mounting is not allowed here: {done.stderr.strip()}")
            if i == 0:  # lazily: a process that is just ending may hold the folder a moment longer
                stack.callback(subprocess.run, ["umount", "--lazy", str(folder)], capture_output=True, check=True)
        yield
