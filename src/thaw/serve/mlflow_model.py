"""A trained network as a model of MLflow: pictures in any form in, classes and probabilities out.

MLflow imports this module by name from the copy of thaw's code in the model, where thaw need not be installed.
"""

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

from thaw.common.errors import UserError
from thaw.data.file_bytes import BadImageError
from thaw.data.picture_input import pixels_of
from thaw.models.saved_model import WEIGHTS_FILE, SavedNetwork
from thaw.results.classifier import (
    Classifier,
    calibration_function,
    load_trained,
    probability_function,
    read_settings,
)
from thaw.serve.answer import top_answers
from thaw.serve.picture_batch import pictures_of
from thaw.serve.small_batches import TRIAL_SIZES, Compute, fast_for_few

GROUP = 64  # images that are decoded and predicted at once, so that a table of any length fits
MAX_LISTED = 10  # bad pictures in one message
DEFAULT_TOP_K = 5
_SERVING = "_MLFLOW_IS_IN_SERVING_ENVIRONMENT"  # set by `mlflow models serve`


class RefusedInput(MlflowException):
    """The input cannot be used; over HTTP a status of 400.

    MLflow's server would put all that was sent before the message: megabytes of base64.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message, error_code=INVALID_PARAMETER_VALUE)

    def __setattr__(self, name: str, value: object) -> None:
        """Set an attribute, but for the message, which stays."""
        if name != "message" or not hasattr(self, "message"):
            super().__setattr__(name, value)


class PictureModel:
    """What `mlflow.pyfunc.load_model` returns, inside: a network with its decoder and its classes' names."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier, self._options = classifier, classifier.decode_options()
        self._probabilities = probability_function(classifier)

    def predict(self, data: Any, params: Mapping[str, Any] | None = None) -> Any:
        """Return a table of pandas: a row for each picture and rank, with `image`, `rank`, `class`, `probability`.

        The probabilities are computed as those of the run's predictions.csv.

        Args:
            data: pictures, as `picture_batch.pictures_of` takes them. Texts are paths or base64; in a server never
                paths.
            params: `top_k`, how many classes of each picture, 0: all; `calibrated`: after the run's temperature.

        Raises:
            RefusedInput: pictures cannot be used (which ones, and why), or a parameter.
        """
        import pandas as pd

        params = params or {}
        chosen = params.get("top_k")
        top = DEFAULT_TOP_K if chosen is None else int(chosen)
        names = self._classifier.class_names
        try:
            if top < 0:
                raise UserError(f"top_k={top}: give a number of classes, or 0 for all")
            calibrate = calibration_function(self._classifier) if params.get("calibrated") else None
            rows = []
            for number, probabilities in enumerate(self._predicted(pictures_of(data))):
                row = calibrate(probabilities[None])[0] if calibrate else probabilities
                for rank, answer in enumerate(top_answers(row, names, top or len(names)), start=1):
                    rows.append((number, rank, answer["class"], answer["probability"]))
        except UserError as error:
            raise RefusedInput(str(error)) from None
        return pd.DataFrame(rows, columns=["image", "rank", "class", "probability"])

    def _predicted(self, pictures: list[Any]) -> Iterator[npt.NDArray[np.float32]]:
        """Yield the probabilities of every picture, float32 (C,).

        Raises:
            UserError: some cannot be decoded; then all are looked at, and none is predicted any more.
        """
        if not pictures:
            raise UserError("there is no picture to predict")
        compute = self._compute_few if len(pictures) <= max(TRIAL_SIZES) else self._probabilities
        bad: list[BadImageError] = []
        with ThreadPoolExecutor(min(4, len(pictures))) as threads:
            for start in range(0, len(pictures), GROUP):
                group = list(enumerate(pictures[start : start + GROUP], start))
                decoded = list(threads.map(self._decode, *zip(*group, strict=True)))
                bad += [image for image in decoded if isinstance(image, BadImageError)]
                if not bad:
                    yield from compute(np.stack([image for image in decoded if isinstance(image, np.ndarray)]))
        if bad:
            listed = "".join(f"\n  {error}" for error in bad[:MAX_LISTED])
            more = f"\n  and {len(bad) - MAX_LISTED:,} more" if len(bad) > MAX_LISTED else ""
            raise UserError(f"{len(bad):,} of {len(pictures):,} pictures cannot be used:{listed}{more}")

    @cached_property
    def _compute_few(self) -> Compute:
        """The network for few pictures; made for the first request that has few, as its trial takes a second."""
        return fast_for_few(self._probabilities, self._classifier.image_size, self._probabilities.choice.frozen)

    def _decode(self, number: int, picture: Any) -> npt.NDArray[np.uint8] | BadImageError:
        allow_paths = os.environ.get(_SERVING, "").lower() != "true"
        size = self._classifier.image_size
        try:
            return pixels_of(picture, size, self._options, allow_paths=allow_paths)
        except BadImageError as error:
            return BadImageError(f"picture {number}", f"{error.path}: {error.reason}", error.kind)


def _load_pyfunc(path: str) -> PictureModel:
    """Return the model whose network is in the folder `path`; MLflow calls this."""
    folder = Path(path)
    try:
        return PictureModel(load_trained(SavedNetwork(folder / WEIGHTS_FILE, folder), read_settings(folder)))
    except UserError as error:
        raise MlflowException(str(error)) from None
