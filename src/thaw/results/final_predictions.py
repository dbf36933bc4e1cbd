"""What a run is judged by: the engine's probabilities if the network that is kept gives the same, else its own."""

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from thaw.cache import Store
from thaw.common.console import say
from thaw.config.schema import BackboneConfig
from thaw.data.dataset import Data
from thaw.frozen import engine
from thaw.frozen.engine import Choice
from thaw.results import parity
from thaw.results.parity import Parity
from thaw.tracking import Run

if TYPE_CHECKING:  # TensorFlow is imported when the data has been read
    from thaw.models.network import Network
    from thaw.training.stages import StageResult

Probabilities = dict[str, npt.NDArray[np.float32]]

TAG = "thaw.parity"  # of a run: passed or failed


@dataclass(frozen=True)
class Judged:
    """probabilities: float32 (N, C) by split. parity: how they were arrived at, as result.json has it."""

    probabilities: Probabilities
    parity: dict[str, Any]


def settle(
    choice: Choice,
    store: Store,
    backbone: BackboneConfig,
    network: "Network",
    data: Data,
    results: "list[StageResult]",
    tracked: Run,
) -> Judged:
    """Compare the engine's probabilities with the kept network's on a sample, and return those that can be trusted.

    Where too many images get another class, all of validation and test is run again by Keras, end to end in float32:
    a training that has finished is not lost, and its figures are those of the network that is kept.
    """
    kept = _Kept(store, backbone, network, data, results)
    last = results[-1]
    indices = {split: data.splits.named()[split] for split in last.judged}
    every = np.concatenate(list(indices.values()))
    found = parity.check(
        np.concatenate(list(last.judged.values())),
        lambda rows: kept(every[rows]),
        data.seed,
        sum(layer.macs or 0 for layer in network.backbone.graph.layers),
    )
    _log(found, tracked)
    if not found.broken:
        say(
            f"parity: {found.images - found.differs} of {found.images} images get the same class from the kept network "
            f"end to end; probabilities differ by at most {found.probability:.2g}, logits by {found.logit:.2g}"
        )
        return Judged(last.judged, _entry(found, choice))
    say(_failure(found, choice))
    return Judged({split: kept(own) for split, own in indices.items()}, _entry(found, engine.reference()))


class _Kept:
    """The kept network end to end in Keras. The features of a backbone that did not move are kept if there is room."""

    def __init__(
        self, store: Store, backbone: BackboneConfig, network: "Network", data: Data, results: "list[StageResult]"
    ) -> None:
        self.backbone, self.network, self.data = backbone, network, data
        self.store = store if all(done.plan.all_frozen for done in results) else None
        self.room = store.room().bytes - data.pixels.kept_bytes - sum(done.cache_bytes for done in results)

    def __call__(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        from thaw.frozen.keras_inference import end_to_end

        fits = parity.rows_bytes(len(indices), math.prod(self.network.pooled.shape[1:])) <= self.room
        return end_to_end(self.network, self.backbone, self.data.pixels, indices, self.store if fits else None)


def _log(found: Parity, tracked: Run) -> None:
    figures = {"parity/images": found.images, "parity/differ": found.differs, **_largest(found, "parity/")}
    tracked.metrics({name: value for name, value in figures.items() if math.isfinite(value)})
    tracked.tags({TAG: "failed" if found.broken else "passed"})


def _entry(found: Parity, judged_with: Choice) -> dict[str, Any]:
    return {
        "passed": not found.broken,
        "images": found.images,
        "differ": found.differs,
        **_largest(found),
        "judged_with": dataclasses.asdict(judged_with),
    }


def _largest(found: Parity, prefix: str = "") -> dict[str, float]:
    return {f"{prefix}max_probability_difference": found.probability, f"{prefix}max_logit_difference": found.logit}


def _failure(found: Parity, choice: Choice) -> str:
    if choice.frozen != "float32" or choice.trained != "float32":
        remedy = "precision=float32 frozen_precision=float32"
    else:
        remedy = "engine=tensorflow" if choice.engine != "tensorflow" else "another backbone"
    return (
        f"parity failed: {found.differs} of {found.images} images get another class from the kept network than from "
        f"the engine ({choice.line()}). Up to 1 % of them would be accepted. Probabilities differ by up to "
        f"{found.probability:.2g}. The figures of validation and test, the report and result.json are therefore those "
        "of the kept network itself, run by Keras in float32. It was trained on what the engine computed: train again "
        f"with {remedy}"
    )
