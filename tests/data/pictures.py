"""Small real pictures for the tests of this folder."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    """A picture that no rotation, shift or resizing leaves as it is."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def write_image(path: Path, image: Image.Image | None = None) -> Path:
    """Write a picture (grey 8x8 if none is given), making its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    (image or Image.new("RGB", (8, 8), "grey")).save(path)
    return path


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    """A smooth picture, as photos are at their full size; every corner differs."""
    return noise(6, 5, seed).resize((width, height), Image.Resampling.BICUBIC)


def turned(image: Image.Image, orientation: int, quality: int = 95) -> bytes:
    """A JPEG that a viewer must turn: the image as it is, and EXIF's word on it."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(image, "JPEG", quality=quality, exif=exif)
