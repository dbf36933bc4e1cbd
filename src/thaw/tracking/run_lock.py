"""The lock that a run holds in its folder while it lives, and `run.json`, which names the run.

The operating system releases the lock however the process ends, so that a free lock means a dead run.
"""

import json
import platform
from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock, Timeout

from thaw.common.errors import UserError
from thaw.common.files import write_json

FOLDER_TAG = "thaw.folder"
HOST_TAG = "thaw.host"
CWD_TAG = "thaw.cwd"
RUN_FILE = "run.json"
_LOCK = "run.lock"
_TIMEOUT = 1.0  # seconds: another run that starts holds the lock for a moment while it looks for dead runs


class FolderInUse(UserError):
    """A living process works in a run's folder, and may end."""


def lock_run_folder(folder: Path, what: str) -> FileLock:
    """Acquire the lock of a run's folder, which is created if it is missing.

    Raises:
        FolderInUse: A living process holds the lock; `what` is the subject of the message.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / _LOCK)
    try:
        lock.acquire(timeout=_TIMEOUT)
    except Timeout:
        raise FolderInUse(f"{what} is still running in another process, in {folder}. Wait for it, or end it.") from None
    return lock


def lock_if_dead(folder: Path) -> FileLock | None:
    """Acquire the lock of a dead run's folder; None when the run lives, or when that cannot be known."""
    lock = FileLock(folder / _LOCK)
    try:
        if not (folder / _LOCK).exists():
            return None
        lock.acquire(blocking=False)
    except (Timeout, OSError):  # OSError: another user's lock
        return None
    return lock


def is_run_alive(folder: Path) -> bool:
    """Return whether a process holds the lock of a run's folder; False when that cannot be known."""
    lock = FileLock(folder / _LOCK)
    try:
        if (folder / _LOCK).exists():
            lock.acquire(blocking=False)
            lock.release()
    except Timeout:
        return True
    except OSError:  # another user's lock
        return False
    return False


def local_folder(tags: Mapping[str, str]) -> Path | None:
    """Return the folder that a run's tags name, None when it is of another machine or no longer there."""
    folder = Path(tags.get(FOLDER_TAG, ""))
    return folder if tags.get(HOST_TAG) == platform.node() and folder.is_absolute() and folder.is_dir() else None


def location_tags(folder: Path) -> dict[str, str]:
    """Return the tags that name a run's folder, working directory and machine, from which it can be resumed."""
    return {FOLDER_TAG: str(folder), CWD_TAG: str(Path.cwd()), HOST_TAG: platform.node()}


def write_run_file(folder: Path, run_id: str, tracking_uri: str) -> None:
    """Write `run.json`, which names the run and its store, to a run's folder."""
    write_json({"run_id": run_id, "tracking_uri": tracking_uri}, folder / RUN_FILE)


def read_run_file(folder: Path) -> tuple[str, str] | None:
    """Return the run's id and its store's URI from `run.json` in a run's folder; None when it cannot be read."""
    try:
        content = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
        return str(content["run_id"]), str(content["tracking_uri"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
