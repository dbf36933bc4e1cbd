"""Which process works on a job, and whether it still lives."""

import os
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class WorkerId:
    """A process, told from all that ever had its number.

    Attributes:
        host: name of the machine.
        kernel: what tells machines, their starts and their containers apart; empty where /proc does not say.
        pid: number of the process.
        started: when it started, in the kernel's ticks; empty where /proc does not say.
    """

    host: str
    kernel: str
    pid: int
    started: str

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, as JSON takes them."""
        return asdict(self)


def this_worker() -> WorkerId:
    """Return the id of this process."""
    return WorkerId(socket.gethostname(), _kernel(), os.getpid(), _started(os.getpid()))


def is_known_dead(worker: Mapping[str, Any]) -> bool:
    """Whether a process of this machine has ended. Of other machines this process knows nothing: False."""
    if not worker.get("kernel") or worker.get("kernel") != _kernel():
        return False
    return _started(int(worker["pid"])) != worker.get("started")


def is_known_alive(worker: Mapping[str, Any]) -> bool:
    """Whether a process of this machine lives. Of other machines this process knows nothing: False."""
    same = worker.get("kernel") and worker.get("kernel") == _kernel()
    return bool(same) and _started(int(worker["pid"])) == worker.get("started")


@cache
def _kernel() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return ""


def _started(pid: int) -> str:
    """Return the start time in /proc; empty when there is no such process, or a dead one that nobody waited for."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()  # the name before it may hold spaces
    return "" if fields[0] in "ZX" else fields[19]
