"""A picture in any form that people have it in, as the pixels that a network takes."""

import base64
import binascii
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from thaw.data import decode
from thaw.data.decode import DEFAULT_OPTIONS, DecodeOptions
from thaw.data.file_bytes import BadImageError
from thaw.data.file_signatures import readable_format

Picture = str | os.PathLike[str] | bytes | bytearray | memoryview | npt.NDArray[np.uint8] | Image.Image
"""See `pixels_of`."""

_MAX_PATH = 4096  # characters; longer text is base64
_ACCEPTED = "the bytes of an image file, base64 text, a uint8 array or a Pillow image"
_SHAPES = "uint8 (H, W, 3) in RGB, (H, W) or (H, W, 1) grey, or (H, W, 4) with alpha"
_URLSAFE = str.maketrans("-_", "+/")


def pixels_of(
    value: Picture,
    size: int,
    options: DecodeOptions = DEFAULT_OPTIONS,
    name: str | None = None,
    *,
    allow_paths: bool = True,
) -> npt.NDArray[np.uint8]:
    """Return a picture as uint8 (size, size, 3), RGB, 0-255: decoded and resized by the rules of training.

    Args:
        value: a path; the bytes of an image file; these as base64, also as `data:image/...;base64,`; an array, uint8
            (H, W, 3), (H, W), (H, W, 1) or (H, W, 4), whose alpha is laid on white; or an image of Pillow.
        size: side of the network's square input in pixels.
        options: for files that do not state their range of values, as in the run's `dataset.bits`.
        name: what errors call the picture; by default its path, or "the image".
        allow_paths: a text may be a path. Not for texts that strangers send: they would read this machine's files.

    Raises:
        BadImageError: it cannot be used, with the reason.
    """
    if isinstance(value, str) and not value.strip():
        raise BadImageError(name or "the image", "an empty text is no picture", "not_an_image")
    if isinstance(value, str) and not (allow_paths and _is_file(value)):
        value = decode_base64(value, name or "the image", allow_paths=allow_paths)
    if isinstance(value, bytes | bytearray | memoryview):
        return decode.decode(bytes(value), name or "the image", (size, size), options).resized(size)
    if isinstance(value, str | os.PathLike) and allow_paths:
        return decode.decode(Path(value).expanduser(), name or str(value), (size, size), options).resized(size)
    name = name or "the image"
    if isinstance(value, np.ndarray):
        value = _image_of_array(value, name)
    if isinstance(value, Image.Image):
        rgb = decode.to_upright_rgb(_loaded(value, name), name, options)
        return np.asarray(decode.resize(rgb, (size, size)))
    raise BadImageError(
        name, f"it is of type {type(value).__name__}: give {'a path, ' * allow_paths}{_ACCEPTED}", "not_an_image"
    )


def _is_file(text: str) -> bool:
    try:
        return len(text) <= _MAX_PATH and Path(text).expanduser().exists()
    except (OSError, RuntimeError):  # a name that is too long, an unknown user's home
        return False


def decode_base64(text: str, name: str, *, allow_paths: bool) -> bytes:
    """Return the bytes that a text holds in base64, with or without padding, of either alphabet; see `pixels_of`.

    Raises:
        BadImageError: it does not; a short one is taken for the path of a file that is not there, if it may be one.
    """
    head, comma, data = text.partition(",") if text[:5].lower() == "data:" else ("", "", text)
    if head and not (comma and head.lower().endswith(";base64")):
        raise BadImageError(name, "a data: URL is read only in base64: data:image/jpeg;base64,...", "not_an_image")
    if data[:8].lower().startswith(("http://", "https:/")):
        raise BadImageError(text, "URLs are not fetched: give the file or its bytes", "not_an_image")
    data = "".join(data.split()).rstrip("=").translate(_URLSAFE)
    try:
        content = base64.b64decode(data + "=" * (-len(data) % 4), validate=True)
    except (binascii.Error, ValueError):  # the latter: characters that are not ASCII
        content = b""
    if content and (head or not allow_paths or _is_like_image(content)):
        return content
    if head or not allow_paths:
        raise BadImageError(name, "it is not base64 of an image file", "not_an_image")
    shown = text if len(text) <= 200 else f"{text[:60]}..."
    raise BadImageError(shown, "there is no such file, and it is not base64 of an image file", "missing")


def _is_like_image(content: bytes) -> bool:
    """Whether bytes may have been meant as a file: short words and relative paths are valid base64 too."""
    return len(content) > _MAX_PATH or readable_format(content) is not None


def _image_of_array(array: npt.NDArray[np.uint8], name: str) -> Image.Image:
    if array.dtype != np.uint8:
        raise BadImageError(name, f"an array of {array.dtype}: give {_SHAPES}, 0-255", "unsupported_pixels")
    pixels = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
    if pixels.ndim != 2 and not (pixels.ndim == 3 and pixels.shape[2] in (3, 4)):
        raise BadImageError(name, f"an array of shape {array.shape}: give {_SHAPES}", "unsupported_pixels")
    if not pixels.size:
        raise BadImageError(name, f"an array of shape {array.shape} has no pixels", "no_pixels")
    return Image.fromarray(np.ascontiguousarray(pixels))


def _loaded(image: Image.Image, name: str) -> Image.Image:
    """Return a copy of an image, whose file may not have been read yet."""
    if not image.width * image.height:
        raise BadImageError(name, f"an image of {image.width}x{image.height} has no pixels", "no_pixels")
    if image.width * image.height > decode.MAX_PIXELS:
        limit = f"more than {decode.MAX_PIXELS // 10**6} million"
        raise BadImageError(name, f"{image.width}x{image.height} pixels, {limit}: shrink it first", "too_large")
    try:
        return image.copy()
    except Exception as error:  # Pillow's readers raise OSError, SyntaxError, ValueError, ...
        raise BadImageError(name, str(error) or type(error).__name__, "damaged") from error
