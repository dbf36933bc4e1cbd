"""Small JPEGs of a data set's images, for pages that hold their pictures."""

import base64
import io

from PIL import Image

from thaw.data.decode import decode, resize
from thaw.data.pixels import Pixels

MAX_SIDE = 112  # pixels; smaller images keep their size
JPEG_QUALITY = 70  # 2 to 4 kB for a thumbnail of 112 pixels


def thumbnail_jpeg(pixels: Pixels, index: int, max_side: int = MAX_SIDE) -> bytes:
    """Return an image as `thumbnail` does, as a JPEG."""
    return encode_jpeg(thumbnail(pixels, index, max_side))


def thumbnail(pixels: Pixels, index: int, max_side: int = MAX_SIDE) -> Image.Image:
    """Return an image of the catalog, by its index, in RGB; its longer side has `max_side` pixels at most.

    Raises BadImageError for a file that has changed since the scan.
    """
    catalog = pixels.catalog
    if catalog.paths is None:
        assert catalog.arrays is not None  # a catalog has paths or arrays
        image = Image.fromarray(catalog.arrays[index])
        return shrunk(image, max_side)
    picture = decode(catalog.paths[index], size=(max_side, max_side), options=pixels.decode_options)
    return resize(picture.image, _size(picture.width, picture.height, max_side), picture.box)


def shrunk(image: Image.Image, max_side: int) -> Image.Image:
    """Return an image whose longer side has `max_side` pixels at most."""
    return resize(image, _size(*image.size, max_side))


def encode_jpeg(image: Image.Image) -> bytes:
    """Return an RGB image as JPEG."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return file.getvalue()


def jpeg_uri(jpeg: bytes) -> str:
    """Return a JPEG as an address that a page can hold: `data:image/jpeg;base64,...`."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"


def _size(width: int, height: int, max_side: int) -> tuple[int, int]:
    scale = min(1.0, max_side / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))
