"""Fingerprint of what a run's numbers depend on besides its config: code, versions, machine, data, weights, seed."""

import hashlib
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path

from thaw.common import environment, hardware
from thaw.config.stored_config import ConfigDifference

FINGERPRINT_PREFIX = "fingerprint."  # of the tags that hold a fingerprint's entries
# A run with this tag has its config and overrides in the store: they are logged before the fingerprint.
CONFIG_LOGGED_TAG = f"{FINGERPRINT_PREFIX}python"

_PACKAGES = (  # ml-dtypes rounds to bfloat16
    "tensorflow", "keras", "numpy", "pillow", "hydra-core", "omegaconf", "mlflow", "scikit-learn", "openvino",
    "ml-dtypes", "h5py", "scipy", "nncf",
)  # fmt: skip
_CPU_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")  # never changed: runs of all versions are compared by them
# The only environment variables that the first versions recorded.
_FIRST_VARIABLES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS",
    "TF_ENABLE_ONEDNN_OPTS", "ONEDNN_MAX_CPU_ISA", "TF_DETERMINISTIC_OPS", "XLA_FLAGS", "TF_XLA_FLAGS",
    "CUDA_VISIBLE_DEVICES",
)  # fmt: skip
_CODE = (".py", ".yaml")  # untracked files that are hashed, as they can change a run's numbers
# Entries that are logged after the run's beginning, or that earlier versions did not record.
_OPTIONAL = (
    "data_sha256", "weights_sha256", "graph_sha256", "cuts", "chain", "calibration_sha256", "device", "devices", "seed",
    "gpu", "env", "package.nncf",
)  # fmt: skip


@dataclass(frozen=True)
class Fingerprint:
    """Code, versions and machine that a run's numbers depend on; `collect_fingerprint` returns one without a seed.

    Benchmark results hold the fields by name.
    commit: None without git or outside a checkout. diff: `git diff HEAD`, then the names of untracked files, with the
    sha256 of those that are code or configuration. diff_sha256: of the code and configuration in the diff, None when
    the checkout is clean. packages: installed distributions and their versions. cpus: logical CPUs that this process
    may use. settings: the environment variables that are set and that numerical libraries read. gpus: NVIDIA GPUs of
    this machine with their driver; whether a run computes on one is the entry `device`, which the run adds.
    """

    commit: str | None
    dirty: bool
    diff: str = field(repr=False)
    python: str
    platform: str
    packages: dict[str, str]
    cpu: str
    cpus: int
    cpu_flags: tuple[str, ...]
    settings: dict[str, str]
    gpus: tuple[str, ...] = ()
    diff_sha256: str | None = None
    seed: int | None = None

    def entries(self) -> dict[str, str]:
        """Return all but the diff as entries: `git.commit`, `package.keras`, `cpu.model`, ...; None is left out."""
        entries: dict[str, object | None] = {
            "git.commit": self.commit,
            "git.dirty": self.dirty if self.commit else None,
            "git.diff_sha256": self.diff_sha256,
            "python": self.python,
            "platform": self.platform,
            **{f"package.{name}": installed for name, installed in self.packages.items()},
            "cpu.model": self.cpu,
            "cpu.count": self.cpus,
            "cpu.flags": " ".join(self.cpu_flags),
            "gpu": "; ".join(self.gpus) or "none",
            "env": "all",  # all variables are recorded, not only _FIRST_VARIABLES
            **{f"env.{name}": value for name, value in self.settings.items()},
            "seed": self.seed,
        }
        return {key: str(value) for key, value in entries.items() if value is not None}


def collect_fingerprint(root: Path | None) -> Fingerprint:
    """Return the fingerprint of the code and of this process, without importing TensorFlow.

    `root` is the checkout; None for an installed package, whose version is recorded in place of a commit.
    """
    commit = _git(root, "rev-parse", "HEAD") if root else None
    diff, diff_sha256 = _changes(root) if root and commit else ("", None)
    packages = (*_PACKAGES, *_cuda_packages()) if root else ("thaw", *_PACKAGES, *_cuda_packages())
    return Fingerprint(
        commit=commit.strip() if commit else None,
        dirty=bool(diff),
        diff=diff,
        diff_sha256=diff_sha256,
        python=platform.python_version(),
        platform=platform.platform(),
        packages={name: installed for name in packages if (installed := _version(name))},
        cpu=hardware.cpuinfo("model name") or platform.processor() or platform.machine(),
        cpus=hardware.cpu_count(),
        cpu_flags=tuple(flag for flag in _CPU_FLAGS if flag in hardware.cpuinfo("flags").split()),
        settings=environment.numerical_variables(),
        gpus=hardware.gpu_names(),
    )


def fingerprint_entries(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the entries of the fingerprint that a run's tags hold, as in `Fingerprint.entries`."""
    prefixed = ((key, value) for key, value in tags.items() if key.startswith(FINGERPRINT_PREFIX))
    return {key.removeprefix(FINGERPRINT_PREFIX): value for key, value in prefixed}


def fingerprint_differences(original: Mapping[str, str], now: Mapping[str, str]) -> list[ConfigDifference]:
    """Return every entry that differs between two fingerprints; None stands for an entry that one does not have.

    Entries that a run adds later (hashes, device, ...) and those that earlier versions did not record, as most
    environment variables, count only when both fingerprints have them.
    """
    variables = {f"env.{name}" for name in environment.numerical_variables()}
    first_variables = {f"env.{name}" for name in _FIRST_VARIABLES}
    optional = {*_OPTIONAL, *(() if "env" in original else variables - first_variables)}
    return [
        ConfigDifference(key, original.get(key), now.get(key))
        for key in {**original, **now}
        if original.get(key) != now.get(key) and (key not in optional or (key in original and key in now))
    ]


def _changes(root: Path) -> tuple[str, str | None]:
    """Return the diff, and the hash that tells two states of one commit apart."""
    # Whole object names: git's short ones grow with the repository, and the diff of a binary file has nothing else.
    changes = _git(root, "diff", "--no-color", "--no-ext-diff", "--full-index", "HEAD") or ""
    untracked = (_git(root, "ls-files", "--others", "--exclude-standard", "-z") or "").split("\0")[:-1]
    names, code = "", changes
    for name in untracked:
        sha256 = _sha256(root / name) if name.endswith(_CODE) else None
        line = f"untracked: {name} {sha256}\n" if sha256 else f"untracked: {name}\n"
        names += line
        code += line if sha256 else ""
    return changes + names, hashlib.sha256(code.encode()).hexdigest() if code else None


def _sha256(file: Path) -> str | None:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:  # a dangling link, or a file that was removed meanwhile
        return None


def _git(root: Path, *arguments: str) -> str | None:
    """Return git's output; None without git, checkout or commit, or in a folder that git does not trust."""
    try:
        # No optional locks: reading must not disturb a commit that is being made.
        completed = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(root), *arguments], capture_output=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return completed.stdout.decode(errors="replace")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@cache  # reads the metadata of all packages
def _cuda_packages() -> list[str]:
    """Return the packages of CUDA's libraries and cuDNN; installed otherwise, only the driver's version is known."""
    names = {(distribution.metadata["Name"] or "").lower() for distribution in distributions()}
    return sorted(name for name in names if name.startswith("nvidia-"))
