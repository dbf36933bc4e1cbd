"""A file's picture as people look at it: upright, in its own proportions, of one size whatever the file's."""

from PIL import Image

from thaw.data.decode import DecodeOptions, decode, resize


def shown_picture(file: str, side: int, options: DecodeOptions) -> Image.Image:
    """Return a file's picture, RGB, whose longer side has `side` pixels; a network's input is squashed to a square.

    Raises BadImageError for a file that cannot be decoded. options: as the network's; what it crops is not shown.
    """
    picture = decode(file, size=(side, side), options=options)
    scale = side / max(picture.width, picture.height)
    size = max(1, round(scale * picture.width)), max(1, round(scale * picture.height))
    return resize(picture.image, size, picture.box)
