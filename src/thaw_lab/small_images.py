"""Small pictures to measure with: scikit-learn's digits as files, and CIFAR-10 or noise at 32 pixels."""

from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image


def digits_folder(work: Path, count: int) -> Path:
    """Real handwritten digits, 8x8 enlarged to 64x64, PNG: `count` in train/, as many of the rest in test/.

    Ten classes and no trivial ones, so that a difference in accuracy would show.
    """
    from sklearn.datasets import load_digits

    made = work / f"digits-{count}"
    if made.exists():
        return made
    digits = load_digits()
    order = _class_by_class(digits.target)
    train = min(count, len(order) // 2)
    for place, number in enumerate(order[: 2 * train]):
        folder = made / ("train" if place < train else "test") / str(digits.target[number])
        folder.mkdir(parents=True, exist_ok=True)
        grey = Image.fromarray((digits.images[number] * 15.9).astype(np.uint8))
        grey.resize((64, 64), Image.Resampling.BICUBIC).convert("RGB").save(folder / f"{number:04}.png")
    return made


def _class_by_class(labels: npt.NDArray[np.int64]) -> list[int]:
    """Numbers of all images in random order, a class after the other in turn: any first so many hold all classes."""
    shuffled = np.random.default_rng(0).permutation(len(labels))
    seen: Counter[int] = Counter()
    turns = []
    for label in labels[shuffled].tolist():
        turns.append(seen[label])
        seen[label] += 1
    return shuffled[np.argsort(turns, kind="stable")].tolist()


def cifar_like(work: Path, cifar: Path, count: int) -> tuple[Path, Path, str]:
    """`count` images of ten classes at 32 pixels: a folder of files, the same as arrays (.npz), and what they are.

    CIFAR-10's from `cifar`/train where it is unpacked there, noise elsewhere: it trains as fast.
    """
    made, arrays = work / "small", work / "small.npz"
    found = (cifar / "train").is_dir()
    if not made.exists():
        images, labels = _cifar(cifar / "train", count) if found else _noise(count)
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            folder = made / f"class{label}"
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / f"{number:06}.png")
        order = np.random.default_rng(0).permutation(len(labels))
        np.savez(arrays, images=images[order], labels=labels[order])
    return made, arrays, "CIFAR-10" if found else "noise"


def _cifar(train: Path, count: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    names = sorted(folder.name for folder in train.iterdir() if folder.is_dir())
    files = [(file, i) for i, name in enumerate(names) for file in sorted((train / name).iterdir())[: count // 10]]
    images = np.stack([np.asarray(Image.open(file).convert("RGB")) for file, _ in files])
    return images, np.array([label for _, label in files])


def _noise(count: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, 32, 32, 3), np.uint8), np.arange(count) % 10
