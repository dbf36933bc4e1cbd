"""A run's folder belongs to one run: another run is refused before anything in it changes."""

import json
from pathlib import Path

from thaw.common.errors import UserError
from thaw.tracking import run_lock, spool

# What runs write, the sweep's own files among it. Without `.hydra` and the lock: a command that was refused leaves
# these too, and is given again in the same folder once it is mended.
RUN_FILES = (
    run_lock.RUN_FILE, "result.json", spool.UNSENT_FILE, "manifest.csv", "bad_files.csv", "resumed_bad_files.csv",
    "checkpoints",
    "model", "report", "features", "parent_run_id", "folds.json",
)  # fmt: skip


def check_run_folder(folder: Path, key: str = "hydra.run.dir", run_id: str | None = None) -> None:
    """Raise UserError when a folder holds what another run has written, or is writing; `run_id` may go on in its own.

    key: what named the folder. A folder with other files than those of runs is free.
    """
    if run_id is not None and _id(folder) == run_id:
        return
    name = _found(folder)
    if name is not None:
        raise UserError(_refusal(folder, key, name, _id(folder)))


def check_not_running(folder: Path, key: str = "hydra.run.dir") -> None:
    """Raise UserError when a living process holds the lock of a folder, which may not hold more than that yet."""
    if run_lock.is_held(folder):
        raise UserError(f"{key}={folder}: a run is at work in this folder. Choose another {key}, or wait for its end")


def check_sweep_folder(folder: Path) -> None:
    """Raise UserError when a sweep's folder, or one in it, holds what another run or sweep has written."""
    key = "hydra.sweep.dir"
    check_not_running(folder, key)
    check_run_folder(folder, key)
    if (folder / "multirun.yaml").exists():
        raise UserError(_refusal(folder, key, "multirun.yaml", None))
    for inside in sorted(folder.iterdir()) if folder.is_dir() else ():
        name = _found(inside)
        if name is not None:
            raise UserError(_refusal(folder, key, f"{inside.name}/{name}", None))


def check_single_run(folder: Path) -> None:
    """Raise UserError when result.json and run.json in a folder are of two runs: thaw once let a run begin there."""
    own, other = _id(folder), _read(folder / "result.json")
    if own is not None and other is not None and own != other:
        raise UserError(
            f"{folder} holds files of two runs: result.json is of run {other}, run.json of run {own}. "
            "Give the id of the run that you mean"
        )


def owner_of_folder(folder: Path) -> tuple[str, str] | None:
    """Return the id and the store's URI of the run whose folder this is, None without a run.json.

    Raises UserError when the folder holds files of two runs.
    """
    check_single_run(folder)
    return run_lock.read_run_file(folder)


def _found(folder: Path) -> str | None:
    return next((name for name in RUN_FILES if (folder / name).exists()), None)


def _id(folder: Path) -> str | None:
    return _read(folder / run_lock.RUN_FILE)


def _read(file: Path) -> str | None:
    try:
        return str(json.loads(file.read_text(encoding="utf-8"))["run_id"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _refusal(folder: Path, key: str, name: str, run_id: str | None) -> str:
    whose = f" of run {run_id}" if run_id else ""
    resume = " or go on with that run: resume=FOLDER" if run_id and key == "hydra.run.dir" else ""
    return (
        f"{key}={folder}: this folder holds {name}{whose}, which another run must not change. "
        f"Choose another {key},{resume}".rstrip(",")
    )
