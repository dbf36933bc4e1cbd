"""Which runs live: each holds a lock in its own folder, which the system lets go of however the process ends."""

import json
import platform
from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock, Timeout

from thaw.common.errors import UserError
from thaw.common.files import write_atomically

FOLDER_TAG = "thaw.folder"
HOST_TAG = "thaw.host"
CWD_TAG = "thaw.cwd"
RUN_FILE = "run.json"
_LOCK = "run.lock"
# Seconds for which a run that starts may look whether this one is dead.
_MOMENT = 1.0


def acquire(folder: Path, what: str) -> FileLock:
    """Take the lock of a run's folder, which is created if it is missing; `release()` gives it back.

    Raises UserError when a living process holds it; `what` is the message's subject.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / _LOCK)
    try:
        lock.acquire(timeout=_MOMENT)
    except Timeout:
        raise UserError(f"{what} is still running in another process, in {folder}. Wait for it, or end it.") from None
    return lock


def acquire_if_dead(folder: Path) -> FileLock | None:
    """Take the lock of a dead run's folder; None when the run lives, or when nobody can tell."""
    lock = FileLock(folder / _LOCK)
    try:
        if not (folder / _LOCK).exists():
            return None
        lock.acquire(blocking=False)
    except (Timeout, OSError):  # another user's
        return None
    return lock


def is_held(folder: Path) -> bool:
    """Whether a process holds the lock of a run's folder; False when nobody can tell."""
    lock = FileLock(folder / _LOCK)
    try:
        if (folder / _LOCK).exists():
            lock.acquire(blocking=False)
            lock.release()
    except Timeout:
        return True
    except OSError:  # another user's
        return False
    return False


def local_folder(tags: Mapping[str, str]) -> Path | None:
    """Return a run's folder as its tags name it, if the run is of this machine and the folder still there."""
    folder = Path(tags.get(FOLDER_TAG, ""))
    return folder if tags.get(HOST_TAG) == platform.node() and folder.is_absolute() and folder.is_dir() else None


def location_tags(folder: Path) -> dict[str, str]:
    """Return the tags that say where a run lives, to go on with it from there."""
    return {FOLDER_TAG: str(folder), CWD_TAG: str(Path.cwd()), HOST_TAG: platform.node()}


def write_run_file(folder: Path, run_id: str, tracking_uri: str) -> None:
    """Leave `run.json` in a run's folder: which run this is, and in which store."""
    write_json(folder / RUN_FILE, {"run_id": run_id, "tracking_uri": tracking_uri})


def read_run_file(folder: Path) -> tuple[str, str] | None:
    """Return the run's id and its store's URI, as `run.json` in a run's folder says; None when it does not."""
    try:
        content = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
        return str(content["run_id"]), str(content["tracking_uri"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Write a file that is there whole or not at all, even after a power cut."""
    write_atomically(path, json.dumps(content, indent=1).encode())
