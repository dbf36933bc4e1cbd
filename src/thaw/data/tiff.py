"""What of TIFF is read, what of it Pillow would read wrongly, and what is refused by name."""

import io
import struct
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from PIL import Image, TiffImagePlugin

from thaw.data.file_bytes import BadImageError

# Tags, by their numbers.
_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _STRIPS, _SAMPLES = 256, 257, 258, 262, 273, 277
_PLANAR, _TILES, _SAMPLE_FORMAT = 284, 324, 339
_COLOURS = {0: "grey", 1: "grey", 2: "RGB", 3: "palette", 5: "inks", 6: "YCbCr", 8: "CIE Lab", 9: "ICC Lab"}
_SIGNED, _FLOATING = 2, 3


def correct_planes(image: TiffImagePlugin.TiffImageFile, content: bytes, name: str) -> Image.Image:
    """Return a file that was opened and not loaded, so that it will be read right; raises BadImage where it cannot be.

    Uncompressed with a plane a channel, all but 8-bit colours would come out wrong: Pillow names a plane by the first
    letter of what the file holds, and forgets how many bits it has and whether 0 is white.
    """
    tags = image.tag_v2
    if tags.get(_PLANAR, 1) != 2 or image.info.get("compression") != "raw":
        return image
    bits, big = set(tags.get(_BITS, (1,))), content[2:4] in (b"+\0", b"\0+")
    if tags.get(_SAMPLES, 1) == 1 and not big:
        return Image.open(io.BytesIO(_in_one_plane(content)), formats=("TIFF",))
    if bits == {16} and image.mode in ("RGB", "RGBA"):
        end = ";16L" if content[:2] == b"II" else ";16B"
        image.tile = [tile._replace(args=(f"{tile.args[0]}{end}", *tile.args[1:])) for tile in image.tile]  # type: ignore[index]
    elif bits != {8} or image.mode not in ("RGB", "RGBA", "CMYK"):
        raise BadImageError(
            name,
            "TIFF with a plane a channel is read of 8- and 16-bit RGB: save it without planes",
            "unsupported_variant",
        )
    return image


def _in_one_plane(content: bytes) -> bytes:
    """The same file, with a single channel said to lie as it does anyway."""
    end = "<" if content[:2] == b"II" else ">"
    (at,) = struct.unpack(f"{end}I", content[4:8])
    (count,) = struct.unpack(f"{end}H", content[at : at + 2])
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind = struct.unpack(f"{end}HH", content[entry : entry + 4])
        if tag == _PLANAR:
            value = struct.pack(f"{end}I" if kind == 4 else f"{end}H", 1)
            return content[: entry + 8] + value + content[entry + 8 + len(value) :]
    return content


def unsupported_pixels(tags: Mapping[int, Any]) -> tuple[str, str] | None:
    """Return kind and reason of a TIFF whose tags announce pixels that are not read; Pillow would take some wrongly.

    Integers without sign of 1, 2, 4, 8 and 16 bits are read: their range is that of their bits.
    """
    bits, formats = set(tags.get(_BITS, (1,))), set(tags.get(_SAMPLE_FORMAT, (1,)))
    if _FLOATING in formats:
        return "unsupported_pixels", "floating-point pixels have no known range: save it with 8 or 16 bits a channel"
    if max(bits) > 16:
        said = f"{max(bits)}-bit pixels have no known range: save it with 8 or 16 bits a channel"
        return "unsupported_pixels", said
    if _SIGNED in formats:
        return "unsupported_variant", "TIFF with signed pixels is not read: save it without sign"
    if odd := bits - {1, 2, 4, 8, 16}:
        return "unsupported_variant", f"TIFF with {max(odd)} bits a channel is not read: save it with 8 or 16"
    return None


def unsupported_variant(content: bytes, opened: bool) -> tuple[str, str] | None:
    """Say it of a file that Pillow does not open, or not read."""
    with suppress(Exception):  # whatever damaged tags bring about
        tags = TiffImagePlugin.ImageFileDirectory_v2(content[: 16 if b"+" in content[2:4] else 8])
        file = io.BytesIO(content)
        file.seek(tags.next)
        tags.load(file)
        if found := unsupported_pixels(tags):
            return found
        if content[:2] == b"MM" and tags.get(_PHOTOMETRIC) == 0 and tags.get(_BITS) == (16,):
            return (
                "unsupported_variant",
                "big-endian 16-bit TIFF with 0 for white is not read: save it with 0 for black",
            )
        if not opened and (layout := _layout(tags, len(content))):
            return "unsupported_variant", f"TIFF of {layout} is not read: save it as grey, RGB or RGBA"
    return None


def _layout(tags: Mapping[int, Any], length: int) -> str | None:
    """Say what channels a TIFF has whose tags are sound: then it is their kind that is not read."""
    samples, bits = tags.get(_SAMPLES, 1), tags.get(_BITS, (1,))
    starts = tags.get(_STRIPS) or tags.get(_TILES) or ()
    sound = tags[_WIDTH] > 0 and tags[_HEIGHT] > 0 and starts and max(starts) < length
    if (
        not sound
        or tags[_PHOTOMETRIC] not in _COLOURS
        or samples not in range(1, 1000)
        or len(bits) not in (1, samples)
    ):
        return None
    channels = "1 channel" if samples == 1 else f"{samples} channels"
    return f"{channels} of {max(bits)} bits ({_COLOURS[tags[_PHOTOMETRIC]]})"
