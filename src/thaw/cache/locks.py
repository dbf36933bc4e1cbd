"""Locks of the cache, and the one message for a folder that cannot be written to."""

import errno
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from thaw.common.errors import UserError
from thaw.common.files import lock_file

# Beside the spaces, never in them: a lock file that is removed with what it guards guards nothing.
LOCKS_FOLDER = "locks"
# An evictor or the tool holds a space's lock for less than this; whoever holds it for longer computes.
SHORT_WAIT_SECONDS = 0.3


class CacheFull(UserError):
    """There is no room for rows, on the disk or in the budget. Callers that can do without cached rows catch it."""


@contextmanager
def cache_errors_explained(folder: Path) -> Iterator[None]:
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
def cache_lock(folder: Path) -> Iterator[None]:
    """Hold the lock on what is committed, removed or reserved in any space of the cache, for milliseconds."""
    with ExitStack() as stack:
        with cache_errors_explained(folder):
            stack.enter_context(FileLock(_lock_path(folder, "store")))
        yield


@contextmanager
def space_lock(folder: Path, space: str, wait_message: str) -> Iterator[None]:
    """Hold a space's lock: its rows are computed by one process at a time. Prints `wait_message` if it waits."""
    with ExitStack() as stack:
        with cache_errors_explained(folder):
            stack.enter_context(lock_file(_lock_path(folder, space), wait_message, SHORT_WAIT_SECONDS))
        yield


@contextmanager
def try_space_lock(folder: Path, space: str, timeout: float = 0.0) -> Iterator[bool]:
    """Hold a space's lock if nobody else does within `timeout` seconds; yield whether it is held."""
    with ExitStack() as stack:
        try:
            stack.enter_context(FileLock(_lock_path(folder, space), timeout=timeout))
        except Timeout:
            yield False
            return
        yield True


def _lock_path(folder: Path, name: str) -> Path:
    locks = folder / LOCKS_FOLDER
    locks.mkdir(parents=True, exist_ok=True)
    return locks / f"{name}.lock"
