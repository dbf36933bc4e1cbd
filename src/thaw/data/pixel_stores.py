"""Where the pixels of a run's images are: in the catalog's arrays, in the cache, or in memory and the files."""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

import numpy as np
import numpy.typing as npt

from thaw.cache import CachedRows, CacheFull, RowStore
from thaw.common.console import say
from thaw.common.parallel import SHARD_IMAGES, ShardWorkers, prefetch_map, with_progress
from thaw.data.decode import DEFAULT_OPTIONS, DecodeOptions
from thaw.data.probe import check_folder_is_visible, reprobe

Images = npt.NDArray[np.uint8]

MAX_BUFFER_BYTES = 1e9  # of decoded pixels in memory


class PixelStore(Protocol):
    """Images by their row, each uint8 (h, w, 3) of any size. Several threads may ask at a time."""

    def take(self, rows: Sequence[int]) -> Iterable[Images]:
        """Yield the images of these rows."""

    def sample(self, rows: Sequence[int]) -> Iterable[Images]:
        """Yield the images of these rows without preparing any other: for a few of many."""

    def part(self, rows: Sequence[int]) -> "PixelStore":
        """Return a store of these rows alone that can be sent to another process."""


@dataclass(frozen=True, eq=False)
class ListStore:
    """Images one by one: a part of another store, in the process that it was sent to."""

    images: list[Images]

    def take(self, rows: Sequence[int]) -> Iterable[Images]:
        """Yield the images of these rows."""
        return (self.images[row] for row in rows)

    sample = take

    def part(self, rows: Sequence[int]) -> "ListStore":
        """Return a store of these rows alone."""
        return ListStore([self.images[row] for row in rows])


@dataclass(frozen=True, eq=False)
class ArrayStore:
    """Images in the catalog's arrays: those of CIFAR-10 and digits."""

    images: Images  # uint8 (M, h, w, 3), all of the catalog's
    indices: npt.NDArray[np.int64]  # int64 (N,): each row's index in `images`

    def take(self, rows: Sequence[int]) -> Iterable[Images]:
        """Yield the images of these rows."""
        return (self.images[self.indices[row]] for row in rows)

    sample = take

    def part(self, rows: Sequence[int]) -> ListStore:
        """Return a store of these rows alone."""
        return ListStore(list(self.take(rows)))


@dataclass(frozen=True)
class SourceFiles:
    """The files of N rows, and the content that the scan read from them."""

    paths: tuple[str, ...]
    sha256: tuple[str, ...]
    image_size: int
    options: DecodeOptions = DEFAULT_OPTIONS

    def decode(self, row: int) -> Images:
        """Return a row's image, (h, w, 3), at most image_size; raises UserError when its file has changed."""
        probe = reprobe(self.paths[row], self.image_size, self.sha256[row], self.options)
        assert probe.pixels is not None  # content of this hash is sound
        return probe.pixels

    def part(self, rows: Sequence[int]) -> "SourceFiles":
        """Return the files of these rows alone."""
        paths, sha256 = (tuple(column[row] for row in rows) for column in (self.paths, self.sha256))
        return SourceFiles(paths, sha256, self.image_size, self.options)

    def check_visible(self) -> None:
        """Raise UserError when this machine has no such folder as the files lie in."""
        check_folder_is_visible(self.paths)


def decode_shard(_: None, files: SourceFiles, threads: int) -> list[Images]:
    """Return the images of a shard's files, in a process of `ShardWorkers`."""
    files.check_visible()
    return list(prefetch_map(files.decode, range(len(files.paths)), threads=threads))


class MemoryBuffer:
    """Pixels in memory by their file's sha256, until they exceed `MAX_BUFFER_BYTES`: then it stays empty.

    A part of a large data set would take a gigabyte and save few decodes.
    """

    def __init__(self) -> None:
        self._images: dict[str, Images] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    def put(self, sha256: str, image: Images) -> None:
        """Hold an image, or drop all when it is one too many."""
        with self._lock:
            if sha256 not in self._images and self._bytes <= MAX_BUFFER_BYTES:
                self._bytes += image.nbytes
                self._images[sha256] = image
                if self._bytes > MAX_BUFFER_BYTES:
                    self._images.clear()

    def get(self, sha256: str) -> Images | None:
        """Return an image, or None when it is not held."""
        return self._images.get(sha256)

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return MemoryBuffer, ()  # another process begins with an empty one


@dataclass(frozen=True)
class MemoryStore:
    """Images in memory; those that the buffer does not hold are decoded at each access."""

    files: SourceFiles
    buffer: MemoryBuffer

    def take(self, rows: Sequence[int]) -> Iterable[Images]:
        """Yield the images of these rows."""
        return map(self._image, rows)

    sample = take

    def part(self, rows: Sequence[int]) -> "MemoryStore":
        """Return a store of these rows alone, without what the buffer holds of them: it decodes their files."""
        return MemoryStore(self.files.part(rows), MemoryBuffer())

    def _image(self, row: int) -> Images:
        image = self.buffer.get(self.files.sha256[row])
        if image is None:
            image = self.files.decode(row)
            self.buffer.put(self.files.sha256[row], image)
        return image


class CacheStore:
    """Images in a space of the cache; `take` first decodes all that are missing there.

    Where the space has no room for them, it does as `MemoryStore`. workers: decode, if there are any.
    """

    def __init__(self, files: SourceFiles, space: RowStore, workers: ShardWorkers | None = None) -> None:
        self._files, self._space, self._workers = files, space, workers
        self._opened: CachedRows | MemoryStore | None = None
        self._lock = threading.Lock()

    def take(self, rows: Sequence[int]) -> Iterable[Images]:
        """Yield the images of these rows; the first call decodes what the space lacks of all rows."""
        opened = self._open()
        return opened.take(rows) if isinstance(opened, MemoryStore) else (_image(opened, row) for row in rows)

    def sample(self, rows: Sequence[int]) -> Iterable[Images]:
        """Yield the images of these rows, decoding at most these."""
        if self._opened is not None:
            return self.take(rows)
        cached = self._space.get([self._files.sha256[row] for row in rows])
        if cached is None:
            return map(self._files.decode, rows)
        return (_image(cached, position) for position in range(len(rows)))

    def decode_missing(self) -> None:
        """Decode all rows that the space lacks; those that it holds are not read."""
        if self._space.missing(self._files.sha256):
            self._open()

    def part(self, rows: Sequence[int]) -> PixelStore:
        """Return a store of these rows alone, with their pixels."""
        opened = self._open()
        if isinstance(opened, MemoryStore):
            return opened.part(rows)
        return ListStore([_image(opened, row) for row in rows])

    def _open(self) -> "CachedRows | MemoryStore":
        with self._lock:  # the first thread fills the space, the others wait for it
            if self._opened is None:
                try:
                    self._opened = self._space.get_or_compute(self._files.sha256, self._decode)
                except CacheFull as error:
                    say(f"decoded images are not kept: {error}")
                    self._opened = MemoryStore(self._files, MemoryBuffer())
            return self._opened

    def _decode(self, rows: list[int]) -> Iterable[Images]:
        images: Iterable[Images] = prefetch_map(self._files.decode, rows)
        if self._workers is not None:
            shards = (self._files.part(rows[i : i + SHARD_IMAGES]) for i in range(0, len(rows), SHARD_IMAGES))
            images = chain.from_iterable(self._workers.map(decode_shard, None, shards))
        return with_progress(images, "decoding images", len(rows), "images")


def _image(rows: CachedRows, position: int) -> Images:
    return rows.row(position).reshape(rows.shape(position))
