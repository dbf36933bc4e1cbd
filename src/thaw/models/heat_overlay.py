"""A heat map laid over its picture."""

import numpy as np
import numpy.typing as npt
from PIL import Image

# Plasma of van der Walt and Smith (matplotlib, CC0): equal steps look equal, also to the colour-blind, and lightness
# grows with the heat. Nine of its 256 colours; in between they differ from it by 5 of 255 at most.
PLASMA = np.array(
    [
        (13, 8, 135), (76, 2, 161), (126, 3, 168), (169, 35, 150), (203, 71, 120), (230, 108, 92), (248, 148, 65),
        (253, 195, 40), (240, 249, 33),
    ],
    np.float32,
)  # fmt: skip


def heat_colours(heat: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the colour of each heat from 0 to 1, RGB 0-255, with one axis more."""
    places = np.linspace(0, 1, len(PLASMA))
    channels = [np.interp(heat, places, PLASMA[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).astype(np.float32)


def overlay(image: npt.NDArray[np.uint8], heat: npt.NDArray[np.float32], alpha: float = 0.7) -> Image.Image:
    """Return a picture under its heat map: from untouched where the heat is 0 to `alpha` covered where it is 1.

    Args:
        image: uint8 (H, W, 3), RGB; of any shape: the network's square input is the whole picture, squashed.
        heat: float32 (h, w), 0 to 1; enlarged bilinearly.
        alpha: how much of the hottest place is covered, 0 to 1.
    """
    height, width = image.shape[:2]
    smooth = np.asarray(Image.fromarray(heat).resize((width, height), Image.Resampling.BILINEAR)).clip(0, 1)
    cover = alpha * smooth[..., None]
    blended = image * (1 - cover) + heat_colours(smooth) * cover
    return Image.fromarray(blended.round().astype(np.uint8))
