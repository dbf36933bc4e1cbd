"""Pixels of 16 bits a channel: how much of their range is used, and how they are scaled to 8 bits."""

import io
import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, PngImagePlugin, TiffImagePlugin

from thaw.data.file_bytes import BadImageError

MAX_UINT16 = 65535  # the highest value of 16 bits
PIXELS_PER_DEFECT = 1000  # of so many pixels one may be a sensor's hot one
_SHALLOW = (
    MAX_UINT16 // 4
)  # a camera of 14 bits has none above; photos that use all 16 bits have some, but for dark ones
_FEW = 0.05  # of pictures of which the others use all bits: dark photos
_DEPTHS = (8, 10, 12, 14)  # of sensors
_BITS, _PHOTOMETRIC, _PLANAR = 258, 262, 284  # tags of TIFF
_SWAPPED = {"B": "L", "L": "B", "N": "B" if np.little_endian else "L"}


def has_unknown_range(image: Image.Image, content: bytes) -> bool:
    """Whether a file that was opened has 16 bits a channel and does not say how many of them hold data.

    PPM's maximum and JPEG 2000's precision say it, and Pillow goes by them. It must not be loaded yet.
    """
    if image.format == "PNG":
        return content[24] == 16
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return max(image.tag_v2.get(_BITS, (1,))) == 16
    if image.format == "PPM":
        given = image.tile[0].args  # type: ignore[attr-defined]  # of files that were opened
        return given == "I;16B" or (isinstance(given, tuple) and given[-1] == MAX_UINT16)
    if image.format == "JPEG2000":
        sizes = content.find(
            b"\xff\x4f\xff\x51"
        )  # the codestream's beginning; the first channel's bits are in its header
        return content[sizes + 42] & 0x7F == 15
    return False


def robust_max(image: Image.Image) -> int:
    """Return the highest value of a loaded picture of 16 bits a channel, of colours not exactly but at most.

    But for defects: a sensor's hot pixels are at the end of the range whatever the picture shows.
    """
    if image.mode.startswith("I"):
        levels = np.asarray(image)
        clear = image.info.get("transparency")
        shown = levels[levels != clear] if isinstance(clear, int) else levels
        return _highest(shown)
    upper = _highest(np.asarray(image)[..., :3])  # all that Pillow keeps
    return 256 * upper + 255 if upper else 0


def _highest(values: npt.NDArray[np.integer]) -> int:
    """The value that no more than one in `DEFECTS` exceeds; of a small picture the highest."""
    above = values.size // PIXELS_PER_DEFECT
    return int(np.partition(values.reshape(-1), -1 - above)[-1 - above] if above else values.max(initial=0))


def scale_grey(image: Image.Image, white_level: int, name: str) -> Image.Image:
    """Scale grey 0-top to 0-255; Pillow's own conversion cuts off at 255, and the picture is all white.

    Raises BadImage when values are above, more of them than defects would be: those become white.
    """
    grey = np.asarray(image).astype(np.int64)  # modes I;16, I;16B (2 bytes) and I (4; PPM's, scaled to 65535)
    clear = image.info.get("transparency")
    nothing = grey == clear if isinstance(clear, int) else None  # the grey that stands for nothing, laid on white
    _check(grey if nothing is None else grey[~nothing], white_level, name)
    grey = np.minimum(grey, white_level)
    if isinstance(image, TiffImagePlugin.TiffImageFile) and image.tag_v2.get(_PHOTOMETRIC) == 0:
        grey = white_level - grey  # 0 is white; with 8 bits and fewer Pillow sees to it
    if nothing is not None:
        grey[nothing] = white_level
    return Image.fromarray(((grey * 255 + white_level // 2) // white_level).astype(np.uint8))


def scale_colours(image: Image.Image, content: bytes, white_level: int, name: str) -> None:
    """Scale the colours of a loaded picture, of which Pillow keeps the upper 8 bits, from 0-top to 0-255, in place.

    Alpha stays: it uses its whole range. Raises BadImage when values are above as in `to_grey`, and for kinds of files
    of which the lower 8 bits cannot be had.
    """
    lower = _lower_bytes(image, content)
    if lower is None:
        raise BadImageError(
            name,
            "colours of 16 bits in this kind of file cannot be scaled by dataset.bits: save it with 8 bits a channel",
            "unsupported_variant",
        )
    eight = np.array(image)
    wide = (eight[..., :3].astype(np.uint16) << 8) | lower[..., :3]
    _check(wide, white_level, name)
    table = ((np.arange(MAX_UINT16 + 1) * 255 + white_level // 2) // white_level).clip(0, 255).astype(np.uint8)
    eight[..., :3] = table[wide]
    image.paste(Image.fromarray(eight, image.mode))


def _lower_bytes(image: Image.Image, content: bytes) -> npt.NDArray[np.uint8] | None:
    """The lower bytes of colours: the upper ones, where they are asked for in the other byte order."""
    if not isinstance(image, (PngImagePlugin.PngImageFile, TiffImagePlugin.TiffImageFile)):
        return None
    if isinstance(image, TiffImagePlugin.TiffImageFile) and image.tag_v2.get(_PLANAR, 1) == 2:
        return None
    again = Image.open(io.BytesIO(content), formats=(image.format or "",))
    tiles = []
    for tile in again.tile:
        first, *rest = (tile.args,) if isinstance(tile.args, str) else tile.args or ("",)
        found = re.fullmatch(r"(RGBX?|RGBA);16([BLN])", str(first))
        if found is None:
            return None
        raw = f"{found[1]};16{_SWAPPED[found[2]]}"
        tiles.append(tile._replace(args=raw if isinstance(tile.args, str) else (raw, *rest)))
    again.tile = tiles
    again.load()
    return np.asarray(again)


def _check(values: npt.NDArray[np.integer], top: int, name: str) -> None:
    if _highest(values) > top:
        found = int(values.max())
        bits = top.bit_length()
        raise BadImageError(
            name, f"it holds the value {found:,}, and dataset.bits={bits} allows {top:,} at most", "out_of_range"
        )


def uses_few_bits(max_value: int | None) -> bool:
    """Whether a picture's highest value says that its 16 bits a channel are not all in use; black says nothing."""
    return max_value is not None and 0 < max_value <= _SHALLOW


def few_bits_warning(max_values: Sequence[int | None]) -> str:
    """Say that pictures of 16 bits a channel use little of them; found: the highest value of each, None of others."""
    shallow = [value for value in max_values if value is not None and uses_few_bits(value)]
    if not shallow:
        return ""
    deep, top = sum(value is not None for value in max_values), max(shallow)
    head = (
        f"warning: {len(shallow):,} of {deep:,} pictures with 16 bits a channel hold no value over {top:,}: they come"
    )
    if any(value is not None and value > _SHALLOW for value in max_values):
        if len(shallow) < _FEW * deep:
            return ""
        return (
            f"{head} out much darker than the others: bring all to one range, or set dataset.bits=16 if that is meant"
        )
    bits = next(bits for bits in _DEPTHS if top < 2**bits)
    return (
        f"{head} out nearly black: dataset.bits={bits} spreads 0 to {2**bits - 1:,}, "
        "dataset.bits=16 leaves them as they are"
    )
