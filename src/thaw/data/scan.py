"""One look at every image: is it sound, how large is it, what is its hash, and what are its pixels."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from thaw.console import progress
from thaw.data.catalog import Catalog
from thaw.data.decode import BadImage, decode, read_bytes, resize

BLOCK = 1024  # images decoded ahead of whoever takes them: at 224x224 150 MB
TASK = 16  # images a task: handing single thumbnails to a thread costs more than decoding them
MAX_THREADS = 16  # more of them only wait for Python's lock while the images are thumbnails


@dataclass(frozen=True, eq=False)
class Sound:
    """An image that can be used."""

    width: int  # of the upright picture as it is stored, in pixels
    height: int
    sha256: str  # of the file's bytes, or of the array's
    pixels: npt.NDArray[
        np.uint8
    ]  # (h, w, 3): as stored where it fits into image_size, else (image_size, image_size, 3)


def scan(catalog: Catalog, indices: Sequence[int], image_size: int) -> Iterator[Sound | BadImage]:
    """Read, check, hash and decode the images once, in threads; yield the verdicts in the order of `indices`.

    Pillow lets go of Python's lock while it decodes, so threads share the cores. At most `BLOCK` images wait.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    def look_at(task: Sequence[int]) -> list[Sound | BadImage]:
        return [look(catalog, index, image_size) for index in task]

    with (
        progress("checking and decoding images", len(indices)) as steps,
        ThreadPoolExecutor(min(cores, MAX_THREADS)) as threads,
    ):
        for start in range(0, len(indices), BLOCK):
            block = indices[start : start + BLOCK]
            for verdicts in threads.map(look_at, [block[i : i + TASK] for i in range(0, len(block), TASK)]):
                yield from verdicts
                steps.advance(len(verdicts))


def look(catalog: Catalog, index: int, image_size: int) -> Sound | BadImage:
    """Look at one image of the catalog."""
    if catalog.arrays is not None:
        image, content = Image.fromarray(catalog.arrays[index]), catalog.arrays[index].tobytes()
    else:
        path = _path(catalog, index)
        try:
            content = read_bytes(path)
            image = decode(content, name=path)
        except BadImage as bad:
            return bad
    fits = max(image.size) <= image_size
    shown = image if fits else resize(image, (image_size, image_size))
    return Sound(image.width, image.height, hashlib.sha256(content).hexdigest(), np.asarray(shown))


def image(catalog: Catalog, index: int) -> Image.Image:
    """Return one image of the catalog, RGB and upright, as large as it is stored. Raises BadImage."""
    if catalog.arrays is not None:
        return Image.fromarray(catalog.arrays[index])
    return decode(_path(catalog, index))


def _path(catalog: Catalog, index: int) -> str:
    assert catalog.paths is not None  # the catalog holds one of both
    return catalog.paths[index]
