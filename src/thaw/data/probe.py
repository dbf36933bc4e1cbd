"""One look at a file: its hash and, unless its content is known, whether it is sound, what it is, and its pixels."""

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thaw.common.errors import UserError
from thaw.common.parallel import prefetch_map
from thaw.data.decode import DEFAULT_OPTIONS, DecodedImage, DecodeOptions, decode
from thaw.data.file_bytes import BadImageError, read_bytes_and_stats

BLOCK_FILES, BLOCK_BYTES = (
    16384,
    128e6,
)  # files, and bytes of them, that are in memory while it is looked up what is known
SETTLE_SECONDS = (
    2.0  # seconds; a file that changed later than that before it was read may change again under the same time
)


@dataclass(frozen=True)
class ProbeResult:
    """What a file's content is; a function of its bytes, the rules of decoding and the libraries' versions."""

    kind: str  # "": sound; else a key of `faults.KINDS`
    reason: str = ""
    width: int = 0  # of the upright picture as it is stored, in pixels; of a sound one
    height: int = 0
    format: str = ""  # as `Picture` says
    mode: str = ""
    note: str = ""
    max_value: int | None = None


@dataclass(frozen=True, eq=False)
class FileProbe:
    """A file that was looked at."""

    sha256: str  # of its bytes; "" when they cannot be read
    stat_hash: str | None  # as `stamp` says; None: do not rely on it
    result: ProbeResult | None  # None: what content of this hash is was known
    pixels: npt.NDArray[np.uint8] | None  # of a sound one, if asked for: as `Picture.at_most(image_size)` gives them


@dataclass(frozen=True, eq=False)
class _File:
    path: str
    content: bytes
    sha256: str
    stamp: str | None


def stat_hash(path: str) -> str | None:
    """Return 64 hex digits that differ whenever the file may have changed, or None when there is no such file.

    As git's index does it: place, inode, length, and the times of the last change of content and of anything. The
    latter cannot be set back by a program (on Windows it is that of creation).
    """
    try:
        found = os.stat(path)  # noqa: PTH116 - 60,000 of them
    except OSError:
        return None
    return _stamp(path, found)


def probe_files(
    paths: Sequence[str],
    image_size: int,
    needs_decoding: Callable[[list[str]], Iterable[int]],
    *,
    with_pixels: bool = True,
    options: DecodeOptions = DEFAULT_OPTIONS,
) -> Iterator[FileProbe]:
    """Read every file once and hash it, in threads, and decode those whose content is unknown; in the paths' order.

    unknown: says of a list of hashes at which positions are those of files that must be decoded. pixels: return them.
    """
    for block in _blocks(paths):
        files = list(prefetch_map(_read, block))
        hashes = [file.sha256 for file in files if isinstance(file, _File)]
        fresh = {hashes[position] for position in needs_decoding(hashes)}

        def look(file: _File | FileProbe, fresh: set[str] = fresh) -> FileProbe:
            if isinstance(file, FileProbe):
                return file
            return (
                _decoded(file, image_size, with_pixels, options)
                if file.sha256 in fresh
                else FileProbe(file.sha256, file.stamp, None, None)
            )

        yield from prefetch_map(look, files)


def reprobe(path: str, image_size: int, sha256: str, options: DecodeOptions = DEFAULT_OPTIONS) -> FileProbe:
    """Decode a file that was looked at before; raises UserError when it is no longer what it was."""
    file = _read(path)
    if isinstance(file, _File) and file.sha256 == sha256:
        return _decoded(file, image_size, True, options)
    raise _changed(path, file, "")


def check_unchanged(files: Iterable[tuple[str, str, str]]) -> None:
    """Raise UserError when a file (path, stamp, sha256) is no longer what it was; one that was only touched still is.

    Only files that have another stamp are read.
    """
    suspects = [(path, sha256) for path, before, sha256 in files if stat_hash(path) != before]
    read = prefetch_map(lambda suspect: (suspect[0], _read(suspect[0]), suspect[1]), suspects)
    first, n = None, 0
    for path, file, sha256 in read:
        if file.sha256 != sha256:
            first, n = first or (path, file), n + 1
    if first is not None:
        raise _changed(*first, f" (and {n - 1:,} more)" if n > 1 else "")


def _changed(path: str, file: _File | FileProbe, others: str) -> UserError:
    why = "it has changed since this run began"
    if isinstance(file, FileProbe):
        assert file.result is not None  # it cannot be read
        why = f"{file.result.reason}; it was there when this run began"
    told = BadImageError(path, why, "missing")
    return UserError(f"{told}{others}. Start again, and leave the pictures alone till it ends")


def _state(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _stamp(path: str, found: os.stat_result) -> str:
    return hashlib.sha256(f"{path}\0{_state(found)}".encode("utf-8", "surrogateescape")).hexdigest()


def _blocks(paths: Sequence[str]) -> Iterator[list[str]]:
    block: list[str] = []
    total = 0
    for path in paths:
        size = _size(path)
        if block and (len(block) == BLOCK_FILES or total + size > BLOCK_BYTES):
            yield block
            block, total = [], 0
        block.append(path)
        total += size
    if block:
        yield block


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116 - 60,000 of them
    except OSError:
        return 0  # reading it will say why


def _read(path: str) -> _File | FileProbe:
    try:
        content, before, after = read_bytes_and_stats(path)
    except BadImageError as bad:
        return FileProbe("", None, ProbeResult(bad.kind, bad.reason), None)
    # It stood still while it was read, and long enough before.
    settled = _state(before) == _state(after) and max(after.st_mtime, after.st_ctime) < time.time() - SETTLE_SECONDS
    return _File(path, content, hashlib.sha256(content).hexdigest(), _stamp(path, after) if settled else None)


def _decoded(file: _File, image_size: int, pixels: bool, rules: DecodeOptions) -> FileProbe:
    try:
        picture = decode(file.content, file.path, (image_size, image_size), rules)
        at_most = picture.downsized(image_size) if pixels else None
    except BadImageError as bad:
        return FileProbe(file.sha256, file.stamp, ProbeResult(bad.kind, bad.reason), None)
    return FileProbe(file.sha256, file.stamp, _sound(picture), at_most)


def _sound(picture: DecodedImage) -> ProbeResult:
    return ProbeResult(
        "", "", picture.width, picture.height, picture.format, picture.mode, picture.note, picture.max_value
    )
