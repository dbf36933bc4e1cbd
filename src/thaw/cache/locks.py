"""Locks, and the one message for a folder that cannot be written to."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from thaw.common.console import say
from thaw.common.errors import UserError

# Beside the spaces, never in them: a lock file that goes away with what it guards guards nothing.
LOCKS_FOLDER = "locks"
# Seconds that a held lock may be nothing but an evictor's glance or the tool's; longer is another run at work.
SHORT_WAIT_SECONDS = 0.3


class CacheFull(UserError):
    """There is no room for rows, on the disk or in the budget; whoever can do without keeping them goes on."""


@contextmanager
def as_user_error(folder: Path) -> Iterator[None]:
    """Turn an OSError of the block into a UserError that names the cache's folder and what to do."""
    try:
        yield
    except OSError as error:
        reason = "it is not a folder" if folder.exists() and not folder.is_dir() else (error.strerror or str(error))
        full = error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
        raise (CacheFull if full else UserError)(
            f"the cache cannot be written to {folder}: {reason}. Set cache.dir to a folder with room, "
            f"or cache.max_gb=0 to keep nothing"
        ) from error


@contextmanager
def store_lock(folder: Path) -> Iterator[None]:
    """Hold the store's lock: what is committed, removed or promised room changes under it alone, and for moments."""
    with as_user_error(folder):
        lock = _lock(folder, "store")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def space_lock(folder: Path, space: str, wait_message: str) -> Iterator[None]:
    """Hold a space's lock: its rows are computed by one process at a time. Prints `waiting` when it is held."""
    with as_user_error(folder):
        lock = _lock(folder, space)
        try:
            lock.acquire(timeout=SHORT_WAIT_SECONDS)
        except Timeout:
            say(wait_message)
            lock.acquire(poll_interval=0.2)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def try_space_lock(folder: Path, space: str, timeout: float = 0.0) -> Iterator[bool]:
    """Whether nobody computes in the space; if so, nobody starts to while the block runs. `wait` is in seconds."""
    lock = _lock(folder, space)
    try:
        lock.acquire(timeout=timeout)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _lock(folder: Path, name: str) -> FileLock:
    locks = folder / LOCKS_FOLDER
    locks.mkdir(parents=True, exist_ok=True)
    return FileLock(locks / f"{name}.lock")


def remove_files(*paths: Path) -> None:
    """Remove files in this order, whatever is already gone. One that is open stays where open files cannot go."""
    for path in paths:
        with suppress(FileNotFoundError, PermissionError if os.name == "nt" else FileNotFoundError):
            path.unlink()
