"""Refuse the TIFF variants that Pillow would read wrongly, and correct how it reads separate planes."""

import io
import struct
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from PIL import Image, TiffImagePlugin
from PIL.ExifTags import Base as Tag

from thaw.data.file_bytes import BadImageError

_COLOUR_SPACES = {0: "grey", 1: "grey", 2: "RGB", 3: "palette", 5: "inks", 6: "YCbCr", 8: "CIE Lab", 9: "ICC Lab"}
_SIGNED, _FLOATING = 2, 3  # sample formats


def correct_planes(image: TiffImagePlugin.TiffImageFile, content: bytes, name: str) -> Image.Image:
    """Return an opened, not yet loaded TIFF such that Pillow reads uncompressed separate planes correctly.

    Pillow names a plane by the first letter of the file's mode, and forgets its bit depth and whether 0 is white: all
    but 8-bit colours would come out wrong.

    Raises:
        BadImageError: The planes cannot be read correctly; `name` is what the error calls the image.
    """
    tags = image.tag_v2
    if tags.get(Tag.PlanarConfiguration, 1) != 2 or image.info.get("compression") != "raw":
        return image
    bits, is_big_tiff = set(tags.get(Tag.BitsPerSample, (1,))), content[2:4] in (b"+\0", b"\0+")
    if tags.get(Tag.SamplesPerPixel, 1) == 1 and not is_big_tiff:
        return Image.open(io.BytesIO(_with_contiguous_pixels(content)), formats=("TIFF",))
    if bits == {16} and image.mode in ("RGB", "RGBA"):
        suffix = ";16L" if content[:2] == b"II" else ";16B"
        image.tile = [tile._replace(args=(f"{tile.args[0]}{suffix}", *tile.args[1:])) for tile in image.tile]  # type: ignore[index]
    elif bits != {8} or image.mode not in ("RGB", "RGBA", "CMYK"):
        reason = "TIFF with a plane a channel is read of 8- and 16-bit RGB: save it without planes"
        raise BadImageError(name, reason, "unsupported_variant")
    return image


def _with_contiguous_pixels(content: bytes) -> bytes:
    """Return a single-channel file with its planar configuration set to contiguous; its pixels lie the same in both."""
    endian = "<" if content[:2] == b"II" else ">"
    (directory,) = struct.unpack(f"{endian}I", content[4:8])
    (count,) = struct.unpack(f"{endian}H", content[directory : directory + 2])
    for entry in range(directory + 2, directory + 2 + 12 * count, 12):
        tag, field_type = struct.unpack(f"{endian}HH", content[entry : entry + 4])
        if tag == Tag.PlanarConfiguration:
            value = struct.pack(f"{endian}I" if field_type == 4 else f"{endian}H", 1)
            return content[: entry + 8] + value + content[entry + 8 + len(value) :]
    return content


def unsupported_pixels(tags: Mapping[int, Any]) -> tuple[str, str] | None:
    """Return the kind (a key of `KINDS`) and reason why a TIFF's pixels are refused by its tags, None if they are read.

    Unsigned integers of 1, 2, 4, 8 and 16 bits are read, whose range is that of their bits. Pillow would read some of
    the others wrongly.
    """
    bits, formats = set(tags.get(Tag.BitsPerSample, (1,))), set(tags.get(Tag.SampleFormat, (1,)))
    if _FLOATING in formats:
        return "unsupported_pixels", "floating-point pixels have no known range: save it with 8 or 16 bits a channel"
    if max(bits) > 16:
        reason = f"{max(bits)}-bit pixels have no known range: save it with 8 or 16 bits a channel"
        return "unsupported_pixels", reason
    if _SIGNED in formats:
        return "unsupported_variant", "TIFF with signed pixels is not read: save it without sign"
    if odd := bits - {1, 2, 4, 8, 16}:
        return "unsupported_variant", f"TIFF with {max(odd)} bits a channel is not read: save it with 8 or 16"
    return None


def unsupported_variant(content: bytes, opened: bool) -> tuple[str, str] | None:
    """Return the kind and reason why a TIFF is not read, None if it is damaged.

    Args:
        content: The file's bytes, which Pillow has refused.
        opened: Whether Pillow opened the file and failed to load its pixels.
    """
    with suppress(Exception):  # damaged tags raise anything
        tags = TiffImagePlugin.ImageFileDirectory_v2(content[: 16 if b"+" in content[2:4] else 8])
        file = io.BytesIO(content)
        file.seek(tags.next)
        tags.load(file)
        if fault := unsupported_pixels(tags):
            return fault
        is_16_bit, white_is_zero = tags.get(Tag.BitsPerSample) == (16,), tags.get(Tag.PhotometricInterpretation) == 0
        if content[:2] == b"MM" and is_16_bit and white_is_zero:
            reason = "big-endian 16-bit TIFF with 0 for white is not read: save it with 0 for black"
            return "unsupported_variant", reason
        if not opened and (channels := _describe_channels(tags, len(content))):
            return "unsupported_variant", f"TIFF of {channels} is not read: save it as grey, RGB or RGBA"
    return None


def _describe_channels(tags: Mapping[int, Any], length: int) -> str | None:
    """Return number, bits and colour space of the channels; None if tags are damaged, so that the kind is unknown."""
    samples, bits = tags.get(Tag.SamplesPerPixel, 1), tags.get(Tag.BitsPerSample, (1,))
    offsets = tags.get(Tag.StripOffsets) or tags.get(Tag.TileOffsets) or ()
    sound = tags[Tag.ImageWidth] > 0 and tags[Tag.ImageLength] > 0 and offsets and max(offsets) < length
    colour_space = _COLOUR_SPACES.get(tags[Tag.PhotometricInterpretation])
    if not sound or colour_space is None or samples not in range(1, 1000) or len(bits) not in (1, samples):
        return None
    return f"{samples} channel{'s' if samples > 1 else ''} of {max(bits)} bits ({colour_space})"
