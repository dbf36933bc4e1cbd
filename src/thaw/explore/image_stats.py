"""Brightness, contrast and a tiny grey thumbnail of every image."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from thaw.common.console import progress
from thaw.data.catalog import IntArray
from thaw.data.pixels import Pixels
from thaw.frozen.batch_runner import prefetch

THUMBNAIL_SIDE = 16  # pixels: shows the layout of an image, but not its compression, size and small crops
PAIRS_PER_BLOCK = 4096  # compared at a time: 30 MB
BATCH_SIZE = 64  # images in a prefetched batch


@dataclass(frozen=True, eq=False)
class ImageStats:
    """Statistics of N images, by the row in `ScannedImages`."""

    brightness: npt.NDArray[np.float32]  # (N,): mean luma, 0-255
    contrast: npt.NDArray[np.float32]  # (N,): standard deviation of luma
    thumbnails: npt.NDArray[np.uint8]  # (N, THUMBNAIL_SIDE, THUMBNAIL_SIDE): luma of the whole image, squashed

    def thumbnail_correlation(self, a: IntArray, b: IntArray) -> npt.NDArray[np.float32]:
        """Return the correlation of the thumbnails of images a and b, or of a and b mirrored if that is higher.

        a, b: int64 (M,), rows. Returns float32 (M,), -1 to 1.
        """
        correlations = np.empty(len(a), np.float32)
        for start in range(0, len(a), PAIRS_PER_BLOCK):
            block = slice(start, start + PAIRS_PER_BLOCK)
            left, right = self.thumbnails[a[block]], self.thumbnails[b[block]]
            correlations[block] = np.maximum(_correlation(left, right), _correlation(left, right[:, :, ::-1]))
        return correlations


def compute_image_stats(pixels: Pixels) -> ImageStats:
    """Read all images once; memory stays constant."""
    brightness, contrast, thumbnails = zip(*_stats_by_image(pixels), strict=True)
    return ImageStats(np.array(brightness, np.float32), np.array(contrast, np.float32), np.stack(thumbnails))


def _stats_by_image(pixels: Pixels) -> Iterator[tuple[float, float, npt.NDArray[np.uint8]]]:
    batches = [pixels.indices[i : i + BATCH_SIZE] for i in range(0, len(pixels.indices), BATCH_SIZE)]
    pixels.take(batches[0][:1])  # decodes all pixels that are not cached, with a progress bar of its own
    with progress("looking", len(pixels.indices)) as steps:
        for images in prefetch(batches, pixels.take):
            for image in images:
                grey = Image.fromarray(image).convert("L")
                luma = np.asarray(grey)
                thumbnail = np.asarray(grey.resize((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BILINEAR))
                yield float(luma.mean()), float(luma.std()), thumbnail
            steps.advance(len(images))


def _correlation(a: npt.NDArray[np.uint8], b: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    x, y = (_centered(images) for images in (a, b))
    norms = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    return np.sum(x * y, axis=1) / np.maximum(norms, 1e-6)


def _centered(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    flat = images.reshape(len(images), -1).astype(np.float32)
    return flat - flat.mean(axis=1, keepdims=True)
