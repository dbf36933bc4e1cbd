"""The worker processes of a sweep, found in Linux's /proc."""

from pathlib import Path


def workers_of(process: int) -> list[int]:
    """Return the numbers of a sweep's worker processes."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            command = stat.with_name("cmdline").read_bytes()
        except (OSError, ValueError):
            continue
        if parent == process and b"sweep_worker" in command:
            found.append(int(stat.parent.name))
    return found
