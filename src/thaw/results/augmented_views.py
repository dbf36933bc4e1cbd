"""Test-time augmentation: the views of an image whose probabilities are averaged.

`flip` is the image and its mirror image. `5crop` is what torchvision's FiveCrop takes: the four corners and the centre.
The crops of AlexNet (Krizhevsky et al. 2012) were of 224 pixels in images of 256; here too the image is decoded at 8/7
of the network's side, rounded, by thaw's own rule (squashed to a square), and each crop has the network's side.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

VIEWS = {"none": 1, "flip": 2, "5crop": 5}  # how many views each `tta=` has


def decoded_size(tta: str, size: int) -> int:
    """Return the side in pixels at which images are decoded for a network that takes `size`."""
    return round(size * 8 / 7) if tta == "5crop" else size


def views(tta: str, images: Pixels, size: int) -> Iterator[Pixels]:
    """Yield the views, each uint8 (B, size, size, 3), of images, uint8 (B, S, S, 3), S as `decoded_size` says.

    The order is: as it is, mirrored; or upper left, upper right, lower left, lower right, centre. When the margin is
    odd, the centre is rounded to the even pixel, as in torchvision.
    """
    if tta != "5crop":
        yield images
        if tta == "flip":
            yield np.ascontiguousarray(images[:, :, ::-1])
        return
    margin = images.shape[1] - size
    centre = round(margin / 2)
    for top, left in ((0, 0), (0, margin), (margin, 0), (margin, margin), (centre, centre)):
        yield np.ascontiguousarray(images[:, top : top + size, left : left + size])
