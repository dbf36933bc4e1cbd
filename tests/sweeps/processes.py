"""Small jobs of a sweep, and its worker processes, found in Linux's /proc."""

from pathlib import Path

SMALL_JOBS = (
    "dataset=digits", "dataset.limit_per_class=5", "backbone=mobilenet", "backbone.alpha=0.25",
    "backbone.weights=none", "backbone.image_size=32", "recipe=bottleneck", "bottleneck.epochs=1", "report=none",
    "tracking.complete=none",
)  # fmt: skip


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
