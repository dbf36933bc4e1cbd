"""Files that are there whole or not at all."""

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO


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
    """Open a file to write; it takes its name when the block ends, as in `replace`."""
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
