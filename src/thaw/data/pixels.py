"""The pixels of all images that a run needs: a file is decoded once, ever, and memory stays flat."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from PIL import Image

from thaw.cache import DiskCache
from thaw.common.errors import UserError
from thaw.data import quarantine
from thaw.data.cache_spaces import OVERHEAD_BYTES, CacheSpaces, plan_spaces
from thaw.data.catalog import Catalog
from thaw.data.decode import DEFAULT_OPTIONS, DecodeOptions, resize
from thaw.data.pixel_stores import ArrayStore, CacheStore, Images, MemoryStore, PixelStore, SourceFiles
from thaw.data.probe import check_unchanged
from thaw.data.scan import ScanResult, scan_catalog


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
    stat_hashes: tuple[str, ...]  # N, of the files before the scan read them; of arrays none
    pixel_store: PixelStore
    decode_options: DecodeOptions = DEFAULT_OPTIONS  # of decoding

    @property
    def cache_bytes(self) -> int:
        """Bytes of the cache's budget that are spoken for: pixels where they are kept there, and what is known."""
        about = OVERHEAD_BYTES * len(self.indices)
        if not isinstance(self.pixel_store, CacheStore):
            return about
        widths, heights = self.widths.astype(np.int64), self.heights.astype(np.int64)
        small = np.maximum(widths, heights) <= self.image_size
        return about + 3 * int(np.where(small, widths * heights, self.image_size**2).sum())

    def get(self, index: int) -> Images:
        """Return one image, uint8 (S, S, 3), RGB, 0-255."""
        return self.take(np.array([index]))[0]

    def take(self, indices: npt.NDArray[np.int64]) -> Images:
        """Return images, uint8 (len(indices), S, S, 3), RGB, 0-255.

        The first call decodes, in threads, whatever of all N images the cache should hold and does not. Raises
        IndexError for an image that was not read, and UserError for a file that has changed or vanished since.
        """
        rows = self._rows(indices)
        return self._fitted(self.pixel_store.take(rows), len(rows))

    def sample(self, indices: npt.NDArray[np.int64]) -> Images:
        """Return images as `take` does, without decoding any other: for a look at a few of many."""
        rows = self._rows(indices)
        return self._fitted(self.pixel_store.sample(rows), len(rows))

    def digests(self, indices: npt.NDArray[np.int64]) -> list[str]:
        """Return the images' sha256, in hexadecimal: equal content has equal digests. Raises as `take` does."""
        return [self.sha256[row] for row in self._rows(indices)]

    def check_unchanged(self) -> None:
        """Raise UserError when a file has changed or vanished since the scan, wherever its pixels are taken from.

        What was only touched is read and compared; of all others no byte is read.
        """
        if self.catalog.paths is not None:
            paths = [self.catalog.paths[index] for index in self.indices.tolist()]
            check_unchanged(zip(paths, self.stat_hashes, self.sha256, strict=True))

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


def from_catalog(
    catalog: Catalog, indices: npt.NDArray[np.int64], image_size: int, store: DiskCache | None = None
) -> Pixels:
    """Scan the images at `indices`, to be handed out as (image_size, image_size); every one must be sound.

    Raises UserError that lists the images which cannot be read: all at once, not one a run.
    """
    indices = np.unique(indices).astype(np.int64)
    kept = plan_spaces(store, image_size, len(indices))
    found = scan_catalog(catalog.subset(indices), kept)
    if found.bad_files:
        raise UserError(quarantine.bad_files_error(found))
    own = from_scan(found, np.arange(len(indices)), kept)
    if catalog.arrays is not None:
        return replace(own, catalog=catalog, indices=indices, pixel_store=ArrayStore(catalog.arrays, indices))
    return replace(own, catalog=catalog, indices=indices)


def from_scan(scanned: ScanResult, indices: npt.NDArray[np.int64], spaces: CacheSpaces) -> Pixels:
    """Return the images at `indices` of what was scanned; `kept` is what the scan was given, or of the same store.

    What the cache holds of them is not decoded. Of others the pixels are kept in the cache if those of all images fit
    into its budget, otherwise in memory up to `shelves.HELD_BYTES`. No file is touched before an image is taken.
    """
    indices = np.unique(indices).astype(np.int64)
    catalog = scanned.catalog
    sha256 = tuple(scanned.sha256[index] for index in indices.tolist())
    stamps = tuple(scanned.stat_hashes[index] for index in indices.tolist()) if scanned.stat_hashes else ()
    widths, heights = np.ascontiguousarray(scanned.sizes[indices].T)
    shelf = _shelf(catalog, indices, sha256, spaces)
    return Pixels(catalog, indices, spaces.image_size, widths, heights, sha256, stamps, shelf, spaces.decode_options)


def _shelf(catalog: Catalog, indices: npt.NDArray[np.int64], sha256: tuple[str, ...], kept: CacheSpaces) -> PixelStore:
    if catalog.arrays is not None:
        return ArrayStore(catalog.arrays, indices)
    assert catalog.paths is not None  # the catalog holds one of both
    files = SourceFiles(
        tuple(catalog.paths[index] for index in indices.tolist()), sha256, kept.image_size, kept.decode_options
    )
    return MemoryStore(files, kept.buffer) if kept.pixels is None else CacheStore(files, kept.pixels)
