"""The data sets of the study, as overrides of a run; small ones are made of the large ones by links."""

import os
import random
from pathlib import Path

FEW = 20  # training images of a class in the small data sets


def data_sets(folder: Path) -> dict[str, list[str]]:
    """Return each data set's overrides by its name.

    folder: has `clothing/{train,validation,test}/CLASS` and `cifar10/{train,test}/CLASS`; `study/` is made in it.
    """
    made = folder / "study"
    few_clothes = _few(folder / "clothing", made / "clothing-few", FEW, None)
    few_cifar = _few(folder / "cifar10", made / "cifar10-few", FEW, 100)
    cifar = _few(folder / "cifar10", made / "cifar10-500", 500, 500)
    return {
        "clothing": ["dataset=image_folder", f"dataset.path={folder / 'clothing'}"],
        "cifar10-500": ["dataset=image_folder", f"dataset.path={cifar}"],
        "digits": ["dataset=digits"],
        "clothing-20": ["dataset=image_folder", f"dataset.path={few_clothes}", "dataset.val_fraction=0.2"],
        "cifar10-20": ["dataset=image_folder", f"dataset.path={few_cifar}", "dataset.val_fraction=0.2"],
    }


def _few(source: Path, target: Path, per_class: int, test_per_class: int | None) -> Path:
    """Link some training images of each class, and some or all test images, by a fixed seed; return the folder."""
    for split, count in (("train", per_class), ("test", test_per_class)):
        for folder in sorted(path for path in (source / split).iterdir() if path.is_dir()):
            made = target / split / folder.name
            if made.is_dir():
                continue
            made.mkdir(parents=True)
            files = sorted(folder.iterdir())
            random.Random(0).shuffle(files)
            for file in files[:count]:
                os.link(file.resolve(), made / file.name)
    return target
