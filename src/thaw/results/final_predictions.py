"""What a run is judged by: the engine's probabilities if the network that is kept gives the same, else its own."""

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from thaw.cache import DiskCache
from thaw.common.console import say
from thaw.config.schema import BackboneConfig
from thaw.data.dataset import Dataset
from thaw.frozen import engine
from thaw.frozen.engine import EngineChoice
from thaw.results import parity
from thaw.results.parity import Parity
from thaw.tracking import TrackedRun

if TYPE_CHECKING:  # TensorFlow is imported when the data has been read
    from thaw.models.network import Network
    from thaw.training.stages import StageResult

Probabilities = dict[str, npt.NDArray[np.float32]]

PARITY_TAG = "thaw.parity"  # of a run: passed or failed


@dataclass(frozen=True)
class FinalPredictions:
    """probabilities: float32 (N, C) by split. parity: how they were arrived at, as result.json has it."""

    probabilities: Probabilities
    parity: dict[str, Any]


def check_predictions(
    choice: EngineChoice,
    store: DiskCache,
    backbone: BackboneConfig,
    network: "Network",
    data: Dataset,
    results: "list[StageResult]",
    tracked: TrackedRun,
) -> FinalPredictions:
    """Compare the engine's probabilities with the kept network's on a sample, and return those that can be trusted.

    Where too many images get another class, all of validation and test is run again by Keras, end to end in float32:
    a training that has finished is not lost, and its figures are those of the network that is kept.
    """
    kept = _Kept(store, backbone, network, data, results)
    last = results[-1]
    indices = {split: data.splits.by_name()[split] for split in last.probabilities}
    every = np.concatenate(list(indices.values()))
    found = parity.compare_sample(
        np.concatenate(list(last.probabilities.values())),
        lambda rows: kept(every[rows]),
        data.seed,
        sum(layer.macs or 0 for layer in network.backbone.graph.layers),
    )
    _log(found, tracked)
    if not found.failed:
        say(
            f"parity: {found.images - found.differs} of {found.images} images get the same class from the kept network "
            f"end to end; probabilities differ by at most {found.probability:.2g}, logits by {found.logit:.2g}"
        )
        return FinalPredictions(last.probabilities, _entry(found, choice))
    say(_failure(found, choice))
    return FinalPredictions({split: kept(own) for split, own in indices.items()}, _entry(found, engine.keras_float32()))


class _Kept:
    """The kept network end to end in Keras. The features of a backbone that did not move are kept if there is room."""

    def __init__(
        self,
        store: DiskCache,
        backbone: BackboneConfig,
        network: "Network",
        data: Dataset,
        results: "list[StageResult]",
    ) -> None:
        self.backbone, self.network, self.data = backbone, network, data
        self.store = store if all(done.plan.all_frozen for done in results) else None
        self.room = store.budget().nbytes - data.pixels.cache_bytes - sum(done.cache_bytes for done in results)

    def __call__(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        from thaw.frozen.keras_inference import keras_probabilities

        fits = parity.feature_cache_bytes(len(indices), math.prod(self.network.pooled_features.shape[1:])) <= self.room
        return keras_probabilities(self.network, self.backbone, self.data.pixels, indices, self.store if fits else None)


def _log(found: Parity, tracked: TrackedRun) -> None:
    figures = {"parity/images": found.images, "parity/differ": found.differs, **_largest(found, "parity/")}
    tracked.log_metrics({name: value for name, value in figures.items() if math.isfinite(value)})
    tracked.set_tags({PARITY_TAG: "failed" if found.failed else "passed"})


def _entry(found: Parity, judged_with: EngineChoice) -> dict[str, Any]:
    return {
        "passed": not found.failed,
        "images": found.images,
        "differ": found.differs,
        **_largest(found),
        "judged_with": dataclasses.asdict(judged_with),
    }


def _largest(found: Parity, prefix: str = "") -> dict[str, float]:
    return {f"{prefix}max_probability_difference": found.probability, f"{prefix}max_logit_difference": found.logit}


def _failure(found: Parity, choice: EngineChoice) -> str:
    if choice.frozen != "float32" or choice.trained != "float32":
        remedy = "precision=float32 frozen_precision=float32"
    else:
        remedy = "engine=tensorflow" if choice.engine != "tensorflow" else "another backbone"
    return (
        f"parity failed: {found.differs} of {found.images} images get another class from the kept network than from "
        f"the engine ({choice.summary()}). Up to 1 % of them would be accepted. Probabilities differ by up to "
        f"{found.probability:.2g}. The figures of validation and test, the report and result.json are therefore those "
        "of the kept network itself, run by Keras in float32. It was trained on what the engine computed: train again "
        f"with {remedy}"
    )
