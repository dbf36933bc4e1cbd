"""Measure how much of their range 16-bit channels use, and scale them to 8 bits."""

import io
import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, PngImagePlugin, TiffImagePlugin
from PIL.ExifTags import Base as Tag

from thaw.data.file_bytes import BadImageError

MAX_UINT16 = 65535
PIXELS_PER_DEFECT = 1000  # one pixel in so many may be a hot one of the sensor
_MAX_FEW_BITS = MAX_UINT16 // 4  # a camera of 14 bits has no value above; photos of 16 bits do, unless they are dark
_DARK_FRACTION = 0.05  # fewer low images than this among others of full range are dark photos
_SENSOR_BITS = (8, 10, 12, 14)
_SWAPPED_ENDIAN = {"B": "L", "L": "B", "N": "B" if np.little_endian else "L"}


def has_unknown_range(image: Image.Image, content: bytes) -> bool:
    """Return whether an image has 16 bits a channel and does not state how many of them hold data.

    PPM states its maximum and JPEG 2000 its precision, and Pillow scales by them. The image must not be loaded yet.
    """
    if image.format == "PNG":
        return content[24] == 16
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return max(image.tag_v2.get(Tag.BitsPerSample, (1,))) == 16
    if image.format == "PPM":
        arguments = image.tile[0].args  # type: ignore[attr-defined]  # opened files have it
        return arguments == "I;16B" or (isinstance(arguments, tuple) and arguments[-1] == MAX_UINT16)
    if image.format == "JPEG2000":
        codestream = content.find(b"\xff\x4f\xff\x51")
        return content[codestream + 42] & 0x7F == 15  # the header's precision of the first channel, less one
    return False


def robust_max(image: Image.Image) -> int:
    """Return the highest value of a loaded image of 16 bits a channel, without its defect pixels.

    A sensor's hot pixels are at the end of the range whatever it shows. Of colours, whose upper 8 bits Pillow keeps,
    it is an upper bound.
    """
    if image.mode.startswith("I"):
        levels = np.asarray(image)
        transparent = image.info.get("transparency")
        return _robust_max(levels[levels != transparent] if isinstance(transparent, int) else levels)
    upper_byte = _robust_max(np.asarray(image)[..., :3])
    return 256 * upper_byte + 255 if upper_byte else 0


def _robust_max(values: npt.NDArray[np.integer]) -> int:
    """Return the value that at most one in `PIXELS_PER_DEFECT` exceeds; of few values the highest."""
    defects = values.size // PIXELS_PER_DEFECT
    return int(np.partition(values.reshape(-1), -1 - defects)[-1 - defects] if defects else values.max(initial=0))


def scale_grey(image: Image.Image, white_level: int, name: str) -> Image.Image:
    """Return 16-bit grey scaled from 0-white_level to 8 bits, transparent grey as white.

    Pillow's own conversion clips at 255, which makes nearly all of it white.

    Raises:
        BadImageError: More values than defects are above `white_level`; `name` is what the error calls the image.
    """
    grey = np.asarray(image).astype(np.int64)  # modes I;16, I;16B (2 bytes) and I (4; PPM's, scaled to 65535)
    level = image.info.get("transparency")
    transparent = grey == level if isinstance(level, int) else None
    _check_range(grey if transparent is None else grey[~transparent], white_level, name)
    grey = np.minimum(grey, white_level)
    if isinstance(image, TiffImagePlugin.TiffImageFile) and image.tag_v2.get(Tag.PhotometricInterpretation) == 0:
        grey = white_level - grey  # 0 is white; Pillow inverts only 8 bits and fewer
    if transparent is not None:
        grey[transparent] = white_level
    return Image.fromarray(_scaled(grey, white_level))


def scale_colours(image: Image.Image, content: bytes, white_level: int, name: str) -> None:
    """Scale the 16-bit colours of a loaded image from 0-white_level to 8 bits, in place; alpha stays.

    Pillow has kept their upper 8 bits; the lower ones are read from `content`, the file's bytes.

    Raises:
        BadImageError: Values are above `white_level` as in `scale_grey`, or the lower 8 bits cannot be read from files
            of this format.
    """
    lower = _lower_bytes(image, content)
    if lower is None:
        raise BadImageError(
            name,
            "colours of 16 bits in this kind of file cannot be scaled by dataset.bits: save it with 8 bits a channel",
            "unsupported_variant",
        )
    pixels = np.array(image)
    colours = (pixels[..., :3].astype(np.uint16) << 8) | lower[..., :3]
    _check_range(colours, white_level, name)
    pixels[..., :3] = _scaled(np.arange(MAX_UINT16 + 1).clip(max=white_level), white_level)[colours]
    image.paste(Image.fromarray(pixels, image.mode))


def _scaled(values: npt.NDArray[np.int64], white_level: int) -> npt.NDArray[np.uint8]:
    """Return values of 0-white_level as 0-255, rounded."""
    return ((values * 255 + white_level // 2) // white_level).astype(np.uint8)


def _lower_bytes(image: Image.Image, content: bytes) -> npt.NDArray[np.uint8] | None:
    """Return the lower bytes of colours: Pillow takes them for the upper ones in the opposite byte order."""
    if not isinstance(image, (PngImagePlugin.PngImageFile, TiffImagePlugin.TiffImageFile)):
        return None
    if isinstance(image, TiffImagePlugin.TiffImageFile) and image.tag_v2.get(Tag.PlanarConfiguration, 1) == 2:
        return None
    swapped = Image.open(io.BytesIO(content), formats=(image.format or "",))
    tiles = []
    for tile in swapped.tile:
        raw_mode, *rest = (tile.args,) if isinstance(tile.args, str) else tile.args or ("",)
        match = re.fullmatch(r"(RGBX?|RGBA);16([BLN])", str(raw_mode))
        if match is None:
            return None
        raw_mode = f"{match[1]};16{_SWAPPED_ENDIAN[match[2]]}"
        tiles.append(tile._replace(args=raw_mode if isinstance(tile.args, str) else (raw_mode, *rest)))
    swapped.tile = tiles
    swapped.load()
    return np.asarray(swapped)


def _check_range(values: npt.NDArray[np.integer], white_level: int, name: str) -> None:
    if _robust_max(values) > white_level:
        limit = f"dataset.bits={white_level.bit_length()} allows {white_level:,} at most"
        raise BadImageError(name, f"it holds the value {int(values.max()):,}, and {limit}", "out_of_range")


def uses_few_bits(max_value: int | None) -> bool:
    """Return whether an image with this highest value leaves upper bits of its 16 unused.

    False for 0, of a black image, and for None, of an image without 16-bit channels.
    """
    return max_value is not None and 0 < max_value <= _MAX_FEW_BITS


def few_bits_warning(max_values: Sequence[int | None]) -> str:
    """Return a warning when 16-bit images use few of their bits, otherwise an empty string.

    Args:
        max_values: The highest value of each image (see `DecodedImage.max_value`); None of those without 16 bits.
    """
    known = [value for value in max_values if value is not None]
    low = [value for value in known if uses_few_bits(value)]
    has_full_range = any(value > _MAX_FEW_BITS for value in known)
    if not low or (has_full_range and len(low) < _DARK_FRACTION * len(known)):
        return ""
    highest = max(low)
    start = f"warning: {len(low):,} of {len(known):,} pictures with 16 bits a channel hold no value over {highest:,}:"
    if has_full_range:
        return (
            f"{start} they come out much darker than the others: bring all to one range, or set dataset.bits=16 "
            "if that is meant"
        )
    bits = next(bits for bits in _SENSOR_BITS if highest < 2**bits)
    return (
        f"{start} they come out nearly black: dataset.bits={bits} spreads 0 to {2**bits - 1:,}, "
        "dataset.bits=16 leaves them as they are"
    )
