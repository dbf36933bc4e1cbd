"""Read the bytes of image files; the error that says why an image cannot be used."""

import errno
import os
import stat
from pathlib import Path

from thaw.common.console import printable
from thaw.common.errors import UserError

_ERRNO_KINDS = {errno.ENOENT: "missing", errno.ELOOP: "link_loop", errno.ENXIO: "not_a_file"}
_ERRNO_KINDS |= {errno.EACCES: "no_permission", errno.EPERM: "no_permission"}


class BadImageError(UserError):
    """An image cannot be used: its printable `path`, the `reason` for people, and `kind`, a key of `KINDS`."""

    def __init__(self, path: str, reason: str, kind: str) -> None:
        self.path, self.reason, self.kind = printable(path), reason, kind
        super().__init__(f"{self.path}: {reason}")


def read_bytes_and_stats(path: str | Path) -> tuple[bytes, os.stat_result, os.stat_result]:
    """Return the bytes of a file, and its stat before and after reading.

    Raises:
        BadImageError: It cannot be read, or is no regular file: reading a pipe would never end.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123 - it is open
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                raise BadImageError(str(path), "it is a folder, a pipe or a device", "not_a_file")
            return file.readall(), before, os.fstat(descriptor)
    except OSError as error:
        kind = _ERRNO_KINDS.get(error.errno or 0, "unreadable")
        if kind == "missing" and os.path.islink(path):  # noqa: PTH114
            raise BadImageError(str(path), "a link to a file that is not there", "broken_link") from error
        raise BadImageError(str(path), (error.strerror or str(error)).lower(), kind) from error
