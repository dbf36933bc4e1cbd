"""A picture under the heat map of a class, for a page or a client."""

import base64
import io
import threading
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from thaw.data.decode import DecodeOptions, decode, resize
from thaw.models.heat_overlay import overlay

SIDE = 640  # pixels of the picture's longer side, at most
JPEG_QUALITY = 85

Heat = Callable[[npt.NDArray[np.uint8], int], npt.NDArray[np.float32]]


def heat_function(model: object) -> Heat:
    """Return a function of an image, uint8 (S, S, 3), and a class to its heat, float32 (h, w), one call at a time.

    Raises UserError when the network has no feature map.
    """
    from thaw.models.grad_cam import GradCam  # late: it imports Keras

    grad_cam, lock = GradCam(model), threading.Lock()

    def heat(image: npt.NDArray[np.uint8], label: int) -> npt.NDArray[np.float32]:
        with lock:
            return grad_cam(image[None], np.array([label]))[0]

    return heat


def heat_picture(content: bytes, name: str, heat: npt.NDArray[np.float32], options: DecodeOptions) -> str:
    """Return the picture of a file's bytes under a heat map, as the data URL of a JPEG. Raises BadImageError."""
    picture = decode(content, name, (SIDE, SIDE), options)
    scale = min(1.0, SIDE / max(picture.width, picture.height))
    size = max(1, round(scale * picture.width)), max(1, round(scale * picture.height))
    shown = overlay(np.asarray(resize(picture.image, size, picture.box)), heat)
    file = io.BytesIO()
    shown.save(file, "JPEG", quality=JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
