"""The one decoder: training, prediction and inspection see the same pixels, or the same complaint."""

import io
import struct
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from thaw.errors import UserError

MAX_PIXELS = 100_000_000  # 300 MB of RGB for each thread that decodes one

# By content, never by the file's ending: Pillow would also hand a file to Ghostscript, or read it as a volume of data.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "AVIF", "JPEG2000")
SUFFIXES = frozenset(
    f".{suffix}"
    for suffixes in (
        "jpg jpeg jpe jfif mpo",
        "png apng",
        "gif",
        "bmp dib webp tif tiff",
        "ppm pgm pbm pnm",
        "avif jp2 j2k",
    )
    for suffix in suffixes.split()
)


class BadImage(UserError):
    """A picture that cannot be used: `path` and `reason`."""

    def __init__(self, path: str, reason: str) -> None:
        self.path = path.encode("utf-8", "backslashreplace").decode()  # names that are not UTF-8 must be printable
        self.reason = reason
        super().__init__(f"{self.path}: {reason}")


def read_bytes(path: str | Path) -> bytes:
    """Return a file's bytes; raises BadImage when it cannot be read."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise BadImage(str(path), (error.strerror or str(error)).lower()) from error


def decode(source: str | Path | bytes, name: str | None = None) -> Image.Image:
    """Return a picture as an upright RGB image, 8 bits a channel.

    The whole file must be sound: a truncated one is refused. EXIF orientation is applied, transparency is laid on white
    (dropping alpha would show whatever colours lie hidden under it), 16-bit grey is scaled and not cut off at 255, and
    of an animation the first frame is taken. `source` is a path or a file's bytes; `name` is what errors call it.
    Raises BadImage, also for more than `MAX_PIXELS`, before any memory is taken for them.
    """
    name = name or ("the image" if isinstance(source, bytes) else str(source))
    content = source if isinstance(source, bytes) else read_bytes(source)
    try:
        image = _open(content, name)
        image.load()
        _turn_upright(image)
        return _to_rgb(image, name)
    except BadImage:
        raise
    except Image.UnidentifiedImageError as error:
        raise BadImage(name, "not a picture in a format that is read" if content else "the file is empty") from error
    except Image.DecompressionBombError as error:
        raise BadImage(name, f"more than {MAX_PIXELS // 10**6} million pixels") from error
    except Exception as error:  # Pillow's readers raise OSError, SyntaxError, ValueError, struct.error, EOFError, ...
        raise BadImage(name, str(error) or type(error).__name__) from error


def resize(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return the image squashed or stretched to exactly `size` (width, height), as Keras's load_img does.

    Bilinear; when shrinking Pillow averages over all source pixels, so nothing aliases.
    """
    return image if image.size == size else image.resize(size, Image.Resampling.BILINEAR)


def _open(content: bytes, name: str) -> Image.Image:
    # Pillow warns at 89 million pixels and goes on: the limit below takes its place. It also warns of damaged notes in
    # a sound picture. Set at every call and not around it: threads that enter and leave a filter at the same time
    # leave the wrong one behind.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    image = Image.open(io.BytesIO(content), formats=FORMATS)
    if image.width * image.height > MAX_PIXELS:
        raise BadImage(
            name, f"{image.width}x{image.height} pixels, more than {MAX_PIXELS // 10**6} million: shrink it first"
        )
    return image


def _turn_upright(image: Image.Image) -> None:
    """Apply EXIF orientation; what cannot be read as EXIF says nothing about it, and every viewer shows the picture."""
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except (SyntaxError, ValueError, KeyError, TypeError, OSError, struct.error):
        return


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):
        return _from_16_bit(image, name)
    if image.mode == "F":
        raise BadImage(name, "floating-point pixels have no known range: save it with 8 or 16 bits a channel")
    if image.has_transparency_data:
        colours = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, colours).convert("RGB")
    return image.convert("RGB")


def _from_16_bit(image: Image.Image, name: str) -> Image.Image:
    """Scale grey 0-65535 to 0-255; Pillow's own conversion cuts off at 255, and the picture is all white."""
    grey = np.asarray(image).astype(np.int64)  # modes I;16, I;16B (2 bytes) and I (4)
    if grey.min() < 0 or grey.max() > 65535:
        raise BadImage(name, f"32-bit pixels from {grey.min()} to {grey.max()}: save it with 8 or 16 bits a channel")
    return Image.fromarray(((grey + 128) // 257).astype(np.uint8)).convert("RGB")
