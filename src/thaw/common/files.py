"""Files that are there whole or not at all, their removal, and lock files."""

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock, Timeout

from thaw.common.console import say


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all, even after a power cut; nothing is left when it fails."""
    with open_atomic(path) as file:
        file.write(content)


def write_json(content: Any, path: Path) -> None:
    """Write JSON, as `write_atomically` does; numpy's scalars and arrays are converted, NaN and infinity are null."""
    text = json.dumps(_plain(content), indent=2, ensure_ascii=False, allow_nan=False)
    # A folder's name may not be UTF-8; backslashreplace writes such a byte as \udce9, which is JSON too.
    write_atomically(path, (text + "\n").encode("utf-8", "backslashreplace"))


@contextmanager
def open_atomic(path: Path) -> Iterator[BinaryIO]:
    """Open a file to write; it takes its name when the block ends, as in `write_atomically`."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    _sync_folder(path.parent)


def _plain(value: Any) -> Any:
    """Return dictionaries, lists, strings, numbers and None for a value that JSON may not have."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if hasattr(value, "tolist"):  # numpy's, which this module does not import
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # folders cannot be opened there
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_files(*paths: Path) -> None:
    """Remove files in this order, those that exist. Windows keeps a file that is open."""
    for path in paths:
        with suppress(FileNotFoundError, PermissionError if os.name == "nt" else FileNotFoundError):
            path.unlink()


@contextmanager
def lock_file(path: Path, wait_message: str, timeout: float = 0.0) -> Iterator[None]:
    """Hold a lock file while the block runs; the system releases that of a process that dies.

    wait_message: printed when another process holds the lock for longer than `timeout` seconds; this one waits on.
    """
    lock = FileLock(path)
    try:
        lock.acquire(timeout=timeout)
    except Timeout:
        say(wait_message)
        lock.acquire(poll_interval=0.2)
    try:
        yield
    finally:
        lock.release()
