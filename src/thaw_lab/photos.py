"""Photos to measure with: crops of the two that scikit-learn brings, 500x375 JPEG, the same for the same seed."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (500, 375)  # width, height in pixels
CLASSES = ("china", "flower")
TEST_EVERY = 10  # of the photos with a test set, every tenth is in it


def make_photo(number: int, seed: int = 0) -> tuple[Image.Image, int]:
    """Photo `number` and its JPEG quality, known from number and seed alone.

    Even numbers are china, odd ones flower.
    """
    rng = np.random.default_rng((seed, number))
    whole = _samples()[number % 2]
    height = int(rng.integers(280, whole.height + 1))
    width = min(whole.width, height * SIZE[0] // SIZE[1])
    left, top = int(rng.integers(0, whole.width - width + 1)), int(rng.integers(0, whole.height - height + 1))
    crop = whole.crop((left, top, left + width, top + height)).resize(SIZE, Image.Resampling.BICUBIC)
    if rng.random() < 0.5:
        crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return crop, int(rng.integers(80, 96))


_kept: list[Image.Image] = []


def _samples() -> list[Image.Image]:
    if not _kept:
        from sklearn.datasets import load_sample_images

        _kept.extend(Image.fromarray(array) for array in load_sample_images().images)
    return _kept


def photo_folder(work: Path, count: int, *, with_test: bool) -> Path:
    """A folder of photos 0 to `count`, a folder a class; `tested` puts them into train/ and test/.

    A photo is made once: folders of other counts hold hard links to it.
    """
    made = work / f"photos-{count}{'-tested' * with_test}"
    if not made.exists():
        _make(work / "photos", count)
        for number, name in _names(count):
            part = "" if not with_test else "test" if number // 2 % TEST_EVERY == 0 else "train"
            place = made / part / CLASSES[number % 2]
            place.mkdir(parents=True, exist_ok=True)
            os.link(work / "photos" / name, place / name)
    return made


def _names(count: int) -> Iterator[tuple[int, str]]:
    return ((number, f"{number:06}.jpg") for number in range(count))


def _make(pool: Path, count: int) -> None:
    pool.mkdir(exist_ok=True)
    _samples()

    def save(number: int, name: str) -> None:
        image, quality = make_photo(number)
        image.save(pool / name, quality=quality)

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        list(threads.map(lambda entry: save(*entry), (e for e in _names(count) if not (pool / e[1]).exists())))
