"""The machine that was measured on, in the words of the fingerprint that every run has."""

import os
from pathlib import Path
from typing import Any

from thaw import tracking


def describe_machine(root: Path) -> dict[str, Any]:
    """Return processor, instruction sets, memory, system, versions, and the commit of the checkout at `root`."""
    fingerprint = tracking.collect_fingerprint(root)
    names = ("cpu", "cpus", "cpu_flags", "platform", "python", "packages", "settings", "commit", "dirty")
    more = {"memory_gb": memory_gb(), "amx": "amx_bf16" in fingerprint.cpu_flags}
    return {name: getattr(fingerprint, name) for name in names} | more


def memory_gb() -> float | None:
    """Return the memory in GB (1e9 bytes), None where the system does not say."""
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (AttributeError, OSError, ValueError):
        return None


def machine_caption(machine: dict[str, Any]) -> str:
    """Return one line: the hardware. What the targets are stated for, each part's note says."""
    bf16 = "AVX-512 bf16" if "avx512_bf16" in machine["cpu_flags"] else "no AVX-512 bf16"
    amx = "AMX" if machine["amx"] else f"no AMX ({bf16})"
    return f"{machine['cpus']} cores of {machine['cpu']}, {amx}, {machine['memory_gb']} GB."


def describe_commit(root: str) -> str:
    """Return the commit of a checkout, and whether it has changes."""
    fingerprint = tracking.collect_fingerprint(Path(root))
    return _commit_text(fingerprint.commit, fingerprint.dirty)


def version_line(machine: dict[str, Any]) -> str:
    """Return versions and commit in one line."""
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    commit = _commit_text(machine["commit"], machine["dirty"])
    return f"thaw {commit}, Python {machine['python']}, {packages}, {machine['platform']}."


def _commit_text(commit: str | None, dirty: bool) -> str:
    return f"{(commit or 'no commit')[:12]}{' with changes' if dirty else ''}"
