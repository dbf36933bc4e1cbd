"""Answers as JSON: what /predict says of each image."""

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from starlette.responses import Response

from thaw.serve.answer import top_answers
from thaw.serve.image_service import ImageAnswer

Calibrate = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]


class AsciiJson(Response):
    """JSON in ASCII: a class's name that is not UTF-8 comes as escapes, which JSON readers understand."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return the bytes; a number that is not finite is refused, as JSON has none."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


def finite(number: float) -> float | None:
    """Return a number, or None for what JSON cannot hold."""
    return number if math.isfinite(number) else None


def image_entry(
    answer: ImageAnswer, class_names: Sequence[str], top: int, calibrate: Calibrate | None
) -> dict[str, Any]:
    """Return an image's entry: its name with `predictions`, or with `error`."""
    if answer.probabilities is None:
        return {"name": answer.name, "error": answer.error}
    row = answer.probabilities if calibrate is None else calibrate(answer.probabilities[None])[0]
    best = top_answers(row, class_names, top)
    entries = [{"class": entry["class"], "probability": finite(entry["probability"])} for entry in best]
    return {"name": answer.name, "predictions": entries}
