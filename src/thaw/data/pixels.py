"""The pixels of all images that a run needs: a file is decoded once, ever, and memory stays flat."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from thaw.cache import Store
from thaw.data.catalog import Catalog
from thaw.data.decode import BadImage, resize
from thaw.data.kept import Kept, spaces
from thaw.data.look import Seen, look_at
from thaw.data.shelves import Arrays, Disk, Files, Held, Images, Memory, Shelf
from thaw.data.threads import counted, in_order
from thaw.errors import UserError

SHOWN = 20  # bad images that an error lists
CHUNK, CHUNK_BYTES = 8192, 128e6  # files and their pixels, committed to the cache in one go; what Ctrl-C loses at most


@dataclass(frozen=True, eq=False)
class Pixels:
    """Images by their index in the catalog, all of one size; N of them were read. Threads may share it.

    They lie in the catalog, in the cache or in memory, or are decoded at each access; who asks sees no difference.
    """

    catalog: Catalog
    indices: npt.NDArray[np.int64]  # int64 (N,), ascending
    image_size: int  # S, the side of every image handed out, in pixels
    widths: npt.NDArray[np.int32]  # int32 (N,): of the upright picture as it is stored
    heights: npt.NDArray[np.int32]  # int32 (N,)
    sha256: tuple[str, ...]  # N hashes: of the file's bytes, or of the array's
    shelf: Shelf

    def get(self, index: int) -> Images:
        """Return one image, uint8 (S, S, 3), RGB, 0-255."""
        return self.take(np.array([index]))[0]

    def take(self, indices: npt.NDArray[np.int64]) -> Images:
        """Return images, uint8 (len(indices), S, S, 3), RGB, 0-255.

        The first call decodes, in threads, whatever of all N images the cache should hold and does not. Raises
        IndexError for an image that was not read, and UserError for a file that has changed or vanished since.
        """
        rows = self._rows(indices)
        return self._fitted(self.shelf.take(rows), len(rows))

    def sample(self, indices: npt.NDArray[np.int64]) -> Images:
        """Return images as `take` does, without decoding any other: for a look at a few of many."""
        rows = self._rows(indices)
        return self._fitted(self.shelf.sample(rows), len(rows))

    def digests(self, indices: npt.NDArray[np.int64]) -> list[str]:
        """Return the images' sha256, in hexadecimal: equal content has equal digests. Raises as `take` does."""
        return [self.sha256[row] for row in self._rows(indices)]

    def _rows(self, indices: npt.NDArray[np.int64]) -> list[int]:
        rows = np.searchsorted(self.indices, indices)
        if not np.array_equal(self.indices[np.minimum(rows, len(self.indices) - 1)], indices):
            raise IndexError("an image was asked for that was not read")
        return rows.tolist()

    def _fitted(self, images: Iterable[Images], n: int) -> Images:
        """Bring all to (S, S): small ones are kept as they are stored, CIFAR's at a 50th of the space they need."""
        full = np.empty((n, self.image_size, self.image_size, 3), np.uint8)
        for place, image in zip(full, images, strict=True):
            fits = image.shape == place.shape
            place[:] = image if fits else np.asarray(resize(Image.fromarray(image), place.shape[:2]))
        return full


def read(catalog: Catalog, indices: npt.NDArray[np.int64], image_size: int, store: Store | None = None) -> Pixels:
    """Hash and check the images at `indices`, to be handed out as (image_size, image_size).

    A file whose hash `store` knows to be a sound picture is not decoded. Any other is, and its pixels are kept in the
    store if those of all images fit into its budget, otherwise in memory up to `shelves.HELD_BYTES`. Without a store
    nothing is kept on disk. Raises UserError that lists the images which cannot be read: all at once, not one a run.
    """
    indices = np.unique(indices).astype(np.int64)
    if catalog.arrays is not None:
        return _of_arrays(catalog, catalog.arrays, indices, image_size)
    return _of_files(catalog, indices, image_size, store)


def _of_arrays(catalog: Catalog, arrays: Images, indices: npt.NDArray[np.int64], image_size: int) -> Pixels:
    def sha256(index: int) -> str:
        return hashlib.sha256(arrays[index].tobytes()).hexdigest()

    hashes = tuple(counted(in_order(sha256, indices.tolist()), "hashing images", len(indices)))
    heights, widths = (np.full(len(indices), side, np.int32) for side in arrays.shape[1:3])
    return Pixels(catalog, indices, image_size, widths, heights, hashes, Arrays(arrays, indices))


def _of_files(catalog: Catalog, indices: npt.NDArray[np.int64], image_size: int, store: Store | None) -> Pixels:
    assert catalog.paths is not None  # the catalog holds one of both
    paths = tuple(catalog.paths[index] for index in indices.tolist())
    kept = spaces(store, image_size, len(paths))
    held = Held()
    hashes, sizes = _look(paths, image_size, kept, held)
    files = Files(paths, hashes, image_size)
    known = np.flatnonzero(sizes[:, 0] == 0)  # not decoded, because they have a verdict
    if len(known):
        sizes[known] = kept.sizes([hashes[row] for row in known], lambda i: files.decode(known[i]))
    shelf = Memory(files, held) if kept.pixels is None else Disk(files, kept.pixels)
    widths, heights = np.ascontiguousarray(sizes.T)
    return Pixels(catalog, indices, image_size, widths, heights, hashes, shelf)


def _look(
    paths: Sequence[str], image_size: int, kept: Kept, held: Held
) -> tuple[tuple[str, ...], npt.NDArray[np.int32]]:
    """Return every file's hash, and int32 (N, 2) [width, height] of those that were decoded, 0 of the others.

    Keeps what was decoded: in the cache, or `held` when that has no room for pixels.
    """
    hashes = [""] * len(paths)
    sizes = np.zeros((len(paths), 2), np.int32)
    bad: list[BadImage] = []
    for chunk in _chunks(counted(look_at(paths, image_size, kept.unknown), "checking images", len(paths))):
        for row, looked in chunk:
            if isinstance(looked, BadImage):
                bad.append(looked)
                continue
            hashes[row] = looked.sha256
            if looked.decoded is not None:
                sizes[row] = looked.decoded.width, looked.decoded.height
                if kept.pixels is None:
                    held.put(row, looked.decoded.pixels)
        kept.add(looked for _, looked in chunk if isinstance(looked, Seen))
    if bad:
        raise UserError(_unreadable(bad, len(paths)))
    return tuple(hashes), sizes


def _chunks(looked: Iterable[Seen | BadImage]) -> Iterator[list[tuple[int, Seen | BadImage]]]:
    """Gather what was looked at, with its row, until it is worth a commit."""
    chunk: list[tuple[int, Seen | BadImage]] = []
    total = 0
    for row, one in enumerate(looked):
        chunk.append((row, one))
        total += one.decoded.pixels.nbytes if isinstance(one, Seen) and one.decoded is not None else 0
        if len(chunk) == CHUNK or total > CHUNK_BYTES:
            yield chunk
            chunk, total = [], 0
    yield chunk


def _unreadable(bad: list[BadImage], total: int) -> str:
    listing = "".join(f"\n  {image}" for image in bad[:SHOWN])
    more = f"\n  and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
    return (
        f"{len(bad)} of {total} images cannot be read:{listing}{more}\n"
        "Repair, replace or remove them and run again; thaw never changes or deletes your files"
    )
