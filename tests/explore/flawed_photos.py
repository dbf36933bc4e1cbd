"""A folder of generated photos, and faults planted into it."""

import shutil
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

COLOURS = {"apple": (200, 40, 40), "lime": (60, 190, 60), "sky": (70, 90, 210)}


def photo(label: str, seed: int) -> Image.Image:
    """A class's colour with large random blots, 80x60: each seed looks different."""
    rng = np.random.default_rng([*label.encode(), seed])
    blots = rng.normal(0, 45, (6, 8, 3)).clip(-90, 90)
    pixels = np.array(COLOURS[label]) + blots
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).resize((80, 60), Image.Resampling.BICUBIC)


def write_photos(folder: Path, images: int = 8) -> Path:
    """Write so many photos of each class into class folders, without faults."""
    for label in COLOURS:
        (folder / label).mkdir(parents=True)
        for i in range(images):
            photo(label, i).save(folder / label / f"{i}.jpg", quality=90)
    return folder


def plant_faults(folder: Path) -> dict[str, set[str]]:
    """Plant faults into a folder of photos; return the files by kind of finding."""
    apple, lime = folder / "apple", folder / "lime"
    shutil.copy(apple / "0.jpg", lime / "twin.jpg")
    ImageOps.mirror(photo("lime", 1)).resize((60, 45)).save(lime / "mirrored.jpg", quality=70)
    photo("sky", 99).save(apple / "blue & <b>bold.jpg", quality=90)
    (apple / "cut.jpg").write_bytes((apple / "1.jpg").read_bytes()[:400])
    (apple / "empty.png").write_bytes(b"")
    Image.new("RGB", (60, 60), (200, 40, 40)).save(apple / "plain.png")
    photo("apple", 98).resize((400, 40)).save(apple / "long.jpg")
    photo("apple", 97).save(apple / "really.png", format="JPEG")
    Image.fromarray(np.asarray(photo("apple", 96)) // 8).save(apple / "night.png")
    return {
        "bad_file": {"apple/cut.jpg", "apple/empty.png"},
        "exact_duplicate": {"lime/twin.jpg"},
        "near_duplicate": {"lime/1.jpg"},
        "mislabelled": {"apple/blue & <b>bold.jpg"},
        "plain": {"apple/plain.png"},
        "dark": {"apple/night.png"},
        "long": {"apple/long.jpg"},
        "wrong_ending": {"apple/really.png"},
    }
