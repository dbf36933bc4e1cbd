"""Convert images with an embedded colour profile (ICC) to sRGB, the colour space of ImageNet's pretraining."""

import hashlib
import io

import numpy as np
from PIL import Image, ImageCms

# As Photoshop, GIMP and Krita convert by default: white stays white, black becomes black.
_INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC
_FLAGS = ImageCms.Flags.BLACKPOINTCOMPENSATION
_COLOUR_SPACES = {"RGB": b"RGB ", "L": b"GRAY", "CMYK": b"CMYK"}  # by mode: what a profile's header names
_TOLERANCE = 2  # levels of 255: the many profiles called sRGB differ by that, and their photos stay as stored
_MAX_TRANSFORMS = 64  # in memory; a data set has a handful of profiles

_transforms: dict[tuple[bytes, str], ImageCms.ImageCmsTransform | None] = {}  # by the profile's sha256, and mode


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Return an image of mode RGB, L or CMYK as RGB in sRGB; one of mode RGB may be changed in place.

    Pixels stay as they are without a profile, and with one that is (nearly) sRGB, damaged, or made for another mode.
    CMYK without a profile is converted by Pillow.
    """
    transform = srgb_transform(image.mode, profile)
    if transform is None:
        return image if image.mode == "RGB" else image.convert("RGB")  # which would copy it
    return ImageCms.applyTransform(image, transform, inPlace=image.mode == "RGB") or image


def srgb_transform(mode: str, profile: bytes | None) -> ImageCms.ImageCmsTransform | None:
    """Return the transform from a profile's colours to sRGB, None if there is nothing to convert (see `to_srgb`)."""
    if not profile or profile[16:20] != _COLOUR_SPACES.get(mode):
        return None
    key = hashlib.sha256(profile).digest(), mode
    if key in _transforms:
        return _transforms[key]
    transform = _build_transform(profile, mode)
    if len(_transforms) >= _MAX_TRANSFORMS:
        _transforms.clear()
    _transforms[key] = transform
    return transform


def _build_transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    try:
        source, srgb = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(source, srgb, mode, "RGB", _INTENT, _FLAGS)
    except (OSError, ImageCms.PyCMSError):  # damaged; viewers ignore it too
        return None
    return None if mode != "CMYK" and _is_near_identity(transform, mode) else transform


def _is_near_identity(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Return whether a transform changes no level, or no colour of a grid; a profile's name proves nothing."""
    if mode == "L":
        levels = np.arange(256, dtype=np.uint8)[None]
    else:
        levels = np.stack(np.meshgrid(*[np.arange(0, 256, 15, dtype=np.uint8)] * 3), axis=-1).reshape(1, -1, 3)
    image = Image.fromarray(levels)
    converted = np.asarray(ImageCms.applyTransform(image, transform)).astype(int)
    return bool(np.abs(converted - np.asarray(image.convert("RGB"))).max() <= _TOLERANCE)
