"""Probe files: hash their bytes and, unless the content is known, decode them and say whether they are sound."""

import hashlib
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from thaw.common.errors import UserError
from thaw.common.parallel import prefetch_map
from thaw.data.decode import DEFAULT_OPTIONS, DecodeOptions, decode
from thaw.data.file_bytes import BadImageError, read_bytes_and_stats

BLOCK_FILES, BLOCK_BYTES = 16384, 128e6  # at most in memory while `needs_decoding` is asked
SETTLE_SECONDS = 2.0  # a file changed less than this before it was read may change again at the same time stamp


@dataclass(frozen=True)
class ProbeResult:
    """What a file's content is, a function of its bytes, the rules of decoding and the libraries' versions.

    The cache stores these fields by their position: they may be renamed and appended to, never reordered.
    """

    kind: str  # "": sound; else a key of `corrupt_files.KINDS`
    reason: str = ""
    width: int = 0  # the rest as in `DecodedImage`, of sound files only
    height: int = 0
    format: str = ""
    mode: str = ""
    note: str = ""
    max_value: int | None = None


@dataclass(frozen=True, eq=False)
class FileProbe:
    """A file that was probed."""

    sha256: str  # of its bytes; "" when they cannot be read
    stat_hash: str | None  # see `stat_hash`; None while the file may still change
    result: ProbeResult | None  # None: its content was known and not decoded
    pixels: npt.NDArray[np.uint8] | None  # of a sound file, if asked for: `DecodedImage.downsized(image_size)`


@dataclass(frozen=True, eq=False)
class _ReadFile:
    path: str
    content: bytes
    sha256: str
    stat_hash: str | None


def stat_hash(path: str) -> str | None:
    """Return 64 hex digits that differ whenever a file may have changed, or None when there is no such file.

    Hashed is what git's index compares: path, inode, size, mtime and ctime. A program cannot set ctime back (on Windows
    it is the time of creation).
    """
    try:
        return _stat_hash(path, os.stat(path))  # noqa: PTH116 - 60,000 of them
    except OSError:
        return None


def probe_files(
    paths: Sequence[str],
    image_size: int,
    needs_decoding: Callable[[list[str]], Iterable[int]],
    *,
    with_pixels: bool = True,
    options: DecodeOptions = DEFAULT_OPTIONS,
    threads: int | None = None,
) -> Iterator[FileProbe]:
    """Read and hash every file once, in threads, and decode those whose content is unknown.

    Args:
        paths: The files.
        image_size: The side to which larger pixels are squashed.
        needs_decoding: Returns the positions, in a list of sha256, of those whose content is unknown.
        with_pixels: Whether probes of decoded files hold their pixels.
        options: How to decode.
        threads: As of `prefetch_map`.

    Yields:
        A probe of each file, in the order of `paths`.
    """
    for block in _blocks(paths):
        files = list(prefetch_map(_read, block, threads=threads))
        hashes = [file.sha256 for file in files if isinstance(file, _ReadFile)]
        unknown = {hashes[position] for position in needs_decoding(hashes)}

        def probe(file: _ReadFile | FileProbe, unknown: set[str] = unknown) -> FileProbe:
            if isinstance(file, FileProbe):
                return file
            if file.sha256 not in unknown:
                return FileProbe(file.sha256, file.stat_hash, None, None)
            return _decode(file, image_size, with_pixels, options)

        yield from prefetch_map(probe, files, threads=threads)


@dataclass(frozen=True)
class ProbeShardOptions:
    """What `probe_files` is told besides the files."""

    image_size: int
    with_pixels: bool
    options: DecodeOptions


def probe_shard(shared: ProbeShardOptions, paths: list[str], threads: int) -> list[FileProbe]:
    """Return what `probe_files` does of a shard's files, in a process of `ShardWorkers`; all are decoded."""
    check_folder_is_visible(paths)
    return list(
        probe_files(
            paths,
            shared.image_size,
            lambda hashes: range(len(hashes)),
            with_pixels=shared.with_pixels,
            options=shared.options,
            threads=threads,
        )
    )


def check_folder_is_visible(paths: Sequence[str]) -> None:
    """Raise UserError when this machine has no folder of the first file's: another one than that which listed it."""
    folder = Path(paths[0]).parent
    if not folder.is_dir():
        raise UserError(
            f"the machine {socket.gethostname()} finds no folder {folder}: the pictures must lie where every machine "
            "of the cluster finds them, at the same path"
        )


def reprobe(path: str, image_size: int, sha256: str, options: DecodeOptions = DEFAULT_OPTIONS) -> FileProbe:
    """Decode a file again, with pixels; raises UserError when its sha256 is no longer the given one."""
    file = _read(path)
    if isinstance(file, _ReadFile) and file.sha256 == sha256:
        return _decode(file, image_size, True, options)
    raise _changed_error(path, file, "")


def check_files_unchanged(expected: Iterable[tuple[str, str, str]]) -> None:
    """Raise UserError when a file (path, stat hash, sha256) has other content than that, or none.

    Only files whose stat hash differs are read; one that was merely touched passes.
    """
    suspects = [(path, sha256) for path, stat, sha256 in expected if stat_hash(path) != stat]
    files = prefetch_map(_read, [path for path, _ in suspects])
    first, n = None, 0  # not a list of them: each holds its file's content
    for (path, sha256), file in zip(suspects, files, strict=True):
        if file.sha256 != sha256:
            first, n = first or (path, file), n + 1
    if first is not None:
        raise _changed_error(*first, f" (and {n - 1:,} more)" if n > 1 else "")


def _changed_error(path: str, file: _ReadFile | FileProbe, others: str) -> UserError:
    reason = "it has changed since this run began"
    if isinstance(file, FileProbe):
        assert file.result is not None  # it cannot be read
        reason = f"{file.result.reason}; it was there when this run began"
    error = BadImageError(path, reason, "missing")
    return UserError(f"{error}{others}. Start again, and leave the pictures alone till it ends")


def _stat_fields(stat: os.stat_result) -> tuple[int, ...]:
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _stat_hash(path: str, stat: os.stat_result) -> str:
    return hashlib.sha256(f"{path}\0{_stat_fields(stat)}".encode("utf-8", "surrogateescape")).hexdigest()


def _blocks(paths: Sequence[str]) -> Iterator[list[str]]:
    block: list[str] = []
    total = 0
    for path in paths:
        size = 0
        with suppress(OSError):  # reading it will say why
            size = os.stat(path).st_size  # noqa: PTH116 - 60,000 of them
        if block and (len(block) == BLOCK_FILES or total + size > BLOCK_BYTES):
            yield block
            block, total = [], 0
        block.append(path)
        total += size
    if block:
        yield block


def _read(path: str) -> _ReadFile | FileProbe:
    """Return a file's content and hashes; of a file that cannot be read, its probe."""
    try:
        content, before, after = read_bytes_and_stats(path)
    except BadImageError as bad:
        return FileProbe("", None, ProbeResult(bad.kind, bad.reason), None)
    unchanged = _stat_fields(before) == _stat_fields(after)
    settled = unchanged and max(after.st_mtime, after.st_ctime) < time.time() - SETTLE_SECONDS
    return _ReadFile(path, content, hashlib.sha256(content).hexdigest(), _stat_hash(path, after) if settled else None)


def _decode(file: _ReadFile, image_size: int, with_pixels: bool, options: DecodeOptions) -> FileProbe:
    try:
        image = decode(file.content, file.path, (image_size, image_size), options)
        pixels = image.downsized(image_size) if with_pixels else None
    except BadImageError as bad:
        return FileProbe(file.sha256, file.stat_hash, ProbeResult(bad.kind, bad.reason), None)
    result = ProbeResult("", "", *image.file_size, image.format, image.mode, image.note, image.max_value)
    return FileProbe(file.sha256, file.stat_hash, result, pixels)
