"""Fits of heads on features, each kept with its predictions as one line of a file: a stopped study goes on."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from thaw.results.parity import compare_probabilities
from thaw_lab.precision_study.study_features import FeatureStore, StudyNetwork
from thaw_lab.precision_study.study_heads import Head
from thaw_lab.precision_study.study_images import StudyImages

RESEEDED = "float32, other seed"


@dataclass(frozen=True)
class FitRecord:
    """One head, fitted on features of one precision, and the classes that it gives to the test images."""

    data: str
    network: str
    precision: str
    head: str
    seed: int
    validation_accuracy: float
    validation_loss: float
    own: list[int]  # classes by features of the precision that it was fitted on
    by_float32: list[int]  # classes by float32 features: the saved network in Keras
    parity: int  # test images that a run's parity check counts as different between the two, ties left out


class FitStudy:
    """Fits heads, each combination once."""

    def __init__(self, features: FeatureStore, records: Path) -> None:
        self._features, self._path = features, records
        lines = records.read_text().splitlines() if records.exists() else []
        self._records = {self._key(record): record for record in (FitRecord(**json.loads(line)) for line in lines)}

    @staticmethod
    def _key(record: FitRecord) -> tuple[str, str, str, str, int]:
        return record.data, record.network, record.precision, record.head, record.seed

    def fit(self, images: StudyImages, network: StudyNetwork, precision: str, head: Head, seed: int) -> FitRecord:
        """Return the record of this fit, from the file if it is there.

        precision: of the features, or `RESEEDED`: float32 with another seed of the head, which is what chance does.
        """
        key = (images.name, network.label, precision, head.label, seed)
        if key not in self._records:
            features = self._features.features(network, images)
            reference = features["float32"][0]
            fitted_on, head_seed = (reference, seed + 100) if precision == RESEEDED else (features[precision][0], seed)
            self._records[key] = fit_once(key, images, fitted_on, reference, head, head_seed)
            with self._path.open("ab", buffering=0) as file:  # one write, as two studies may share the file
                file.write((json.dumps(asdict(self._records[key])) + "\n").encode())
        return self._records[key]


def fit_once(
    key: tuple[str, str, str, str, int],
    images: StudyImages,
    features: npt.NDArray[np.float32],
    reference: npt.NDArray[np.float32],
    head: Head,
    head_seed: int,
) -> FitRecord:
    """Fit a head on `features` and judge it on them and on `reference`, the float32 features."""
    train, validation, test = images.split(key[-1])
    labels = images.labels
    own = (features[train], labels[train]), (features[validation], labels[validation])
    predict = head.fit(*own, int(labels.max()) + 1, head_seed)
    own_test, by_float32 = predict(features[test]), predict(reference[test])
    probabilities = predict(features[validation])
    hit = probabilities[np.arange(len(validation)), labels[validation]]
    return FitRecord(
        *key,
        validation_accuracy=float(np.mean(probabilities.argmax(axis=1) == labels[validation])),
        validation_loss=float(-np.log(np.maximum(hit, 1e-7)).mean()),
        own=own_test.argmax(axis=1).tolist(),
        by_float32=by_float32.argmax(axis=1).tolist(),
        parity=compare_probabilities(own_test, by_float32).differ,
    )
