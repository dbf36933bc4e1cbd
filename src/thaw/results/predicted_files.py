"""Image files, found and decoded in order, and run on a network while the next ones are decoded."""

import glob
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from thaw.common.errors import UserError
from thaw.common.parallel import prefetch_map
from thaw.data import bit_depth
from thaw.data.decode import DecodeOptions, decode
from thaw.data.file_bytes import BadImageError, read_bytes_and_stats
from thaw.data.image_folder import is_image_name, walk_visible_folders

DECODE_GROUP = 64  # images that are decoded, in threads, while the network runs on as many
STDIN = "-"  # `images=-`: names on standard input

Pixels = npt.NDArray[np.uint8]


def find_images(images: Any) -> list[str]:
    """Return the files that `images=` names, each once: a file, a folder, a pattern in quotes, or a list of these.

    Of a folder, these are the images at any depth that training would read. `-` reads names of files from standard
    input, a line each, and does not look for them: those that are absent are bad files like others. Raises UserError
    when there are none.
    """
    if images is None:
        raise UserError(
            "images= is missing: images=lion.jpg, images=FOLDER, or a pattern in quotes, images='photos/*.jpg'"
        )
    if images == STDIN:
        return _files_from_stdin()
    files: list[str] = []
    for entry in images if isinstance(images, list) else [images]:
        path = Path(str(entry)).expanduser()
        if path.is_dir():
            folders = walk_visible_folders(path, Counter())
            # os.path.join: a Path for each of a million names takes seconds.
            matches = sorted(
                os.path.join(folder, name)  # noqa: PTH118
                for folder, names in folders
                for name in names
                if is_image_name(name)
            )
        elif path.exists():
            matches = [str(path)]
        else:
            matches = sorted(name for name in glob.glob(str(path), recursive=True) if Path(name).is_file())  # noqa: PTH207
        if not matches:
            raise UserError(f"images={entry} matches no file. Give a file, a folder, or a pattern in quotes")
        files += matches
    return list(dict.fromkeys(files))


def _files_from_stdin() -> list[str]:
    """Return the names on standard input: a line each, or each with a NUL behind it, as `find -print0` writes them."""
    content = sys.stdin.buffer.read()
    lines = content.split(b"\0") if b"\0" in content else content.splitlines()
    files = list(dict.fromkeys(os.fsdecode(line) for line in lines if line))
    if not files:
        raise UserError("images=- reads names of files from standard input, a line each, and there are none")
    return files


@dataclass(frozen=True)
class NetworkInput:
    """How a network reads a picture. size: side of its square input in pixels. bits, resize: as in `dataset`."""

    size: int
    bits: int | None = None
    resize: str = "squash"

    @property
    def options(self) -> DecodeOptions:
        """The rules by which it is decoded."""
        return DecodeOptions(self.bits, self.resize)


@dataclass
class ImageReader:
    """Decodes files as training does, in threads ahead of who reads them.

    Attributes:
        files: in the order in which they are read.
        inputs: how they are decoded, once for each of these.
        unreadable: the errors of the files read so far that cannot be decoded; a caller that reads a great many takes
            them out with `take_unreadable`.
    """

    files: list[str]
    inputs: Sequence[NetworkInput]
    unreadable: list[BadImageError] = field(default_factory=list)
    _max_values: Counter[int] = field(default_factory=Counter)

    def groups(self, start: int = 0) -> Iterator[list[tuple[str, tuple[Pixels, ...]]]]:
        """Yield groups of the files from `start` on: name and pixels, uint8 (S, S, 3) an input, of the readable ones.

        A group is of the next DECODE_GROUP files, so it may be short, or empty.
        """
        images = prefetch_map(self._read, islice(self.files, start, None), prefetch=DECODE_GROUP, chunk=1)
        while group := list(islice(images, DECODE_GROUP)):
            self.unreadable += [decoded for _, decoded in group if isinstance(decoded, BadImageError)]
            readable = [(file, decoded) for file, decoded in group if not isinstance(decoded, BadImageError)]
            self._max_values.update(value for _, (_, value) in readable if value is not None)
            yield [(file, pixels) for file, (pixels, _) in readable]

    def _read(self, file: str) -> tuple[str, tuple[tuple[Pixels, ...], int | None] | BadImageError]:
        """Return the pixels of a file for each input, and the highest value of 16 bits; or why it cannot be read."""
        try:
            content = read_bytes_and_stats(file)[0]
            pixels: list[Pixels] = []
            for wanted in self.inputs:
                size = (wanted.size, wanted.size)
                picture = decode(content, file, size, wanted.options)
                pixels.append(picture.resized(wanted.size))
            return file, (tuple(pixels), picture.max_value)
        except BadImageError as error:
            return file, error.with_traceback(None)  # which holds the file's bytes

    def take_unreadable(self) -> list[BadImageError]:
        """Return the errors since the last call, and forget them."""
        errors, self.unreadable = self.unreadable, []
        return errors

    def few_bits_warning(self) -> str | None:
        """Return a warning when pictures of 16 bits are nearly black, for want of `bits`; else None."""
        if any(wanted.bits is not None for wanted in self.inputs):
            return None
        warning = bit_depth.few_bits_warning(list(self._max_values.elements()))
        return warning.replace("dataset.bits", "bits") if warning else None

    def check_all_read(self) -> None:
        """Raise UserError that names every file that could not be read, if there are any."""
        if self.unreadable:
            lines = "\n".join(f"  {image}" for image in self.unreadable)
            raise UserError(f"{len(self.unreadable)} of {len(self.files)} files could not be read:\n{lines}")


@dataclass(frozen=True, eq=False)
class PredictedImage:
    """A file, its pixels for the reader's first input, uint8 (S, S, 3), and its probabilities, float32 (C,)."""

    file: str
    pixels: Pixels
    probabilities: npt.NDArray[np.float32]


def stacked(images: Sequence[tuple[Pixels, ...]]) -> list[Pixels]:
    """Return uint8 (B, S, S, 3) for each input of a reader, from the pixels of B images."""
    return [np.stack(of_input) for of_input in zip(*images, strict=True)]


def predicted_images(
    reader: ImageReader,
    probabilities: Callable[..., npt.NDArray[np.float32]],
    batch_size: int,
    advance: Callable[[int], None] = lambda images: None,
    start: int = 0,
) -> Iterator[list[PredictedImage]]:
    """Yield the predictions of every readable file, in order, a batch at a time.

    Args:
        reader: of the files.
        probabilities: images, uint8 (B, S, S, 3), for each input of the reader, to probabilities, float32 (B, C).
        batch_size: images that the network gets at once, at most.
        advance: called when every group has been taken, with the number of its files, unreadable ones included.
        start: how many files to skip.
    """
    done = start
    for group in reader.groups(start):
        for first in range(0, len(group), batch_size):
            batch = group[first : first + batch_size]
            rows = probabilities(*stacked([pixels for _, pixels in batch]))
            yield [PredictedImage(file, pixels[0], row) for (file, pixels), row in zip(batch, rows, strict=True)]
        files = min(DECODE_GROUP, len(reader.files) - done)
        done += files
        advance(files)
