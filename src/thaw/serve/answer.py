"""What is said of an image: its most probable classes."""

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import numpy.typing as npt

Answer = TypedDict("Answer", {"class": str, "probability": float})


def top_answers(probabilities: npt.NDArray[np.float32], class_names: Sequence[str], top: int) -> list[Answer]:
    """Return the `top` most probable classes of one image, the most probable first, from float32 (C,).

    Of classes with the same probability the first of the network's outputs comes first.
    """
    best = np.argsort(-probabilities, kind="stable")[:top]
    return [{"class": class_names[i], "probability": float(probabilities[i])} for i in best]
