"""What a run's numbers depend on besides its config: code, versions, machine, data, weights, seed."""

import hashlib
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path

from thaw.common import environment
from thaw.config.stored_config import ConfigDifference

# A tag of every run whose config and command are in the store: they are logged before it.
CONFIG_LOGGED_TAG = "fingerprint.python"

_PACKAGES = (
    "tensorflow",
    "keras",
    "numpy",
    "pillow",
    "hydra-core",
    "omegaconf",
    "mlflow",
    "scikit-learn",
    "openvino",
    "ml-dtypes",  # rounds to bfloat16
    "h5py",
    "scipy",
)
_CPU_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")  # as they always were: runs are compared by them
# The only environment variables that were recorded before there was a rule for them.
_FIRST_SETTINGS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "TF_ENABLE_ONEDNN_OPTS",
    "ONEDNN_MAX_CPU_ISA",
    "TF_DETERMINISTIC_OPS",
    "XLA_FLAGS",
    "TF_XLA_FLAGS",
    "CUDA_VISIBLE_DEVICES",
)
_CODE = (".py", ".yaml")  # files that make a run another one before git knows them
# What `collect` does not know, and what earlier versions did not record.
_LATER = ("data_sha256", "weights_sha256", "graph_sha256", "cuts", "device", "seed", "gpu", "env")


@dataclass(frozen=True)
class Fingerprint:
    """Code, versions and machine, as `collect` finds them; the caller fills `data_sha256`, `weights_sha256`, `seed`.

    commit: None without git or outside a checkout. diff: `git diff HEAD`, then the names of untracked files, those of
    code and configuration with their sha256. diff_sha256: of all that is code or configuration in it, None when clean.
    packages: distribution to version; what is not installed is left out. cpus: logical ones this process may use.
    settings: environment variables that numerical libraries read; unset ones are left out. gpus: NVIDIA's in this
    machine, with their driver; whether they compute is the run's entry `device`.
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
    data_sha256: str | None = None
    weights_sha256: str | None = None
    seed: int | None = None

    def entries(self) -> dict[str, str]:
        """All but the diff, as params or tags: `git.commit`, `package.keras`, `cpu.model`, ...; None is left out."""
        entries: dict[str, object | None] = {
            "git.commit": self.commit,
            "git.dirty": self.dirty if self.commit else None,
            "git.diff_sha256": self.diff_sha256,
            "python": self.python,
            "platform": self.platform,
            **{f"package.{name}": found for name, found in self.packages.items()},
            "cpu.model": self.cpu,
            "cpu.count": self.cpus,
            "cpu.flags": " ".join(self.cpu_flags),
            "gpu": "; ".join(self.gpus) or "none",
            "env": "all",  # and not only the first few
            **{f"env.{name}": value for name, value in self.settings.items()},
            "data_sha256": self.data_sha256,
            "weights_sha256": self.weights_sha256,
            "seed": self.seed,
        }
        return {key: str(value) for key, value in entries.items() if value is not None}


def collect_fingerprint(root: Path | None) -> Fingerprint:
    """Take the fingerprint of the code and of this process; TensorFlow is not imported for it.

    root: the checkout; None of an installed package, whose version is recorded in place of a commit.
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
        packages={name: found for name in packages if (found := _version(name))},
        cpu=environment.cpuinfo("model name") or platform.processor() or platform.machine(),
        cpus=environment.cpu_count(),
        cpu_flags=tuple(flag for flag in _CPU_FLAGS if flag in environment.cpuinfo("flags").split()),
        settings=environment.numerical_variables(),
        gpus=environment.gpu_names(),
    )


def fingerprint_differences(original: Mapping[str, str], now: Mapping[str, str]) -> list[ConfigDifference]:
    """Every entry that differs between two flat fingerprints; None where one has none of that name.

    Seed, hashes and the like count only when both have them: they are known later than the rest, or were not recorded
    by earlier versions, as most environment variables were not.
    """
    unknown = {f"env.{name}" for name in environment.numerical_variables()} - {
        f"env.{name}" for name in _FIRST_SETTINGS
    }
    left_out = {*_LATER, *(() if "env" in original else unknown)}
    return [
        ConfigDifference(key, original.get(key), now.get(key))
        for key in {**original, **now}
        if original.get(key) != now.get(key) and (key not in left_out or (key in original and key in now))
    ]


def _changes(root: Path) -> tuple[str, str | None]:
    """The diff as it is kept, and the hash by which two states of one commit are told apart."""
    # Whole object names: git shortens them to what is unique today, and of a binary file they are all there is.
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
    except OSError:  # a link to nowhere, or gone meanwhile
        return None


def _git(root: Path, *arguments: str) -> str | None:
    """Git's answer, or None: no git, no checkout, no commit yet, a folder that git does not trust."""
    try:
        # Optional locks off: a status that only reads must not disturb a commit made meanwhile.
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(root), *arguments], capture_output=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cuda_packages() -> list[str]:
    """CUDA's libraries and cuDNN, where they came as packages; else the driver's version is all that is known."""
    names = {(found.metadata["Name"] or "").lower() for found in distributions()}
    return sorted(name for name in names if name.startswith("nvidia-"))
