"""How a picture becomes a square: squashed as it is, its centre cropped, or padded with grey.

Exports take the source of `cropped` or `padded` along, so these need Pillow alone.
"""

from __future__ import annotations

from collections.abc import Callable

from PIL import Image

SQUASH = "squash"  # the picture stays as it is, and is squashed or stretched where it is resized


def cropped(image: Image.Image) -> Image.Image:
    """Return the largest square around the centre."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def padded(image: Image.Image) -> Image.Image:
    """Return the whole picture in the middle of a grey square."""
    side = max(image.size)
    square = Image.new("RGB", (side, side), (128, 128, 128))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


SQUARES: dict[str, Callable[[Image.Image], Image.Image] | None] = {SQUASH: None, "crop": cropped, "pad": padded}
