"""Random augmentation of one training image: crop, flip, shift, colours, RandAugment and erasing."""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance, ImageOps

from thaw.config.schema import AugmentConfig

ImageArray = npt.NDArray[np.uint8]

CROP_ASPECT = 4 / 3  # of random crops, as Inception's (arXiv 1409.4842)
ERASED = (0.02, 0.33, 1 / 0.3)  # smallest and largest area, and aspect, of random erasing (arXiv 1708.04896)
FILL_COLOR = (128, 128, 128)  # of pixels from outside the image, as in the reference implementation


def augment_image(image: ImageArray, config: AugmentConfig, rng: np.random.Generator) -> ImageArray:
    """Return an augmented copy of one image, uint8 (S, S, 3); the same generator state gives the same result.

    In this order: a part of at least `crop` of its area is enlarged to the whole, mirrored left-right with probability
    0.5 (`flip`), moved by up to `shift` of its side on both axes with reflected edges, its brightness, contrast and
    saturation changed by up to `color`, then changed by `ops` RandAugment operations of strength `magnitude`/10, and
    with probability `erase` a rectangle of it is filled with noise.
    """
    if config.crop < 1:
        image = _crop(image, config.crop, rng)
    if config.flip and rng.random() < 0.5:
        image = image[:, ::-1]
    if config.shift > 0:
        image = _shift(image, config.shift, rng)
    if config.color > 0:
        image = _change_colors(image, config.color, rng)
    if config.ops > 0:
        image = _rand_augment(image, config.ops, config.magnitude / 10, rng)
    if config.erase > 0 and rng.random() < config.erase:
        image = _erase(image, random_box(rng, *ERASED), rng)
    return np.ascontiguousarray(image)


def key_fields(config: AugmentConfig) -> dict[str, object]:
    """Return what `augment_image` depends on, as fields of a cache key; of newer keys only those that are set."""
    fields = {name: getattr(config, name) for name in ("flip", "shift", "ops", "magnitude")}
    default = AugmentConfig()
    newer = {name: getattr(config, name) for name in ("crop", "color", "erase")}
    return fields | {name: value for name, value in newer.items() if value != getattr(default, name)}


def random_box(
    rng: np.random.Generator, smallest: float, largest: float, aspect: float
) -> tuple[float, float, float, float]:
    """Return a rectangle inside the unit square: top, left, height, width.

    Args:
        rng: draws it.
        smallest: least area.
        largest: largest area.
        aspect: the longer side is at most so many times the shorter one; evenly spread on a logarithmic scale. A side
            that would be longer than the square's is as long.
    """
    area, log_aspect = rng.uniform(smallest, largest), rng.uniform(-math.log(aspect), math.log(aspect))
    height, width = (min(1.0, math.sqrt(area * math.exp(sign * log_aspect))) for sign in (-1, 1))
    return rng.uniform(0, 1 - height), rng.uniform(0, 1 - width), height, width


def slices_of(box: tuple[float, float, float, float], height: int, width: int) -> tuple[slice, slice]:
    """Return the rows and columns of a map that a rectangle of `random_box` covers, to whole positions."""
    top, left, tall, wide = box
    return (
        slice(round(top * height), round((top + tall) * height)),
        slice(round(left * width), round((left + wide) * width)),
    )


def _crop(image: ImageArray, smallest: float, rng: np.random.Generator) -> ImageArray:
    height, width = image.shape[:2]
    top, left, tall, wide = random_box(rng, smallest, 1.0, CROP_ASPECT)
    box = (left * width, top * height, (left + wide) * width, (top + tall) * height)
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR, box))


def _change_colors(image: ImageArray, share: float, rng: np.random.Generator) -> ImageArray:
    """Change brightness, contrast and saturation, each by its own factor in 1 - share .. 1 + share."""
    changed = Image.fromarray(image)
    for kind, change in zip(
        (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color), rng.uniform(-share, share, 3), strict=True
    ):
        changed = kind(changed).enhance(1 + float(change))
    return np.asarray(changed)


def _erase(image: ImageArray, box: tuple[float, float, float, float], rng: np.random.Generator) -> ImageArray:
    rows, columns = slices_of(box, *image.shape[:2])
    changed = image.copy()
    changed[rows, columns] = rng.integers(0, 256, changed[rows, columns].shape, np.uint8)
    return changed


def _shift(image: ImageArray, share: float, rng: np.random.Generator) -> ImageArray:
    height, width = image.shape[:2]
    down, right = (int(rng.integers(-m, m + 1)) for m in (round(share * height), round(share * width)))
    return image[reflected(height, down)][:, reflected(width, right)]


def reflected(n: int, shift: int) -> npt.NDArray[np.int64]:
    """Return the source row of each of n rows after a shift, reflected at the edges without repeating the edge row."""
    source = np.abs(np.arange(n) - shift)
    return np.where(source < n, source, 2 * (n - 1) - source)


def _rand_augment(image: ImageArray, ops: int, strength: float, rng: np.random.Generator) -> ImageArray:
    """Apply `ops` of the 14 operations, each drawn anew, all of one strength: RandAugment (arXiv 1909.13719)."""
    changed = Image.fromarray(image)
    for number in rng.integers(len(OPERATIONS), size=ops):
        signed = strength if rng.random() < 0.5 else -strength
        changed = list(OPERATIONS.values())[number](changed, signed)
    return np.asarray(changed)


def _affine(image: Image.Image, matrix: tuple[float, ...]) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=FILL_COLOR)


# Each takes an image and a strength from -1 to 1; those without direction take its absolute value. 0 changes nothing;
# AutoContrast and Equalize have no strength. Ranges are AutoAugment's (arXiv 1805.09501), with Posterize and Solarize
# growing stronger with the magnitude, which the reference implementation has the wrong way round.
OPERATIONS: dict[str, Callable[[Image.Image, float], Image.Image]] = {
    "Identity": lambda image, s: image,
    "AutoContrast": lambda image, s: ImageOps.autocontrast(image),
    "Equalize": lambda image, s: ImageOps.equalize(image),
    "Rotate": lambda image, s: image.rotate(30 * s, Image.Resampling.BILINEAR, fillcolor=FILL_COLOR),  # degrees
    "Solarize": lambda image, s: ImageOps.solarize(image, 256 - round(256 * abs(s))),
    "Posterize": lambda image, s: ImageOps.posterize(image, 8 - round(4 * abs(s))),  # bits that are kept
    "Color": lambda image, s: ImageEnhance.Color(image).enhance(1 + 0.9 * s),
    "Contrast": lambda image, s: ImageEnhance.Contrast(image).enhance(1 + 0.9 * s),
    "Brightness": lambda image, s: ImageEnhance.Brightness(image).enhance(1 + 0.9 * s),
    "Sharpness": lambda image, s: ImageEnhance.Sharpness(image).enhance(1 + 0.9 * s),
    "ShearX": lambda image, s: _affine(image, (1, 0.3 * s, 0, 0, 1, 0)),
    "ShearY": lambda image, s: _affine(image, (1, 0, 0, 0.3 * s, 1, 0)),
    "TranslateX": lambda image, s: _affine(image, (1, 0, 150 / 331 * s * image.width, 0, 1, 0)),  # 150 px of 331
    "TranslateY": lambda image, s: _affine(image, (1, 0, 0, 0, 1, 150 / 331 * s * image.height)),
}
