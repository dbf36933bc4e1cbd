"""One look at every file: its hash and, unless that is known, whether it is sound, how large, and its pixels."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from thaw.data.decode import BadImage, decode, read_bytes
from thaw.data.threads import in_order
from thaw.errors import UserError

BLOCK, BLOCK_BYTES = 16384, 128e6  # files, and bytes of them, that are in memory while it is looked up what is known


@dataclass(frozen=True, eq=False)
class Decoded:
    """A sound picture."""

    width: int  # of the upright picture as it is stored, in pixels
    height: int
    pixels: npt.NDArray[np.uint8]  # (h, w, 3): as stored where it fits, else (image_size, image_size, 3)


@dataclass(frozen=True, eq=False)
class Seen:
    """A file that can be used."""

    sha256: str  # of its bytes
    decoded: Decoded | None  # None: its hash was known to be a sound picture's


@dataclass(frozen=True, eq=False)
class _File:
    path: str
    content: bytes
    sha256: str


def look_at(
    paths: Sequence[str], image_size: int, unknown: Callable[[list[str]], Iterable[int]]
) -> Iterator[Seen | BadImage]:
    """Read every file once and hash it, in threads, and decode those that are not known; yield in the paths' order.

    unknown: says of a list of hashes at which positions are those of files that must be decoded.
    """
    for block in _blocks(paths):
        files = list(in_order(_read, block))
        hashes = [file.sha256 for file in files if isinstance(file, _File)]
        fresh = {hashes[position] for position in unknown(hashes)}

        def look(file: _File | BadImage, fresh: set[str] = fresh) -> Seen | BadImage:
            if isinstance(file, BadImage):
                return file
            try:
                return Seen(file.sha256, _decoded(file, image_size) if file.sha256 in fresh else None)
            except BadImage as bad:
                return bad

        yield from in_order(look, files)


def again(path: str, image_size: int, sha256: str) -> Decoded:
    """Decode a file that was looked at before; raises UserError when it is no longer what it was."""
    file = _read(path)
    if isinstance(file, BadImage):
        raise UserError(
            f"{file}; it was there when this run began. Start again, and leave the pictures alone till it ends"
        )
    if file.sha256 != sha256:
        changed = BadImage(path, "it has changed since this run began")
        raise UserError(f"{changed}. Start again, and leave the pictures alone till it ends")
    return _decoded(file, image_size)


def _blocks(paths: Sequence[str]) -> Iterator[list[str]]:
    block: list[str] = []
    total = 0
    for path in paths:
        size = _size(path)
        if block and (len(block) == BLOCK or total + size > BLOCK_BYTES):
            yield block
            block, total = [], 0
        block.append(path)
        total += size
    if block:
        yield block


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0  # reading it will say why


def _read(path: str) -> _File | BadImage:
    try:
        content = read_bytes(path)
    except BadImage as bad:
        return bad
    return _File(path, content, hashlib.sha256(content).hexdigest())


def _decoded(file: _File, image_size: int) -> Decoded:
    picture = decode(file.content, file.path, (image_size, image_size))
    return Decoded(picture.width, picture.height, picture.at_most(image_size))
