"""The pixels of all images that a run needs: each file is decoded once, ever, and memory stays flat."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from PIL import Image

from thaw.cache import DiskCache
from thaw.common.errors import UserError
from thaw.common.parallel import ShardWorkers
from thaw.data import quarantine
from thaw.data.catalog import Catalog
from thaw.data.dataset_cache import OVERHEAD_BYTES, DatasetCache, plan_spaces
from thaw.data.decode import DEFAULT_OPTIONS, DecodeOptions, resize
from thaw.data.pixel_stores import ArrayStore, CacheStore, Images, MemoryStore, PixelStore, SourceFiles
from thaw.data.probe import check_files_unchanged
from thaw.data.scan import ScanResult, scan_catalog

# What a part of the images that another process computes is not told: names and labels.
_UNNAMED = Catalog((), (), None, np.empty(0, np.int32), (), np.empty(0, np.int8))


@dataclass(frozen=True, eq=False)
class Pixels:
    """N images by their index in the catalog, all of one size, wherever they are stored. Threads may share it."""

    catalog: Catalog
    indices: npt.NDArray[np.int64]  # int64 (N,), ascending
    image_size: int  # S, the side of every image returned, in pixels
    widths: npt.NDArray[np.int32]  # int32 (N,): upright, in pixels of the file
    heights: npt.NDArray[np.int32]  # int32 (N,)
    sha256: tuple[str, ...]  # N, of the file's bytes, or of the array's
    stat_hashes: tuple[str, ...]  # N, of the files before the scan read them; of arrays none
    pixel_store: PixelStore
    decode_options: DecodeOptions = DEFAULT_OPTIONS

    @property
    def cache_bytes(self) -> int:
        """Bytes of the cache's budget that these images need: for their pixels if stored there, and the overhead."""
        overhead = OVERHEAD_BYTES * len(self.indices)
        if not isinstance(self.pixel_store, CacheStore):
            return overhead
        widths, heights = self.widths.astype(np.int64), self.heights.astype(np.int64)
        if self.decode_options.resize == "crop":
            widths = heights = np.minimum(widths, heights)
        elif self.decode_options.resize == "pad":
            widths = heights = np.maximum(widths, heights)
        small = np.maximum(widths, heights) <= self.image_size
        return overhead + 3 * int(np.where(small, widths * heights, self.image_size**2).sum())

    def get(self, index: int) -> Images:
        """Return one image, uint8 (S, S, 3), RGB, 0-255."""
        return self.take(np.array([index]))[0]

    def take(self, indices: npt.NDArray[np.int64]) -> Images:
        """Return images, uint8 (len(indices), S, S, 3), RGB, 0-255.

        The first call decodes, in threads, all of the N images that the cache should hold and lacks.

        Raises:
            IndexError: An index is not among `self.indices`.
            UserError: A file has changed or vanished since the scan.
        """
        rows = self._rows(indices)
        return self._resized(self.pixel_store.take(rows), len(rows))

    def sample(self, indices: npt.NDArray[np.int64]) -> Images:
        """Return what `take` does without decoding any other image: for a few of many."""
        rows = self._rows(indices)
        return self._resized(self.pixel_store.sample(rows), len(rows))

    def digests(self, indices: npt.NDArray[np.int64]) -> list[str]:
        """Return the images' sha256 in hexadecimal; raises IndexError as `take` does."""
        return [self.sha256[row] for row in self._rows(indices)]

    def decode_missing(self) -> None:
        """Decode all images that the cache should hold and lacks; those that it holds are not read."""
        if isinstance(self.pixel_store, CacheStore):
            self.pixel_store.decode_missing()

    def part(self, indices: npt.NDArray[np.int64]) -> "Pixels":
        """Return these images alone, to be sent to another process and asked for there by their place in `indices`.

        Pixels that are stored are sent; other images are decoded there, from their files. Files are not compared with
        what they were.
        """
        rows = self._rows(indices)
        return Pixels(
            catalog=_UNNAMED,
            indices=np.arange(len(rows)),
            image_size=self.image_size,
            widths=self.widths[rows],
            heights=self.heights[rows],
            sha256=tuple(self.sha256[row] for row in rows),
            stat_hashes=(),
            pixel_store=self.pixel_store.part(rows),
            decode_options=self.decode_options,
        )

    def check_unchanged(self) -> None:
        """Raise UserError when a file has changed or vanished since the scan, even if its pixels are stored.

        Only files whose stat has changed are read.
        """
        if self.catalog.paths is not None:
            paths = [self.catalog.paths[index] for index in self.indices]
            check_files_unchanged(zip(paths, self.stat_hashes, self.sha256, strict=True))

    def _rows(self, indices: npt.NDArray[np.int64]) -> list[int]:
        rows = np.searchsorted(self.indices, indices)
        if not np.array_equal(self.indices[np.minimum(rows, len(self.indices) - 1)], indices):
            raise IndexError("an image was asked for that was not read")
        return rows.tolist()

    def _resized(self, images: Iterable[Images], n: int) -> Images:
        """Return all as (n, S, S, 3). Small ones are stored as they are: CIFAR's take a 50th of that."""
        batch = np.empty((n, self.image_size, self.image_size, 3), np.uint8)
        for target, image in zip(batch, images, strict=True):
            fits = image.shape == target.shape
            target[:] = image if fits else np.asarray(resize(Image.fromarray(image), target.shape[:2]))
        return batch


def of_catalog(
    catalog: Catalog, indices: npt.NDArray[np.int64], image_size: int, store: DiskCache | None = None
) -> Pixels:
    """Scan the images of a catalog at `indices` and return their pixels; raises UserError that lists all bad files."""
    indices = np.unique(indices).astype(np.int64)
    spaces = plan_spaces(store, image_size, len(indices))
    scanned = scan_catalog(catalog.subset(indices), spaces)
    if scanned.bad_files:
        raise UserError(quarantine.bad_files_error(scanned))
    pixels = of_scan(scanned, np.arange(len(indices)), spaces)
    if catalog.arrays is not None:
        pixels = replace(pixels, pixel_store=ArrayStore(catalog.arrays, indices))
    return replace(pixels, catalog=catalog, indices=indices)


def of_scan(
    scanned: ScanResult,
    indices: npt.NDArray[np.int64],
    spaces: DatasetCache,
    workers: ShardWorkers | None = None,
) -> Pixels:
    """Return the pixels of scanned images at `indices`; no file is touched before an image is taken.

    Images that the cache holds are not decoded. Others are stored there if all fit into its budget, otherwise held in
    memory up to `pixel_stores.MAX_BUFFER_BYTES`.

    Args:
        scanned: The images.
        indices: Into `scanned.catalog`.
        spaces: Those that the scan was given, or others of the same cache.
        workers: Processes that decode what the cache lacks; None: this one does.
    """
    indices = np.unique(indices).astype(np.int64)
    catalog = scanned.catalog
    sha256 = tuple(scanned.sha256[index] for index in indices)
    stat_hashes = tuple(scanned.stat_hashes[index] for index in indices) if scanned.stat_hashes else ()
    widths, heights = np.ascontiguousarray(scanned.sizes[indices].T)
    size, options = spaces.image_size, spaces.decode_options
    store: PixelStore
    if catalog.arrays is not None:
        store = ArrayStore(catalog.arrays, indices)
    else:
        assert catalog.paths is not None  # a catalog has one of both
        files = SourceFiles(tuple(catalog.paths[index] for index in indices), sha256, size, options)
        if spaces.pixels is None:
            store = MemoryStore(files, spaces.buffer)
        else:
            store = CacheStore(files, spaces.pixels, workers)
    return Pixels(catalog, indices, size, widths, heights, sha256, stat_hashes, store, options)
