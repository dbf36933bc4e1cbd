"""The pixels of all images that a run needs, decoded once."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from thaw.data import scan
from thaw.data.catalog import Catalog
from thaw.data.decode import BadImage, resize
from thaw.errors import UserError

Images = npt.NDArray[np.uint8]

SHOWN = 20  # bad images that an error lists


@dataclass(frozen=True, eq=False)
class Pixels:
    """Images by their index in the catalog, all of one size; N of them were read.

    They are held in memory when they fit, and decoded anew at each access when not; who asks sees no difference.
    """

    catalog: Catalog
    indices: npt.NDArray[np.int64]  # int64 (N,), ascending
    size: tuple[int, int]  # (height, width) of every image handed out, in pixels
    held: Images | None  # uint8 (N, height, width, 3), RGB, 0-255; None: too many to hold
    widths: npt.NDArray[np.int32]  # int32 (N,): of the picture as it is stored
    heights: npt.NDArray[np.int32]  # int32 (N,)
    sha256: tuple[str, ...]  # N hashes: of the file's bytes, or of the array's

    def get(self, index: int) -> Images:
        """Return one image, uint8 (height, width, 3)."""
        return self.take(np.array([index]))[0]

    def take(self, indices: npt.NDArray[np.int64]) -> Images:
        """Return images, uint8 (len(indices), height, width, 3); raises IndexError for one that was not read."""
        rows = np.searchsorted(self.indices, indices)
        if not np.array_equal(self.indices[np.minimum(rows, len(self.indices) - 1)], indices):
            raise IndexError("an image was asked for that was not read")
        if self.held is not None:
            return self.held[rows]
        return np.stack([_fitted(np.asarray(scan.image(self.catalog, i)), self.size) for i in indices])


def read(catalog: Catalog, indices: npt.NDArray[np.int64], image_size: int, max_bytes: float = 4e9) -> Pixels:
    """Read, check and decode the images at `indices`, each once.

    When all of them have one size that fits into `image_size` they are kept as they are (CIFAR's 32x32 are enlarged
    batch by batch: a 25th of the memory at 160), otherwise they are brought to (image_size, image_size). More than
    `max_bytes` is not held. Raises UserError that lists the images which cannot be read: all at once, not one a run.
    """
    indices = np.unique(indices).astype(np.int64)
    shelf = _Shelf(len(indices), image_size, max_bytes)
    widths, heights = np.zeros((2, len(indices)), np.int32)
    hashes: list[str] = []
    bad: list[BadImage] = []
    for row, seen in enumerate(scan.scan(catalog, indices.tolist(), image_size)):
        if isinstance(seen, BadImage):
            bad.append(seen)
            continue
        widths[row], heights[row] = seen.width, seen.height
        hashes.append(seen.sha256)
        shelf.put(row, seen.pixels)
    if bad:
        raise UserError(_unreadable(bad, len(indices)))
    return Pixels(catalog, indices, shelf.size, shelf.images, widths, heights, tuple(hashes))


def _unreadable(bad: list[BadImage], total: int) -> str:
    listing = "".join(f"\n  {image}" for image in bad[:SHOWN])
    more = f"\n  and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
    return (
        f"{len(bad)} of {total} images cannot be read:{listing}{more}\n"
        "Repair, replace or remove them and run again; thaw never changes or deletes your files"
    )


class _Shelf:
    """Room for n images, of the first one's size for as long as all have it, then of (image_size, image_size)."""

    def __init__(self, n: int, image_size: int, max_bytes: float) -> None:
        self._n, self._full, self._max_bytes = n, (image_size, image_size), max_bytes
        self._size: tuple[int, int] | None = None
        self.images: Images | None = None

    @property
    def size(self) -> tuple[int, int]:
        return self._size or self._full

    def put(self, row: int, pixels: Images) -> None:
        """Keep one image, (h, w, 3) and at most image_size on a side; rows come in ascending order."""
        size = pixels.shape[:2]
        if self._size is None:
            self._build(size)
        elif size != self._size != self._full:
            self._rebuild(row)
        if self.images is not None:
            self.images[row] = _fitted(pixels, self.size)

    def _build(self, size: tuple[int, int]) -> None:
        shape = (self._n, *size, 3)
        self._size = size
        self.images = np.empty(shape, np.uint8) if np.prod(shape, dtype=float) <= self._max_bytes else None

    def _rebuild(self, rows: int) -> None:
        """Bring the `rows` images kept so far to the full size; they were kept as they are, so nothing is lost."""
        kept = self.images
        self._build(self._full)
        if kept is not None and self.images is not None:
            for row in range(rows):
                self.images[row] = _fitted(kept[row], self._full)


def _fitted(pixels: Images, size: tuple[int, int]) -> Images:
    """Return the image with `size` (height, width)."""
    if pixels.shape[:2] == size:
        return pixels
    return np.asarray(resize(Image.fromarray(pixels), (size[1], size[0])))
