"""Images to measure with: JPEG photos, handwritten digits, CIFAR-10 or noise; the same for the same seed."""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

SIZE = (500, 375)  # of photos: width, height in pixels
CLASSES = ("china", "flower")
TEST_EVERY = 10  # of the photos with a test split, every tenth is in it


def make_photo(number: int, seed: int = 0) -> tuple[Image.Image, int]:
    """Return a photo and its JPEG quality: a crop of china for even numbers, of a flower for odd ones."""
    rng = np.random.default_rng((seed, number))
    sample = _sample_photos()[number % 2]
    height = int(rng.integers(280, sample.height + 1))
    width = min(sample.width, height * SIZE[0] // SIZE[1])
    left, top = int(rng.integers(0, sample.width - width + 1)), int(rng.integers(0, sample.height - height + 1))
    crop = sample.crop((left, top, left + width, top + height)).resize(SIZE, Image.Resampling.BICUBIC)
    if rng.random() < 0.5:
        crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return crop, int(rng.integers(80, 96))


@cache
def _sample_photos() -> list[Image.Image]:
    from sklearn.datasets import load_sample_images

    return [Image.fromarray(array) for array in load_sample_images().images]


def photo_folder(work_dir: Path, count: int, *, with_test: bool) -> Path:
    """Return a folder of photos 0 to `count` with a folder per class; `with_test` splits it into train/ and test/.

    A photo is made once: folders of other counts have hard links to it.
    """
    folder, photos = work_dir / f"photos-{count}{'-tested' * with_test}", work_dir / "photos"

    def save(number: int) -> None:
        image, quality = make_photo(number)
        image.save(photos / f"{number:06}.jpg", quality=quality)

    if not folder.exists():
        photos.mkdir(exist_ok=True)
        missing = set(range(count)) - {int(file.stem) for file in photos.iterdir()}
        _sample_photos()
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            list(threads.map(save, missing))
        for number in range(count):
            split = "" if not with_test else "test" if number // 2 % TEST_EVERY == 0 else "train"
            class_folder = folder / split / CLASSES[number % 2]
            class_folder.mkdir(parents=True, exist_ok=True)
            os.link(photos / f"{number:06}.jpg", class_folder / f"{number:06}.jpg")
    return folder


def digits_folder(work_dir: Path, count: int) -> Path:
    """Return a folder of scikit-learn's digits, PNG of 64x64: `count` in train/, as many of the rest in test/.

    They have ten classes that are not trivial, so that a difference in accuracy would show.
    """
    from sklearn.datasets import load_digits

    folder = work_dir / f"digits-{count}"
    if folder.exists():
        return folder
    digits = load_digits()
    shuffled = np.random.default_rng(0).permutation(len(digits.target))
    by_class = (shuffled[digits.target[shuffled] == digit] for digit in range(10))
    order = [number for one_of_each in zip(*by_class, strict=False) for number in one_of_each]
    train = min(count, len(order) // 2)
    for position, number in enumerate(order[: 2 * train]):
        class_folder = folder / ("train" if position < train else "test") / str(digits.target[number])
        class_folder.mkdir(parents=True, exist_ok=True)
        grey = Image.fromarray((digits.images[number] * 15.9).astype(np.uint8))
        grey.resize((64, 64), Image.Resampling.BICUBIC).convert("RGB").save(class_folder / f"{number:04}.png")
    return folder


def cifar_like(work_dir: Path, root: Path, count: int) -> tuple[Path, Path, str]:
    """Return images of ten classes at 32 pixels: a folder of files, the same as arrays (.npz), and what they are.

    They are CIFAR-10's where `root` has them in data/cifar10/train, else noise, which trains as fast.
    """
    folder, arrays, train = work_dir / "small", work_dir / "small.npz", root / "data" / "cifar10" / "train"
    is_cifar = train.is_dir()
    if not folder.exists():
        images, labels = _read_cifar(train, count) if is_cifar else _noise(count)
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            class_folder = folder / f"class{label}"
            class_folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(class_folder / f"{number:06}.png")
        order = np.random.default_rng(0).permutation(len(labels))
        np.savez(arrays, images=images[order], labels=labels[order])
    return folder, arrays, "CIFAR-10" if is_cifar else "noise"


def _read_cifar(train: Path, count: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    names = sorted(folder.name for folder in train.iterdir() if folder.is_dir())
    files = [(file, i) for i, name in enumerate(names) for file in sorted((train / name).iterdir())[: count // 10]]
    images = np.stack([np.asarray(Image.open(file).convert("RGB")) for file, _ in files])
    return images, np.array([label for _, label in files])


def _noise(count: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, 32, 32, 3), np.uint8), np.arange(count) % 10
