"""Where the pixels of a run's images lie: in the catalog, on disk, or in memory with the files behind it."""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from thaw.cache import CachedRows, CacheFull, CacheSpace
from thaw.common.console import say
from thaw.common.parallel import prefetch_map, with_progress
from thaw.data.decode import DEFAULT_OPTIONS, DecodeOptions
from thaw.data.probe import reprobe

Images = npt.NDArray[np.uint8]

MAX_BUFFER_BYTES = 1e9  # of decoded pixels in memory


class PixelStore(Protocol):
    """Images by their row, each uint8 (h, w, 3), of any size; several threads may ask at a time."""

    def take(self, rows: Sequence[int]) -> Iterable[Images]: ...

    def sample(self, rows: Sequence[int]) -> Iterable[Images]:
        """As `take`, for a few images of many: nothing is prepared for the others."""


@dataclass(frozen=True, eq=False)
class ArrayStore:
    """Images that are in memory anyway."""

    images: Images  # uint8 (M, h, w, 3), all of the catalog's
    indices: npt.NDArray[np.int64]  # (N,), where each row's image lies

    def take(self, rows: Sequence[int]) -> Iterable[Images]:
        return (self.images[self.indices[row]] for row in rows)

    sample = take


@dataclass(frozen=True)
class SourceFiles:
    """The files that rows were decoded from, and what of them was true then."""

    paths: tuple[str, ...]
    sha256: tuple[str, ...]
    image_size: int
    options: DecodeOptions = DEFAULT_OPTIONS

    def decode(self, row: int) -> Images:
        """Decode one anew: (h, w, 3), no side over image_size; raises UserError when the file changed or vanished."""
        seen = reprobe(self.paths[row], self.image_size, self.sha256[row], self.options)
        assert seen.pixels is not None  # what has this hash is sound
        return seen.pixels


class MemoryBuffer:
    """Pixels in memory, as long as all of them together do not exceed `HELD_BYTES`; then none are, for good.

    A share of a large data set would cost a gigabyte and spare few decodes.
    """

    def __init__(self) -> None:
        self._images: dict[str, Images] = {}  # by the sha256 of their files
        self._bytes = 0
        self._lock = threading.Lock()

    def put(self, sha256: str, image: Images) -> None:
        with self._lock:
            if sha256 in self._images or self._bytes > MAX_BUFFER_BYTES:
                return
            self._bytes += image.nbytes
            self._images[sha256] = image
            if self._bytes > MAX_BUFFER_BYTES:
                self._images.clear()

    def get(self, sha256: str) -> Images | None:
        return self._images.get(sha256)


@dataclass(frozen=True)
class MemoryStore:
    """Nothing is kept on disk: what does not fit into memory is decoded anew each time it is asked for."""

    files: SourceFiles
    buffer: MemoryBuffer

    def take(self, rows: Sequence[int]) -> Iterable[Images]:
        return map(self._image, rows)

    sample = take

    def _image(self, row: int) -> Images:
        image = self.buffer.get(self.files.sha256[row])
        if image is None:
            image = self.files.decode(row)
            self.buffer.put(self.files.sha256[row], image)
        return image


class CacheStore:
    """Pixels kept in a space of the cache; those that are missing are decoded when the first image is taken.

    Where the space has no more room for them, images are taken as from `Memory`.
    """

    def __init__(self, files: SourceFiles, space: CacheSpace) -> None:
        self._files, self._space = files, space
        self._opened: CachedRows | MemoryStore | None = None
        self._lock = threading.Lock()

    def take(self, rows: Sequence[int]) -> Iterable[Images]:
        opened = self._open()
        return opened.take(rows) if isinstance(opened, MemoryStore) else (_row(opened, row) for row in rows)

    def sample(self, rows: Sequence[int]) -> Iterable[Images]:
        if self._opened is not None:
            return self.take(rows)
        found = self._space.get([self._files.sha256[row] for row in rows])
        if found is None:
            return map(self._files.decode, rows)
        return (_row(found, position) for position in range(len(rows)))

    def _open(self) -> "CachedRows | MemoryStore":
        with self._lock:  # the first thread fills, the others wait for it
            if self._opened is None:
                try:
                    self._opened = self._space.get_or_compute(self._files.sha256, self._decode)
                except CacheFull as error:
                    say(f"decoded images are not kept: {error}")
                    self._opened = MemoryStore(self._files, MemoryBuffer())
            return self._opened

    def _decode(self, rows: list[int]) -> Iterable[Images]:
        return with_progress(prefetch_map(self._files.decode, rows), "decoding images", len(rows))


def _row(rows: CachedRows, position: int) -> Images:
    return rows.row(position).reshape(rows.shape(position))
