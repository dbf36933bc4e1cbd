"""Any number of data files, read through a bounded number of descriptors."""

import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

# Descriptors that all data files of the process may hold together. Segments of 256 MB make 32 GB of these, more than
# the default budget; macOS allows a process 256 of all kinds by default.
MAX_OPEN_FILES = 128


class _Handle:
    """A data file that may be open. users: reads that are in progress."""

    def __init__(self, path: Path) -> None:
        self.path, self.users = path, 0


# Descriptors by handle, the least recently used first. Whoever pops one closes it: the last reference to a data file
# may go at any time, also between two steps of the same thread here.
_open: dict[_Handle, int] = {}
_lock = threading.RLock()


class DataFile:
    """A `.rows` file to read from, by any number of threads. Raises FileNotFoundError when it is not there.

    It is opened at once, and stays readable when it is removed meanwhile (not so on Windows). When as many others as
    may be open were read since, it is opened anew by its path. The last reference to the object closes the descriptor.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._seeking = path, threading.Lock()
        self._handle = _Handle(path)
        weakref.finalize(self, _close, self._handle)
        with _descriptor(self._handle):
            pass

    def __len__(self) -> int:
        with _descriptor(self._handle) as descriptor:
            return os.fstat(descriptor).st_size

    def read_into(self, buffer: npt.NDArray[np.uint8], offset: int) -> None:
        """Fill the contiguous buffer with the file's bytes from `offset` on.

        Raises EOFError when the file is too short, FileNotFoundError when it was removed, OSError.
        """
        view = buffer.data
        with _descriptor(self._handle) as descriptor:
            while len(view):
                read = self._read(descriptor, view, offset)
                if not read:
                    raise EOFError(f"{self.path} ends before byte {offset + len(view)}")
                view, offset = view[read:], offset + read

    def _read(self, descriptor: int, view: memoryview, offset: int) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(descriptor, [view], offset)
        if hasattr(os, "pread"):
            data = os.pread(descriptor, len(view), offset)
        else:
            with self._seeking:
                os.lseek(descriptor, offset, os.SEEK_SET)
                data = os.read(descriptor, len(view))
        view[: len(data)] = data
        return len(data)


@contextmanager
def _descriptor(handle: _Handle) -> Iterator[int]:
    """The file's descriptor, which stays open while the block runs."""
    with _lock:
        handle.users += 1
    try:
        with _lock:
            descriptor = _open.pop(handle, None)
            if descriptor is None:
                descriptor = os.open(handle.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
            _open[handle] = descriptor
            _close_idle()
        yield descriptor
    finally:
        with _lock:
            handle.users -= 1


def _close_idle() -> None:
    """Close the least recently used descriptors until the limit holds, but none that is being read from."""
    surplus = len(_open) - descriptor_limit()
    for handle in list(_open):
        if surplus <= 0:
            return
        if not handle.users:
            _close(handle)
            surplus -= 1


def _close(handle: _Handle) -> None:
    if (descriptor := _open.pop(handle, None)) is not None:
        os.close(descriptor)


def descriptor_limit() -> int:
    """Return how many descriptors data files may hold: at most a quarter of what the process may have of all kinds."""
    try:
        import resource
    except ImportError:  # Windows, whose C library allows thousands
        return MAX_OPEN_FILES
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return MAX_OPEN_FILES if allowed == resource.RLIM_INFINITY else max(1, min(MAX_OPEN_FILES, allowed // 4))
