"""The one decoder: training, prediction and inspection see the same pixels, or the same complaint."""

import io
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps, JpegImagePlugin

from thaw.errors import UserError

# Raise it whenever a rule of decoding, resizing or refusing changes: what is kept on disk is kept by it, and old pixels
# would go on being used.
VERSION = 2
RESIZE = "squash-bilinear"  # the name of `resize`'s rule, part of the same keys

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


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded picture: upright, RGB, 8 bits a channel."""

    image: Image.Image  # of a large JPEG perhaps at a half, a quarter or an eighth of its size
    width: int  # of the upright picture as it is stored in the file, in pixels
    height: int
    box: tuple[float, float, float, float]  # left, top, right, bottom of what `image` shows of it, in its pixels

    def at_most(self, size: int) -> npt.NDArray[np.uint8]:
        """Return uint8 (h, w, 3): as stored when neither side is over `size`, else squashed to (size, size, 3)."""
        return np.asarray(self.image) if max(self.width, self.height) <= size else self.fitted(size)

    def fitted(self, size: int) -> npt.NDArray[np.uint8]:
        """Return uint8 (size, size, 3): squashed or stretched as `resize` does."""
        return np.asarray(resize(self.image, (size, size), self.box))


def decode(source: str | Path | bytes, name: str | None = None, size: tuple[int, int] | None = None) -> Picture:
    """Return a picture, upright and RGB; the whole file must be sound: a truncated one is refused.

    EXIF orientation is applied, transparency is laid on white (dropping alpha would show whatever colours lie hidden
    under it), 16-bit grey is scaled and not cut off at 255, and of an animation the first frame is taken. `source` is
    a path or a file's bytes; `name` is what errors call it. Raises BadImage, also for more than `MAX_PIXELS`, before
    any memory is taken for them.

    `size` (width, height) says what it will be resized to. A JPEG is then decoded at the smallest of 1/1, 1/2, 1/4 and
    1/8 that leaves both sides at least twice that: libjpeg does it inside the inverse DCT, in a fraction of the time,
    and at twice the size it is still the resizing that decides the pixels. They are a function of the file's bytes,
    `size` and the libraries' versions, whoever asks.
    """
    name = name or ("the image" if isinstance(source, bytes) else str(source))
    content = source if isinstance(source, bytes) else read_bytes(source)
    try:
        image = _open(content, name)
        reduced = _reduce(image, size)
        image.load()
        _turn_upright(image)
        return _picture(_to_rgb(image, name), reduced)
    except BadImage:
        raise
    except Image.UnidentifiedImageError as error:
        raise BadImage(name, "not a picture in a format that is read" if content else "the file is empty") from error
    except Image.DecompressionBombError as error:
        raise BadImage(name, f"more than {MAX_PIXELS // 10**6} million pixels") from error
    except Exception as error:  # Pillow's readers raise OSError, SyntaxError, ValueError, struct.error, EOFError, ...
        raise BadImage(name, str(error) or type(error).__name__) from error


def fitted(source: str | Path | bytes, size: int, name: str | None = None) -> npt.NDArray[np.uint8]:
    """Return a picture as a network sees it, uint8 (size, size, 3), RGB, 0-255: in training and in prediction alike.

    Raises BadImage.
    """
    return decode(source, name, (size, size)).fitted(size)


def resize(
    image: Image.Image, size: tuple[int, int], box: tuple[float, float, float, float] | None = None
) -> Image.Image:
    """Return the image, or what of it lies in `box`, squashed or stretched to exactly `size` (width, height).

    As Keras's load_img does: bilinear; when shrinking Pillow averages over all source pixels, so nothing aliases.
    """
    return image if image.size == size else image.resize(size, Image.Resampling.BILINEAR, box)


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


@dataclass(frozen=True)
class _Reduced:
    """How a JPEG is decoded: `width` and `height` of the file, both divided by `scale`, then turned."""

    width: int
    height: int
    scale: int
    orientation: int  # EXIF's, 1-8; from 5 on width and height change places


def _reduce(image: Image.Image, size: tuple[int, int] | None) -> _Reduced | None:
    """Let a JPEG be decoded no larger than it takes to have twice `size` when it is upright."""
    # CMYK is left out: Adobe's are stored inverted, and a rare kind is not worth a rule of its own.
    if size is None or not isinstance(image, JpegImagePlugin.JpegImageFile) or image.mode not in ("RGB", "L"):
        return None
    width, height = image.size
    orientation = _orientation(image)
    across, down = size if orientation < 5 else size[::-1]
    drafted = image.draft(image.mode, (2 * across, 2 * down))
    return _Reduced(width, height, round(width / drafted[1][2]), orientation) if drafted else None


def _orientation(image: Image.Image) -> int:
    """Return EXIF's orientation; what cannot be read as EXIF says nothing, and every viewer shows the picture."""
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
    except (SyntaxError, ValueError, KeyError, TypeError, OSError, struct.error):
        return 1
    return found if found in range(1, 9) else 1


def _picture(image: Image.Image, reduced: _Reduced | None) -> Picture:
    """Say of an upright image how large it is in the file, and where in it the picture lies.

    libjpeg rounds a reduced picture's sides up; what sticks out, up to 7/8 of a pixel, lies right and bottom as it is
    stored, and wherever turning it has brought them. Left in, it would squash the picture off its place.
    """
    if reduced is None:
        return Picture(image, *image.size, (0, 0, *image.size))
    turned = reduced.orientation
    width, height = (reduced.width, reduced.height)[:: 1 if turned < 5 else -1]
    across, down = width / reduced.scale, height / reduced.scale
    left = image.width - across if turned in (2, 3, 6, 7) else 0.0
    top = image.height - down if turned in (3, 4, 7, 8) else 0.0
    return Picture(image, width, height, (left, top, left + across, top + down))


def _turn_upright(image: Image.Image) -> None:
    """Apply EXIF orientation; damaged EXIF is passed over as in `_orientation`."""
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
