"""A run's folder belongs to that run: another run is refused before it changes anything in the folder."""

import json
from pathlib import Path

from thaw.common.errors import UserError
from thaw.tracking import run_lock, unsent_file

# Files and folders that runs, sweeps and evaluations write. `.hydra` and the lock are not among them: a refused command
# leaves these too, and must be able to start in the same folder once it is corrected.
RUN_FILES = (
    run_lock.RUN_FILE, "result.json", unsent_file.UNSENT_FILE, "manifest.csv", "bad_files.csv", "resumed_bad_files.csv",
    "checkpoints", "head_alone.npz", "model", "report", "features", "parent_run_id", "folds.json", "evaluation.json",
)  # fmt: skip


def check_run_folder(folder: Path, key: str = "hydra.run.dir", run_id: str | None = None) -> None:
    """Raise UserError when another run than `run_id` has written to a folder; files that no run writes do not count.

    `key` is the config key that names the folder.
    """
    if run_id is not None and _run_id(folder / run_lock.RUN_FILE) == run_id:
        return
    name = _run_file_in(folder)
    if name is not None:
        raise UserError(_refusal(folder, key, name, _run_id(folder / run_lock.RUN_FILE)))


def check_not_running(folder: Path, key: str = "hydra.run.dir") -> None:
    """Raise UserError when a living process holds a folder's lock; it may not have written any file yet."""
    if run_lock.is_run_alive(folder):
        raise UserError(f"{key}={folder}: a run is at work in this folder. Choose another {key}, or wait for its end")


def check_sweep_folder(folder: Path) -> None:
    """Raise UserError when another run or sweep has written to a sweep's folder or to a folder in it."""
    key = "hydra.sweep.dir"
    check_not_running(folder, key)
    check_run_folder(folder, key)
    if (folder / "multirun.yaml").exists():
        raise UserError(_refusal(folder, key, "multirun.yaml", None))
    for job_folder in sorted(folder.iterdir()) if folder.is_dir() else ():
        name = _run_file_in(job_folder)
        if name is not None:
            raise UserError(_refusal(folder, key, f"{job_folder.name}/{name}", None))


def check_single_run(folder: Path) -> None:
    """Raise UserError when result.json and run.json in a folder name two runs, which early versions of thaw allowed."""
    run_id, result_id = _run_id(folder / run_lock.RUN_FILE), _run_id(folder / "result.json")
    if run_id is not None and result_id is not None and run_id != result_id:
        raise UserError(
            f"{folder} holds files of two runs: result.json is of run {result_id}, run.json of run {run_id}. "
            "Give the id of the run that you mean"
        )


def owner_of_folder(folder: Path) -> tuple[str, str] | None:
    """Return the id and the store's URI of the run that a folder belongs to, None without a run.json.

    Raises:
        UserError: The folder holds files of two runs.
    """
    check_single_run(folder)
    return run_lock.read_run_file(folder)


def _run_file_in(folder: Path) -> str | None:
    return next((name for name in RUN_FILES if (folder / name).exists()), None)


def _run_id(file: Path) -> str | None:
    try:
        return str(json.loads(file.read_text(encoding="utf-8"))["run_id"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _refusal(folder: Path, key: str, name: str, run_id: str | None) -> str:
    owner = f" of run {run_id}" if run_id else ""
    resume = " or resume that run: resume=FOLDER" if run_id and key == "hydra.run.dir" else ""
    return (
        f"{key}={folder}: this folder holds {name}{owner}, which another run must not change. "
        f"Choose another {key},{resume}".rstrip(",")
    )
