"""The one decoder: training, prediction and inspection see the same pixels, or the same complaint."""

import io
import re
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps, JpegImagePlugin, PngImagePlugin, TiffImagePlugin

from thaw.data import bit_depth as depth
from thaw.data import corrupt_files, icc_profiles, tiff
from thaw.data.file_bytes import BadImageError, read_bytes

# Raise it whenever a rule of decoding, resizing or refusing changes: what is kept on disk is kept by it, and old pixels
# would go on being used.
VERSION = 5
_FORMAT_NAMES = {"MPO": "JPEG"}  # a phone's JPEG with a second picture behind it
_SUBFILE_TYPE, _DNG_VERSION = 254, 50706  # tags of TIFF
RESIZE_RULE = "squash-bilinear"  # the name of `resize`'s rule, part of the same keys

MAX_PIXELS = 100_000_000  # up to 2 GB for each thread that decodes one, with transparency; 300 MB of RGB

# By content, never by the file's ending: Pillow would also hand a file to Ghostscript, or read it as a volume of data.
SUPPORTED_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "AVIF", "JPEG2000")
SUPPORTED_SUFFIXES = frozenset(
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
# Pictures all the same: they are found in folders, and refused by name, not passed over.
IMAGE_SUFFIXES = SUPPORTED_SUFFIXES | frozenset(
    f".{suffix}"
    for suffixes in (
        "heic heif hif jxl jxr wdp psd psb xcf svg ico icns tga pcx exr hdr dds",
        "dng cr2 cr3 crw nef nrw arw srf sr2 raf orf rw2 pef srw x3f",
    )
    for suffix in suffixes.split()
)


@dataclass(frozen=True)
class DecodeOptions:
    """What a config says of decoding. The default is how every file is decoded that says all by itself."""

    bits: int | None = None  # of 16-bit channels those that hold data, 8 to 16; None: all of them

    @property
    def white_level(self) -> int:
        """The value of a 16-bit channel that becomes 255."""
        return 2 ** (self.bits or 16) - 1

    def key_fields(self) -> dict[str, object]:
        """What is added to the keys of all that is made of pixels; nothing where pixels are those of the default."""
        return {} if self.white_level == depth.MAX_UINT16 else {"bits": self.bits}


DEFAULT_OPTIONS = DecodeOptions()


@dataclass(frozen=True, eq=False)
class DecodedImage:
    """A decoded picture: upright, RGB in sRGB, 8 bits a channel."""

    image: Image.Image  # of a large JPEG perhaps at a half, a quarter or an eighth of its size
    width: int  # of the upright picture as it is stored in the file, in pixels
    height: int
    box: tuple[float, float, float, float]  # left, top, right, bottom of what `image` shows of it, in its pixels
    format: str  # of the file, by content: JPEG, PNG, ...
    mode: str  # of the file's pixels, as Pillow calls it: RGB, L, P, RGBA, CMYK, I;16, ...
    note: str  # what was left out: "first of 12 frames"; mostly ""
    max_value: int | None  # of 16 bits a channel whose range the file does not tell: the highest value; else None

    def downsized(self, size: int) -> npt.NDArray[np.uint8]:
        """Return uint8 (h, w, 3): as stored when neither side is over `size`, else squashed to (size, size, 3)."""
        return np.asarray(self.image) if max(self.width, self.height) <= size else self.resized(size)

    def resized(self, size: int) -> npt.NDArray[np.uint8]:
        """Return uint8 (size, size, 3): squashed or stretched as `resize` does."""
        return np.asarray(resize(self.image, (size, size), self.box))


def decode(
    source: str | Path | bytes,
    name: str | None = None,
    size: tuple[int, int] | None = None,
    options: DecodeOptions = DEFAULT_OPTIONS,
) -> DecodedImage:
    """Return a picture, upright and RGB; the whole file must be sound: a truncated one is refused.

    EXIF orientation is applied, colours of an embedded profile are brought to sRGB, transparency is laid on white
    (dropping alpha would show whatever colours lie hidden under it), 16-bit grey is scaled and not cut off at 255, and
    of an animation the first frame is taken. `source` is a path or a file's bytes; `name` is what errors call it.
    Raises BadImage, also for more than `MAX_PIXELS`, before any memory is taken for them.

    `size` (width, height) says what it will be resized to. A JPEG is then decoded at the smallest of 1/1, 1/2, 1/4 and
    1/8 that leaves both sides at least twice that: libjpeg does it inside the inverse DCT, in a fraction of the time,
    and at twice the size it is still the resizing that decides the pixels. They are a function of the file's bytes,
    `size` and the libraries' versions, whoever asks.
    """
    name = name or ("the image" if isinstance(source, bytes) else str(source))
    content = source if isinstance(source, bytes) else read_bytes(source)
    try:
        image = _open(content, name)
        kind, mode, note = _FORMAT_NAMES.get(image.format or "", image.format or ""), image.mode, _note(image, content)
        reduced, top = (
            _reduce(image, size),
            options.white_level if (deep := depth.has_unknown_range(image, content)) else depth.MAX_UINT16,
        )
        image.load()
        highest = depth.robust_max(image) if deep else None
        if top < depth.MAX_UINT16 and not image.mode.startswith("I"):
            depth.scale_colours(image, content, top, name)
        _turn_upright(image)
        upright, width, height, box = _placed(_to_rgb(image, name, top), reduced)
        return DecodedImage(upright, width, height, box, kind, mode, note, highest)
    except (BadImageError, MemoryError, ImportError):  # the last one: a Pillow that was built without LittleCMS
        raise
    except Image.DecompressionBombError as error:  # Pillow's own limit, at 179 million
        pixels = int(re.findall(r"\d+", str(error))[0])
        raise _too_large(name, f"{pixels} pixels", pixels, len(content)) from error
    except Exception as error:  # Pillow's readers raise OSError, SyntaxError, ValueError, struct.error, EOFError, ...
        kind, reason = corrupt_files.diagnose(error, content)
        raise BadImageError(name, reason, kind) from error


def decode_resized(
    source: str | Path | bytes, size: int, name: str | None = None, options: DecodeOptions = DEFAULT_OPTIONS
) -> npt.NDArray[np.uint8]:
    """Return a picture as a network sees it, uint8 (size, size, 3), RGB, 0-255: in training and in prediction alike.

    Raises BadImage.
    """
    return decode(source, name, (size, size), options).resized(size)


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
    PngImagePlugin.MAX_TEXT_CHUNK = corrupt_files.MAX_METADATA_BYTES  # Pillow's own, 1 MB, refuses sound pictures
    if content.startswith(b"\x89PNG") and (found := corrupt_files.oversized_png_metadata(content)):
        raise BadImageError(name, found[1], found[0])
    image = Image.open(io.BytesIO(content), formats=SUPPORTED_FORMATS)
    if image.width * image.height > MAX_PIXELS:
        raise _too_large(name, f"{image.width}x{image.height} pixels", image.width * image.height, len(content))
    if image.format == "PNG":  # its checksums; decoding looks at none behind the header's
        Image.open(io.BytesIO(content), formats=("PNG",)).verify()
        _fit_transparent_level(image, content, name)
    if isinstance(image, JpegImagePlugin.JpegImageFile) and corrupt_files.ends_in_zeros(content):
        raise BadImageError(name, "it ends in zeros in place of a picture", "zero_filled")
    if isinstance(image, TiffImagePlugin.TiffImageFile) and _is_raw(image, content):
        raise BadImageError(name, "camera raw is not read: develop it to JPEG or PNG", "unsupported_format")
    if isinstance(image, TiffImagePlugin.TiffImageFile) and (found := tiff.unsupported_pixels(image.tag_v2)):
        raise BadImageError(name, found[1], found[0])
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return tiff.correct_planes(image, content, name)
    return image


def _fit_transparent_level(image: Image.Image, content: bytes, name: str) -> None:
    """Bring a PNG's transparent grey to the range that Pillow brings its pixels to; it compares one with the other."""
    clear, depth = image.info.get("transparency"), content[24]  # bits a channel, the header's first field after sizes
    if image.mode == "L" and isinstance(clear, int) and depth in (2, 4):
        image.info["transparency"] = clear * 255 // (2**depth - 1)
    if image.mode == "RGB" and clear is not None and depth == 16:  # of the pixels only the upper halves are there
        raise BadImageError(
            name, "16-bit PNG with a transparent colour is not read: save it with alpha", "unsupported_variant"
        )


def _too_large(name: str, what: str, pixels: int, length: int) -> BadImageError:
    """Tell a large picture from a header that promises a thousand pixels a byte, which only a trap or a fault does."""
    kind = "decompression_bomb" if pixels > 1000 * length else "too_large"
    return BadImageError(name, f"{what}, more than {MAX_PIXELS // 10**6} million: shrink it first", kind)


def _is_raw(image: TiffImagePlugin.TiffImageFile, content: bytes) -> bool:
    """Camera raws are TIFFs whose first picture is a thumbnail; a DNG may also begin with its raw sensor data."""
    tags = image.tag_v2
    return content[8:10] == b"CR" or _DNG_VERSION in tags or bool(tags.get(_SUBFILE_TYPE, 0) & 1)


def _note(image: Image.Image, content: bytes) -> str:
    """Say which of several pictures is taken. GIF and TIFF must be walked through to know."""
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


def _placed(
    image: Image.Image, reduced: _Reduced | None
) -> tuple[Image.Image, int, int, tuple[float, float, float, float]]:
    """Say of an upright image how large it is in the file, and where in it the picture lies.

    libjpeg rounds a reduced picture's sides up; what sticks out, up to 7/8 of a pixel, lies right and bottom as it is
    stored, and wherever turning it has brought them. Left in, it would squash the picture off its place.
    """
    if reduced is None:
        return image, *image.size, (0, 0, *image.size)
    turned = reduced.orientation
    width, height = (reduced.width, reduced.height)[:: 1 if turned < 5 else -1]
    across, down = width / reduced.scale, height / reduced.scale
    left = image.width - across if turned in (2, 3, 6, 7) else 0.0
    top = image.height - down if turned in (3, 4, 7, 8) else 0.0
    return image, width, height, (left, top, left + across, top + down)


def _turn_upright(image: Image.Image) -> None:
    """Apply EXIF orientation; damaged EXIF is passed over as in `_orientation`."""
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except (SyntaxError, ValueError, KeyError, TypeError, OSError, struct.error):
        return


def _to_rgb(image: Image.Image, name: str, top: int) -> Image.Image:
    """Lay transparency on white, and bring colours to sRGB and to 8 bits."""
    profile = image.info.get("icc_profile")
    if image.mode.startswith("I"):
        return icc_profiles.to_srgb(depth.scale_grey(image, top, name), profile)
    if image.mode == "F":
        raise BadImageError(
            name, "floating-point pixels have no known range: save it with 8 or 16 bits a channel", "unsupported_pixels"
        )
    colours = {"1": "L", "LA": "L", "La": "L"}.get(image.mode, image.mode if image.mode in ("L", "CMYK") else "RGB")
    if image.has_transparency_data:
        shown = image.convert("RGBA")
        if icc_profiles.srgb_transform(colours, profile):  # what is transparent is laid on white as it is seen, in sRGB
            alpha = shown.getchannel("A")
            shown = icc_profiles.to_srgb(shown.convert(colours), profile)
            shown.putalpha(alpha)
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, shown).convert("RGB")
    return icc_profiles.to_srgb(image if image.mode == colours else image.convert(colours), profile)
