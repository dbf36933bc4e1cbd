"""A hash of the code that a run's numbers come from: what a sweep needs to take over a run instead of repeating it."""

import hashlib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from thaw.config import stored_config
from thaw.config.schema import Config

# The rooms that make numbers. Those that draw, print, store and serve them are left out: a new chart repeats no sweep.
_ROOMS = ("cache", "data", "frozen", "models", "training")
_FILES = (
    "common/hardware.py", "common/tensorflow_setup.py", "results/final_predictions.py", "results/metrics.py", "run.py",
    "run_context.py", "run_data.py", "run_fingerprint.py", "run_training.py",
)  # fmt: skip
PACKAGES = ("tensorflow", "keras", "numpy", "scipy", "openvino", "pillow", "scikit-learn", "nncf")


@cache
def code_sha256() -> str:
    """Return the sha256 of the modules that make a run's numbers, and of the versions of the packages that compute."""
    package = Path(__file__).parent
    files = [file for room in _ROOMS for file in (package / room).rglob("*") if file.suffix in (".py", ".txt")]
    digest = hashlib.sha256()
    for file in sorted([*files, *(package / name for name in _FILES)]):
        digest.update(f"{file.relative_to(package).as_posix()}\0".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    for name in PACKAGES:
        digest.update(f"{name} {_version(name)}\0".encode())
    return digest.hexdigest()


def setting_sha256(config: Config) -> str:
    """Return the sha256 of config and code: two runs that have it in common differ by their data at most.

    Keys that change no number are left out, see `stored_config.RESULT_NEUTRAL_KEYS`.
    """
    content = stored_config.number_keys(config) | {"backbone.weights": weights_identity(config.backbone.weights)}
    return hashlib.sha256(f"{sorted(content.items())!r} {code_sha256()}".encode()).hexdigest()


def weights_identity(weights: str) -> object:
    """Return what tells a weights file from another that takes its place: its name says nothing about what is in it."""
    file = Path(weights).expanduser()
    if not file.is_file():
        return weights
    return str(file.absolute()), file.stat().st_size, file.stat().st_mtime_ns


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
