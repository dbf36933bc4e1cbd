"""Which batch size to train with, from the memory and the speed of some. No TensorFlow."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

SMALLEST = 8
MEMORY_SHARE = 0.9  # of what there is: the rest is for what else the machine does meanwhile
# Of what there is, for a size that is not tried: 1,024 images took more than 24.2 GB where the line through 256 and 512
# says 20.7 (EfficientNet-Lite0 at 224 pixels in float32; 13.4 GB in another run on the same machine).
_UNTRIED_SHARE = 0.75
# Of the highest speed: larger batches mean fewer steps for the same images. Two timed steps are within a few percent of
# the truth: 0.95 took 256 images where 32 have 0.91 of the speed (EfficientNet-Lite0 on two cores of a Xeon).
_NEARLY = 0.9


@dataclass(frozen=True)
class BatchFigures:
    """What steps of a batch size take. nbytes: the most memory of the process up to then, that of smaller ones too."""

    size: int
    images_per_second: float
    nbytes: int


def expected_bytes(figures: Sequence[BatchFigures], size: int) -> float:
    """Return the memory of a larger size, on the line through the last two sizes."""
    first, last = figures[-2:]
    slope = (last.nbytes - first.nbytes) / (last.size - first.size)
    return last.nbytes + slope * (size - last.size)


def largest(figures: Sequence[BatchFigures], limit: float, images: int) -> int:
    """Return the largest size, a doubling of the smallest, that is expected to fit.

    Args:
        figures: of growing sizes, two at least.
        limit: bytes that the process may have; infinite where it is not known, so that only what was tried counts.
        images: the most that a batch may have, such as all of training.
    """
    size = figures[-1].size
    if math.isinf(limit):
        return size
    grows = figures[-1].nbytes > figures[-2].nbytes
    while 2 * size <= images and grows and expected_bytes(figures, 2 * size) <= _UNTRIED_SHARE * limit:
        size *= 2
    return size


def suggest(figures: Sequence[BatchFigures]) -> int:
    """Return the smallest size that trains nearly as fast as the fastest."""
    fastest = max(each.images_per_second for each in figures)
    return next(each.size for each in figures if each.images_per_second >= _NEARLY * fastest)
