"""Decode image files for training, prediction and inspection alike: the same pixels, or the same error."""

import io
import re
import struct
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps, JpegImagePlugin, PngImagePlugin, TiffImagePlugin

from thaw.data import bit_depth, corrupt_files, icc_profiles, squares, tiff
from thaw.data.file_bytes import BadImageError, read_bytes_and_stats

# Raise it whenever a rule of decoding, resizing or refusing changes: cached rows have it in their key, and stale pixels
# would be used otherwise.
VERSION = 5
_FORMAT_NAMES = {"MPO": "JPEG"}  # a phone's JPEG with a second picture behind it
_BAD_EXIF = (SyntaxError, ValueError, KeyError, TypeError, OSError, struct.error)  # what Pillow raises

Box = tuple[float, float, float, float]  # left, top, right, bottom, in pixels

MAX_PIXELS = 100_000_000  # with transparency up to 2 GB in each thread that decodes; 300 MB as RGB

# By content, never by suffix: Pillow would also pass a file to Ghostscript, or read it as volumetric data.
SUPPORTED_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "AVIF", "JPEG2000")


def _suffixes(names: str) -> frozenset[str]:
    return frozenset(f".{name}" for name in names.split())


SUPPORTED_SUFFIXES = _suffixes("jpg jpeg jpe jfif mpo png apng gif bmp dib webp tif tiff ppm pgm pbm pnm avif jp2 j2k")
# Images in other formats too: a folder's listing includes them, and decoding refuses them by name.
IMAGE_SUFFIXES = SUPPORTED_SUFFIXES | _suffixes(
    "heic heif hif jxl jxr wdp psd psb xcf svg ico icns tga pcx exr hdr dds "
    "dng cr2 cr3 crw nef nrw arw srf sr2 raf orf rw2 pef srw x3f"
)


@dataclass(frozen=True)
class DecodeOptions:
    """The configured rules of decoding, for files that do not state them."""

    bits: int | None = None  # dataset.bits: how many bits of 16-bit channels hold data, 8 to 16; None: all of them
    resize: str = squares.SQUASH  # dataset.resize: how pictures become square, a name of `squares.SQUARES`

    @property
    def white_level(self) -> int:
        """The value of a 16-bit channel that becomes 255."""
        return 2 ** (self.bits or 16) - 1

    @property
    def resize_rule(self) -> str:
        """What `resized` does, as a field of the cache keys of pixels and of what is computed from them."""
        return f"{self.resize}-bilinear"

    def key_fields(self) -> dict[str, object]:
        """Return the fields that these options add to the cache keys of what is decoded; none by default."""
        return {} if self.white_level == bit_depth.MAX_UINT16 else {"bits": self.bits}


DEFAULT_OPTIONS = DecodeOptions()


@dataclass(frozen=True, eq=False)
class DecodedImage:
    """An upright image, RGB in sRGB, 8 bits a channel."""

    image: Image.Image  # of a large JPEG perhaps at a half, a quarter or an eighth of its size
    width: int  # in pixels, upright, in the file's full size; of a picture that was made square, the square's
    height: int
    box: Box  # where in `image` the picture lies
    format: str  # of the file, by content: JPEG, PNG, ...
    mode: str  # Pillow's, of the file's pixels: RGB, L, P, RGBA, CMYK, I;16, ...
    note: str  # what was left out: "first of 12 frames"; mostly ""
    max_value: int | None  # the highest of 16-bit channels whose range the file does not state; None of other files
    file_size: tuple[int, int]  # width and height of the file's picture, upright

    def downsized(self, size: int) -> npt.NDArray[np.uint8]:
        """Return uint8 (h, w, 3): in full size when no side exceeds `size`, else squashed to (size, size, 3)."""
        return np.asarray(self.image) if max(self.width, self.height) <= size else self.resized(size)

    def resized(self, size: int) -> npt.NDArray[np.uint8]:
        """Return uint8 (size, size, 3), RGB, 0-255, squashed or stretched as `resize` does: what networks take."""
        return np.asarray(resize(self.image, (size, size), self.box))


def decode(
    source: str | Path | bytes,
    name: str | None = None,
    size: tuple[int, int] | None = None,
    options: DecodeOptions = DEFAULT_OPTIONS,
) -> DecodedImage:
    """Decode a whole image file to upright RGB, as a function of its bytes, `size`, `options` and library versions.

    EXIF orientation is applied. Colours of an embedded profile are converted to sRGB. Transparency is laid on white;
    dropping alpha would show whatever colours lie hidden under it. 16-bit grey is scaled, not clipped at 255. Of an
    animation the first frame is taken.

    Args:
        source: A path, or the bytes of a file.
        name: What errors call the image; by default its path.
        size: The (width, height) that it will be resized to. A JPEG is then decoded at the smallest of 1/1, 1/2, 1/4
            and 1/8 that leaves both sides at least twice that: libjpeg reduces inside the inverse DCT, in a fraction of
            the time, and from twice the size it is still the resizing that decides the pixels.
        options: The configured rules for files that do not state them.

    Raises:
        BadImageError: The file cannot be used; over `MAX_PIXELS` it is refused before memory is allocated.
    """
    name = name or ("the image" if isinstance(source, bytes) else str(source))
    content = source if isinstance(source, bytes) else read_bytes_and_stats(source)[0]
    try:
        image = _open(content, name)
        format_name = _FORMAT_NAMES.get(image.format or "", image.format or "")
        mode, note = image.mode, _frames_note(image, content)
        reduction = _reduce_jpeg(image, size)
        unknown_range = bit_depth.has_unknown_range(image, content)
        white_level = options.white_level if unknown_range else bit_depth.MAX_UINT16
        image.load()
        max_value = bit_depth.robust_max(image) if unknown_range else None
        if white_level < bit_depth.MAX_UINT16 and not image.mode.startswith("I"):
            bit_depth.scale_colours(image, content, white_level, name)
        _turn_upright(image)
        rgb = _to_rgb(image, name, white_level)
        width, height, box = _full_size_and_box(rgb, reduction)
        file_size = width, height
        if options.resize != squares.SQUASH:
            rgb = _made_square(_whole_pixels(rgb, box), options, name)
            side = min(file_size) if options.resize == "crop" else max(file_size)
            width, height, box = side, side, (0, 0, *rgb.size)
        return DecodedImage(rgb, width, height, box, format_name, mode, note, max_value, file_size)
    except (BadImageError, MemoryError, ImportError):  # the last: a Pillow built without LittleCMS
        raise
    except Image.DecompressionBombError as error:  # Pillow's own limit, at 179 million
        pixels = int(re.findall(r"\d+", str(error))[0])
        raise _too_large(name, f"{pixels} pixels", pixels, len(content)) from error
    except Exception as error:  # Pillow's readers raise OSError, SyntaxError, ValueError, struct.error, EOFError, ...
        kind, reason = corrupt_files.diagnose_bad_file(error, content)
        raise BadImageError(name, reason, kind) from error


def _whole_pixels(image: Image.Image, box: Box) -> Image.Image:
    """Return the part of an image in a box, which of a reduced JPEG begins or ends inside a pixel."""
    if box == (0, 0, *image.size):
        return image
    whole = max(1, round(box[2] - box[0])), max(1, round(box[3] - box[1]))
    return image.resize(whole, Image.Resampling.BILINEAR, box)


def _made_square(image: Image.Image, options: DecodeOptions, name: str) -> Image.Image:
    """Return an image as `dataset.resize` has it.

    Raises:
        BadImageError: padded, it would have more than `MAX_PIXELS`: a strip of few pixels may be very long.
    """
    square, side = squares.SQUARES[options.resize], max(image.size)
    if options.resize == "pad" and side * side > MAX_PIXELS:
        limit = f"more than {MAX_PIXELS // 10**6} million"
        raise BadImageError(name, f"{side}x{side} pixels once it is padded, {limit}: shrink it first", "too_large")
    return square(image) if square else image


def to_upright_rgb(image: Image.Image, name: str, options: DecodeOptions = DEFAULT_OPTIONS) -> Image.Image:
    """Return a loaded image as `decode` returns a file's, square if that is asked for; the image may be changed.

    Raises:
        BadImageError: Its pixels have no known range.
    """
    _turn_upright(image)
    return _made_square(_to_rgb(image, name, options.white_level), options, name)


def resize(image: Image.Image, size: tuple[int, int], box: Box | None = None) -> Image.Image:
    """Return an image, or the part of it in `box`, squashed or stretched to exactly `size` (width, height).

    Bilinear, as Keras's load_img. When shrinking, Pillow averages over all source pixels, so nothing aliases.
    """
    return image if image.size == size else image.resize(size, Image.Resampling.BILINEAR, box)


def _open(content: bytes, name: str) -> Image.Image:
    """Return an image that is opened and not loaded; raises BadImageError for what Pillow would read wrongly."""
    # Pillow only warns at 89 million pixels, where the limit below refuses, and of damaged metadata in a sound image.
    # The filter is set at every call and never reset: threads that enter and leave a filter at the same time leave the
    # wrong one behind.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    PngImagePlugin.MAX_TEXT_CHUNK = corrupt_files.MAX_METADATA_BYTES  # Pillow's own, 1 MB, refuses sound images
    if content.startswith(b"\x89PNG") and (fault := corrupt_files.oversized_png_metadata(content)):
        raise BadImageError(name, fault[1], fault[0])
    image = Image.open(io.BytesIO(content), formats=SUPPORTED_FORMATS)
    if image.width * image.height > MAX_PIXELS:
        raise _too_large(name, f"{image.width}x{image.height} pixels", image.width * image.height, len(content))
    if image.format == "PNG":
        Image.open(io.BytesIO(content), formats=("PNG",)).verify()  # checksums; decoding checks only the header's
        _scale_transparent_level(image, content, name)
    if isinstance(image, JpegImagePlugin.JpegImageFile) and corrupt_files.ends_in_zeros(content):
        raise BadImageError(name, "it ends in zeros in place of a picture", "zero_filled")
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        if _is_camera_raw(image, content):
            raise BadImageError(name, "camera raw is not read: develop it to JPEG or PNG", "unsupported_format")
        if fault := tiff.unsupported_pixels(image.tag_v2):
            raise BadImageError(name, fault[1], fault[0])
        return tiff.correct_planes(image, content, name)
    return image


def _scale_transparent_level(image: Image.Image, content: bytes, name: str) -> None:
    """Scale a PNG's transparent grey to 0-255 as Pillow scales the pixels that it is compared with."""
    transparent, bits = image.info.get("transparency"), content[24]  # bits a channel: the header's field after the size
    if image.mode == "L" and isinstance(transparent, int) and bits in (2, 4):
        image.info["transparency"] = transparent * 255 // (2**bits - 1)
    if (
        image.mode == "RGB" and transparent is not None and bits == 16
    ):  # Pillow keeps the upper bytes of the pixels only
        reason = "16-bit PNG with a transparent colour is not read: save it with alpha"
        raise BadImageError(name, reason, "unsupported_variant")


def _too_large(name: str, size: str, pixels: int, length: int) -> BadImageError:
    """Return the error; a header that promises over a thousand pixels a byte is a trap or a fault."""
    kind = "decompression_bomb" if pixels > 1000 * length else "too_large"
    return BadImageError(name, f"{size}, more than {MAX_PIXELS // 10**6} million: shrink it first", kind)


def _is_camera_raw(image: TiffImagePlugin.TiffImageFile, content: bytes) -> bool:
    """Return whether a TIFF's first picture is a raw file's thumbnail, or, in some DNGs, raw sensor data."""
    tags = image.tag_v2
    is_dng = ExifTags.Base.DNGVersion in tags
    return content[8:10] == b"CR" or is_dng or bool(tags.get(ExifTags.Base.NewSubfileType, 0) & 1)


def _frames_note(image: Image.Image, content: bytes) -> str:
    """Return which of several pictures is taken; only reading through GIF and TIFF tells how many there are."""
    if image.format in ("GIF", "TIFF"):
        try:
            frames = getattr(Image.open(io.BytesIO(content), formats=(image.format,)), "n_frames", 1)
        except Exception:  # a later frame is damaged, which is not used
            frames = 1
    else:
        frames = getattr(image, "n_frames", 1)
    unit = "pictures" if image.format in ("TIFF", "MPO") else "frames"
    return f"first of {frames} {unit}" if frames > 1 else ""


@dataclass(frozen=True)
class _JpegReduction:
    """The `width` and `height` of a JPEG that is decoded at 1/`scale`, before it is turned upright."""

    width: int
    height: int
    scale: int
    orientation: int  # EXIF's, 1-8; from 5 on width and height change places


def _reduce_jpeg(image: Image.Image, size: tuple[int, int] | None) -> _JpegReduction | None:
    """Have a JPEG decoded no larger than needed for twice `size` when it is upright."""
    # Not CMYK: Adobe's are stored inverted, and a rare kind is not worth a rule of its own.
    if size is None or not isinstance(image, JpegImagePlugin.JpegImageFile) or image.mode not in ("RGB", "L"):
        return None
    width, height = image.size
    orientation = _orientation(image)
    across, down = size if orientation < 5 else size[::-1]
    drafted = image.draft(image.mode, (2 * across, 2 * down))
    return _JpegReduction(width, height, round(width / drafted[1][2]), orientation) if drafted else None


def _orientation(image: Image.Image) -> int:
    """Return EXIF's orientation, 1 (upright) where EXIF is damaged: every viewer shows such a picture."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except _BAD_EXIF:
        return 1
    return orientation if orientation in range(1, 9) else 1


def _full_size_and_box(image: Image.Image, reduction: _JpegReduction | None) -> tuple[int, int, Box]:
    """Return the width and height of an upright image in full size, and the box in which the picture lies in it.

    libjpeg rounds the sides of a reduced picture up. The surplus, up to 7/8 of a pixel, is at the right and bottom as
    stored, and wherever turning brings these. Resized with the picture, it would shift it.
    """
    if reduction is None:
        return *image.size, (0, 0, *image.size)
    orientation = reduction.orientation
    width, height = (reduction.width, reduction.height)[:: 1 if orientation < 5 else -1]
    across, down = width / reduction.scale, height / reduction.scale
    left = image.width - across if orientation in (2, 3, 6, 7) else 0.0
    top = image.height - down if orientation in (3, 4, 7, 8) else 0.0
    return width, height, (left, top, left + across, top + down)


def _turn_upright(image: Image.Image) -> None:
    """Apply EXIF's orientation in place; damaged EXIF is ignored as in `_orientation`."""
    with suppress(*_BAD_EXIF):
        ImageOps.exif_transpose(image, in_place=True)


def _to_rgb(image: Image.Image, name: str, white_level: int) -> Image.Image:
    """Return an image as RGB in sRGB, 8 bits a channel, its transparency laid on white."""
    profile = image.info.get("icc_profile")
    if image.mode.startswith("I"):
        return icc_profiles.to_srgb(bit_depth.scale_grey(image, white_level, name), profile)
    if image.mode == "F":
        reason = "floating-point pixels have no known range: save it with 8 or 16 bits a channel"
        raise BadImageError(name, reason, "unsupported_pixels")
    colours = {"1": "L", "LA": "L", "La": "L"}.get(image.mode, image.mode if image.mode in ("L", "CMYK") else "RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        if icc_profiles.srgb_transform(colours, profile):  # before it is laid on white, which is sRGB's
            alpha = rgba.getchannel("A")
            rgba = icc_profiles.to_srgb(rgba.convert(colours), profile)
            rgba.putalpha(alpha)
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return icc_profiles.to_srgb(image if image.mode == colours else image.convert(colours), profile)
