"""The probabilities a run is judged by: the engine's if the saved network gives the same ones, else the network's."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from thaw.common.console import say
from thaw.frozen import engine
from thaw.frozen.engine import EngineChoice
from thaw.results.parity import Parity, compare_sample, feature_cache_bytes
from thaw.run_context import RunContext
from thaw.tracking import TrackedRun
from thaw.training.stage_result import TrainingOutcome

PARITY_TAG = "thaw.parity"  # of a run: passed or failed


@dataclass(frozen=True)
class FinalPredictions:
    """probabilities: float32 (N, C) by split. parity: how the two networks compare, as result.json has it."""

    probabilities: dict[str, npt.NDArray[np.float32]]
    parity: dict[str, Any]


def trusted_predictions(context: RunContext, trained: TrainingOutcome) -> FinalPredictions:
    """Compare the engine's probabilities with the saved network's on a sample, and return those that can be trusted.

    Where too many images get another class, Keras runs all of validation and test again, end to end in float32: a
    training that has finished is not lost, and its figures are those of the network that is saved. A run in int8 keeps
    the quantised part, with which predictions are made: its figures are always the engine's.
    """
    run_keras = _KerasInference(context, trained)
    data, probabilities = trained.data, trained.stages[-1].probabilities
    indices = {split: data.splits.by_name()[split] for split in probabilities}
    all_indices = np.concatenate(list(indices.values()))
    parity = compare_sample(
        np.concatenate(list(probabilities.values())),
        lambda rows: run_keras(all_indices[rows]),
        data.seed,
        sum(layer.macs or 0 for layer in trained.network.backbone.graph.layers),
    )
    _log(parity, context.tracked, passed=_passed(parity, trained.engine))
    if _passed(parity, trained.engine):
        say(
            f"parity: {parity.images - parity.differ} of {parity.images} images get the same class from the kept "
            f"network end to end; probabilities differ by at most {parity.max_probability_difference:.2g}, "
            f"logits by {parity.max_logit_difference:.2g}"
        )
        return FinalPredictions(probabilities, _entry(parity, trained.engine))
    say(_failure(parity, trained.engine))
    recomputed = {split: run_keras(of_split) for split, of_split in indices.items()}
    return FinalPredictions(recomputed, _entry(parity, engine.keras_float32()))


class _KerasInference:
    """Runs the saved network end to end in Keras; caches the features of a backbone that did not move, if they fit."""

    def __init__(self, context: RunContext, trained: TrainingOutcome) -> None:
        self._backbone, self._trained = context.config.backbone, trained
        self._cache = context.cache if all(stage.plan.all_frozen for stage in trained.stages) else None
        taken = trained.data.pixels.cache_bytes + sum(stage.cache_bytes for stage in trained.stages)
        self._free_bytes = context.cache.budget().nbytes - taken

    def __call__(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        from thaw.frozen.inference import keras_probabilities

        network, pixels = self._trained.network, self._trained.data.pixels
        fits = feature_cache_bytes(len(indices), math.prod(network.pooled_features.shape[1:])) <= self._free_bytes
        return keras_probabilities(network, self._backbone, pixels, indices, self._cache if fits else None)


def _passed(parity: Parity, choice: EngineChoice) -> bool:
    """Whether predictions are made as the run computed: always in int8, whose quantised part is kept for them."""
    return choice.frozen == "int8" or not parity.failed


def _log(parity: Parity, tracked: TrackedRun, *, passed: bool) -> None:
    metrics = {f"parity/{name}": value for name, value in asdict(parity).items()}
    tracked.log_metrics({name: value for name, value in metrics.items() if math.isfinite(value)})
    tracked.set_tags({PARITY_TAG: "passed" if passed else "failed"})


def _entry(parity: Parity, judged_with: EngineChoice) -> dict[str, Any]:
    """Return what result.json has of it."""
    return {"passed": _passed(parity, judged_with), **asdict(parity), "judged_with": asdict(judged_with)}


def _failure(parity: Parity, choice: EngineChoice) -> str:
    if choice.frozen != "float32" or choice.trained != "float32":
        remedy = "precision=float32 frozen_precision=float32"
    else:
        remedy = "engine=tensorflow" if choice.engine != "tensorflow" else "another backbone"
    return (
        f"parity failed: {parity.differ} of {parity.images} images get another class from the kept network than from "
        f"the engine ({choice.summary()}). Up to 1 % of them would be accepted. Probabilities differ by up to "
        f"{parity.max_probability_difference:.2g}. The figures of validation and test, the report and result.json are "
        "therefore those of the kept network itself, run by Keras in float32. It was trained on what the engine "
        f"computed: train again with {remedy}"
    )
