"""Image files, found and decoded in order, and run on a network while the next ones are decoded."""

import glob
from collections import Counter
from collections.abc import Callable, Iterator
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
from thaw.data.file_bytes import BadImageError
from thaw.data.image_folder import is_image_name, walk_visible_folders

DECODE_GROUP = 64  # images that are decoded, in threads, while the network runs on as many

Pixels = npt.NDArray[np.uint8]


def find_images(images: Any) -> list[str]:
    """Return the files that `images=` names, each once: a file, a folder, a pattern in quotes, or a list of these.

    Of a folder, these are the images at any depth that training would read. Raises UserError when there are none.
    """
    if images is None:
        raise UserError(
            "images= is missing: images=lion.jpg, images=FOLDER, or a pattern in quotes, images='photos/*.jpg'"
        )
    files: list[str] = []
    for entry in images if isinstance(images, list) else [images]:
        path = Path(str(entry)).expanduser()
        if path.is_dir():
            folders = walk_visible_folders(path, Counter())
            images_inside = (Path(folder) / name for folder, names in folders for name in names if is_image_name(name))
            matches = sorted(map(str, images_inside))
        elif path.exists():
            matches = [str(path)]
        else:
            matches = sorted(name for name in glob.glob(str(path), recursive=True) if Path(name).is_file())  # noqa: PTH207
        if not matches:
            raise UserError(f"images={entry} matches no file. Give a file, a folder, or a pattern in quotes")
        files += matches
    return list(dict.fromkeys(files))


@dataclass
class ImageReader:
    """Decodes files as training does, in threads ahead of who reads them.

    Attributes:
        files: in the order in which they are read.
        size: side of the network's square input in pixels.
        bits: as `dataset.bits`.
        unreadable: the errors of the files read so far that cannot be decoded.
    """

    files: list[str]
    size: int
    bits: int | None = None
    unreadable: list[BadImageError] = field(default_factory=list)
    _max_values: list[int | None] = field(default_factory=list)

    def groups(self, start: int = 0) -> Iterator[list[tuple[str, Pixels]]]:
        """Yield groups of the files from `start` on: name and pixels, uint8 (S, S, 3), of those that can be read.

        A group is of the next DECODE_GROUP files, so it may be short, or empty.
        """
        images = prefetch_map(self._read, self.files[start:], prefetch=DECODE_GROUP, chunk=1)
        while group := list(islice(images, DECODE_GROUP)):
            self.unreadable += [image for _, image in group if isinstance(image, BadImageError)]
            yield [(file, image) for file, image in group if not isinstance(image, BadImageError)]

    def _read(self, file: str) -> tuple[str, Pixels | BadImageError]:
        try:
            picture = decode(file, size=(self.size, self.size), options=DecodeOptions(self.bits))
            self._max_values.append(picture.max_value)
            return file, picture.resized(self.size)
        except BadImageError as error:
            return file, error

    def few_bits_warning(self) -> str | None:
        """Return a warning when pictures of 16 bits are nearly black, for want of `bits`; else None."""
        warning = None if self.bits is not None else bit_depth.few_bits_warning(self._max_values)
        return warning.replace("dataset.bits", "bits") if warning else None

    def check_all_read(self) -> None:
        """Raise UserError that names every file that could not be read, if there are any."""
        if self.unreadable:
            lines = "\n".join(f"  {image}" for image in self.unreadable)
            raise UserError(f"{len(self.unreadable)} of {len(self.files)} files could not be read:\n{lines}")


@dataclass(frozen=True, eq=False)
class PredictedImage:
    """A file, its pixels as the network sees them, uint8 (S, S, 3), and its probabilities, float32 (C,)."""

    file: str
    pixels: Pixels
    probabilities: npt.NDArray[np.float32]


def predicted_images(
    reader: ImageReader,
    probabilities: Callable[[Pixels], npt.NDArray[np.float32]],
    batch_size: int,
    advance: Callable[[int], None] = lambda images: None,
) -> Iterator[list[PredictedImage]]:
    """Yield the predictions of every readable file, in order, a batch at a time.

    Args:
        reader: of the files.
        probabilities: images, uint8 (B, S, S, 3), to probabilities, float32 (B, C).
        batch_size: images that the network gets at once, at most.
        advance: called after every group with the number of its files, unreadable ones included.
    """
    done = 0
    for group in reader.groups():
        for start in range(0, len(group), batch_size):
            batch = group[start : start + batch_size]
            rows = probabilities(np.stack([image for _, image in batch]))
            yield [PredictedImage(file, image, row) for (file, image), row in zip(batch, rows, strict=True)]
        files = min(DECODE_GROUP, len(reader.files) - done)
        done += files
        advance(files)
