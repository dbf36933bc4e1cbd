"""How bright every picture is, how much there is to see in it, and a tiny likeness of it."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from thaw.common.console import progress
from thaw.data.pixels import Pixels
from thaw.frozen.batch_runner import prefetch

THUMBNAIL_SIDE = (
    16  # of a likeness, in pixels: it keeps the layout of a picture and forgets compression, size and small crops
)
PAIRS_PER_BLOCK = 4096  # compared in one go: 30 MB
BATCH_SIZE = 64  # pictures in memory at a time, of AHEAD groups


@dataclass(frozen=True, eq=False)
class ImageStats:
    """What N pictures look like; the row as in `Pictures`."""

    brightness: npt.NDArray[np.float32]  # (N,): mean luma, 0-255
    contrast: npt.NDArray[np.float32]  # (N,): its standard deviation
    thumbnails: npt.NDArray[np.uint8]  # (N, SIDE, SIDE): luma of the whole picture, squashed

    def thumbnail_correlation(self, a: npt.NDArray[np.int64], b: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """How much pictures a and b are alike pixel by pixel, one of them mirrored if that fits better: -1 to 1."""
        found = np.empty(len(a), np.float32)
        for start in range(0, len(a), PAIRS_PER_BLOCK):
            block = slice(start, start + PAIRS_PER_BLOCK)
            left, right = self.thumbnails[a[block]], self.thumbnails[b[block]]
            found[block] = np.maximum(_correlated(left, right), _correlated(left, right[:, :, ::-1]))
        return found


def compute_image_stats(pixels: Pixels) -> ImageStats:
    """Look at all pictures once; memory stays flat."""
    found = list(_each(pixels))
    brightness, contrast, likeness = zip(*found, strict=True)
    return ImageStats(np.array(brightness, np.float32), np.array(contrast, np.float32), np.stack(likeness))


def _each(pixels: Pixels) -> Iterator[tuple[float, float, npt.NDArray[np.uint8]]]:
    groups = [pixels.indices[i : i + BATCH_SIZE] for i in range(0, len(pixels.indices), BATCH_SIZE)]
    pixels.take(groups[0][:1])  # decoded pixels are made ready with a bar of their own
    with progress("looking", len(pixels.indices)) as steps:
        for images in prefetch(groups, pixels.take):
            for image in images:
                grey = Image.fromarray(image).convert("L")
                luma = np.asarray(grey)
                tiny = np.asarray(grey.resize((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BILINEAR))
                yield float(luma.mean()), float(luma.std()), tiny
            steps.advance(len(images))


def _correlated(a: npt.NDArray[np.uint8], b: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    x, y = (_centred(images) for images in (a, b))
    norms = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    return np.sum(x * y, axis=1) / np.maximum(norms, 1e-6)


def _centred(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    flat = images.reshape(len(images), -1).astype(np.float32)
    return flat - flat.mean(axis=1, keepdims=True)
