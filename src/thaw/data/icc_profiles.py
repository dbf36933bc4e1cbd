"""Embedded colour profiles (ICC): networks were pretrained on sRGB, so pictures are brought to it."""

import hashlib
import io

import numpy as np
from PIL import Image, ImageCms

# As Photoshop, GIMP and Krita convert unless told otherwise: white stays white, black becomes black.
_INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC
_FLAGS = ImageCms.Flags.BLACKPOINTCOMPENSATION
_SPACES = {"RGB": b"RGB ", "L": b"GRAY", "CMYK": b"CMYK"}  # mode: the colour space that a profile names for it
_NEAR = 2  # levels of 255: the many profiles called sRGB differ by that, and their photos stay as they are stored
_KNOWN = 64  # transforms in memory; a data set has a handful of profiles

_known: dict[tuple[bytes, str], ImageCms.ImageCmsTransform | None] = {}


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Return an image of mode RGB, L or CMYK as RGB; one of mode RGB may be changed in place.

    Without a profile, with one that is (nearly) sRGB, and with one that is damaged or of another mode, the pixels stay
    what they are; of CMYK, Pillow's own conversion.
    """
    transform = srgb_transform(image.mode, profile)
    if transform is None:
        return image if image.mode == "RGB" else image.convert("RGB")  # which would copy it
    return ImageCms.applyTransform(image, transform, inPlace=image.mode == "RGB") or image


def srgb_transform(mode: str, profile: bytes | None) -> ImageCms.ImageCmsTransform | None:
    """Return what brings a profile's colours from `mode` to RGB in sRGB; None if there is nothing to do."""
    if not profile or profile[16:20] != _SPACES.get(mode):
        return None
    key = hashlib.sha256(profile).digest(), mode
    if key in _known:
        return _known[key]
    found = _built(profile, mode)
    if len(_known) >= _KNOWN:
        _known.clear()
    _known[key] = found
    return found


def _built(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        srgb = ImageCms.createProfile("sRGB")
        found = ImageCms.buildTransform(own, srgb, mode, "RGB", _INTENT, _FLAGS)
    except (OSError, ImageCms.PyCMSError):  # damaged; viewers pass over it too
        return None
    return None if mode != "CMYK" and _changes_little(found, mode) else found


def _changes_little(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Whether it leaves all levels, or colours on a grid, as they are; what a profile is called proves nothing."""
    if mode == "L":
        levels = np.arange(256, dtype=np.uint8)[None]
    else:
        levels = np.stack(np.meshgrid(*[np.arange(0, 256, 15, dtype=np.uint8)] * 3), axis=-1).reshape(1, -1, 3)
    image = Image.fromarray(levels)
    after = np.asarray(ImageCms.applyTransform(image, transform)).astype(int)
    return bool(np.abs(after - np.asarray(image.convert("RGB"))).max() <= _NEAR)
