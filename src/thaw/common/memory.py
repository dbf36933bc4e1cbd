"""Memory of this process: what it has used at most, and what it may use."""

import resource
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

_CGROUP = Path("/sys/fs/cgroup")
_WATCH_SECONDS = 0.05  # in which two cores fill about 0.1 GB


def peak_bytes() -> int:
    """Return the most memory that this process has had resident since it began, in bytes."""
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes if sys.platform == "darwin" else kilobytes * 1024  # macOS counts bytes


def available_bytes(cgroup: Path = _CGROUP) -> int:
    """Return what this process may have in all: what it has, and what is free on the machine and in its container.

    Args:
        cgroup: the container's control group, version 2; where there is none, the machine counts alone.
    """
    free = psutil.virtual_memory().available
    limit = _number(cgroup / "memory.max")
    used = _number(cgroup / "memory.current")
    if limit is not None and used is not None:
        free = min(free, limit - used + _reclaimable(cgroup))
    return psutil.Process().memory_info().rss + max(0, free)


@contextmanager
def watched(share: float, exhausted: Callable[[], None]) -> Iterator[None]:
    """Watch, in the block, that this process leaves memory free, and call `exhausted` once if it does not.

    A computation that takes too much cannot be interrupted, and the kernel kills the process for it: `exhausted`, which
    runs in another thread, says what is known by then and ends the process.

    Args:
        share: of `available_bytes` that the process may have.
        exhausted: called as soon as it has more.
    """
    process, done = psutil.Process(), threading.Event()

    def watch() -> None:
        while not done.wait(_WATCH_SECONDS):
            if process.memory_info().rss > share * available_bytes():
                exhausted()
                return

    thread = threading.Thread(target=watch, name="memory", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _number(file: Path) -> int | None:
    """Return the number in a file; None without the file, or where it says `max`."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def _reclaimable(cgroup: Path) -> int:
    """Return the bytes of files that a container's memory holds and gives back when it is needed."""
    try:
        lines = (cgroup / "memory.stat").read_text().splitlines()
    except OSError:
        return 0
    stat = dict(line.split() for line in lines)
    return int(stat.get("inactive_file", 0))
