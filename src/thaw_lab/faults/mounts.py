"""Small disks and read-only folders, for as long as a block runs. Both are mounts, and so need root and Linux."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from thaw_lab.faults.trial import TrialSkipped


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """Put an empty disk of so many MiB at `folder`. Raises Skipped where nothing can be mounted."""
    folder.mkdir()
    _mount("-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        _unmount(folder)


@contextmanager
def read_only_folder(folder: Path) -> Iterator[None]:
    """Let nobody write below `folder`. Raises Skipped for root where nothing can be mounted."""
    if os.geteuid():  # permissions hold for everybody but root
        mode = folder.stat().st_mode
        folder.chmod(0o555)
        try:
            yield
        finally:
            folder.chmod(mode)
        return
    _mount("--bind", str(folder), str(folder))
    try:
        _mount("-o", "remount,bind,ro", str(folder))
        yield
    finally:
        _unmount(folder)


def fill_disk(disk: Path, free_bytes: int) -> Path:
    """Fill a disk up to so many bytes with one file, and return it."""
    file = disk / "ballast"
    with file.open("wb") as ballast:
        os.posix_fallocate(ballast.fileno(), 0, max(1, shutil.disk_usage(disk).free - free_bytes))
    return file


def _mount(*arguments: str) -> None:
    if not sys.platform.startswith("linux") or os.geteuid():
        raise TrialSkipped("mounting a small disk needs Linux and root")
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise TrialSkipped(f"mounting is not allowed here: {done.stderr.strip()}")


def _unmount(folder: Path) -> None:
    """Lazily: a process that is just ending may hold it a moment longer."""
    subprocess.run(["umount", "--lazy", str(folder)], capture_output=True, check=True)
