"""The probabilities that an evaluation is made of: the engine's, if the kept network gives the same ones."""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from thaw.common.console import progress, say
from thaw.config.schema import BackboneConfig
from thaw.frozen import engine
from thaw.frozen.batch_runner import prefetch
from thaw.frozen.engine import EngineChoice
from thaw.results import parity as parity_check
from thaw.results.evaluation_data import EvaluatedImages
from thaw.results.parity import Parity, SampleLimits
from thaw.results.trained_classifier import Classifier, ProbabilityFunction

BATCH_SIZE = 32


@dataclass(frozen=True, eq=False)
class EvaluatedPredictions:
    """probabilities: float32 (N, C). choice: what computed them. parity: as in a run's result.json."""

    probabilities: npt.NDArray[np.float32]
    choice: EngineChoice
    parity: dict[str, Any]

    def verdict(self) -> str:
        """Return what parity says: passed, failed, unchecked, or differs of a network in int8."""
        if "error" in self.parity:
            return "unchecked"
        if self.parity["passed"]:
            return "passed"
        return "differs" if self.choice.frozen == "int8" else "failed"


def predict_evaluated(
    classifier: Classifier, function: ProbabilityFunction, data: EvaluatedImages, seed: int
) -> EvaluatedPredictions:
    """Return the probabilities of all images, of which a sample is compared with the kept network's.

    As in a run: where too many images get another class, Keras runs the kept network on all of them; but for int8,
    whose quantised part is kept. Where the comparison itself fails, the figures are the engine's and the line says so.

    Args:
        classifier: A network that thaw trained.
        function: What runs it.
        data: The images.
        seed: Of the sample.
    """
    started = time.monotonic()
    choice = function.choice
    say(f"engine: {_describe(choice)}")
    probabilities = _run(function, data)
    if choice.engine == "keras":
        say("parity: the figures are those of the kept network itself, run by Keras in float32, as those of its run")
        return EvaluatedPredictions(probabilities, choice, {"passed": True, "images": 0, "judged_with": asdict(choice)})
    seconds = parity_check.seconds_for_parity(time.monotonic() - started)
    started = time.monotonic()
    try:
        parity = _compare(classifier, probabilities, data, seed, seconds)
    except Exception as error:  # out of memory, or whatever else Keras may raise
        reason = f"{type(error).__name__}: {error}"
        say(f"parity unchecked: the kept network could not be run by Keras ({reason}). The figures are the engine's")
        return EvaluatedPredictions(
            probabilities, choice, {"passed": False, "images": 0, "error": reason, "judged_with": asdict(choice)}
        )
    entry = {"passed": not parity.failed, **asdict(parity), "seconds": time.monotonic() - started}
    if not parity.failed or choice.frozen == "int8":
        say(parity.summary())
        return EvaluatedPredictions(probabilities, choice, {**entry, "judged_with": asdict(choice)})
    say(
        f"parity failed: {parity.differ} of {parity.images} images get another class from the kept network than from "
        f"the engine ({_describe(choice)}). Up to 1 % of them would be accepted. The figures are therefore those of "
        "the kept network itself, run by Keras in float32"
    )
    kept = engine.keras_float32()
    with progress("kept network", len(data.indices)) as bar:
        probabilities = _reference(classifier, data).probabilities(data.indices, bar.advance)
    return EvaluatedPredictions(probabilities, kept, {**entry, "judged_with": asdict(kept)})


def _run(function: ProbabilityFunction, data: EvaluatedImages) -> npt.NDArray[np.float32]:
    outputs = []
    with progress("evaluating", len(data.indices)) as bar:
        for images in prefetch(_batches(data.indices), data.pixels.take):
            outputs.append(function(images))
            bar.advance(len(images))
    data.pixels.check_unchanged()
    return np.concatenate(outputs)


def _batches(indices: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int64]]:
    return (indices[start : start + BATCH_SIZE] for start in range(0, len(indices), BATCH_SIZE))


def _compare(
    classifier: Classifier, probabilities: npt.NDArray[np.float32], data: EvaluatedImages, seed: int, seconds: float
) -> Parity:
    order = parity_check.sample_order(len(data.indices), seed)
    reference = _reference(classifier, data)
    with progress("kept network", len(order)) as bar:
        return parity_check.compare_sample(
            probabilities,
            lambda rows: reference.probabilities(data.indices[rows], bar.advance),
            order,
            SampleLimits(seconds, engine.CHUNK_SIZES["keras"]),
        )


def _reference(classifier: Classifier, data: EvaluatedImages) -> Any:
    from thaw.frozen.inference import KerasReference

    return KerasReference(classifier.saved_network, BackboneConfig(), data.pixels, None)


def _describe(choice: EngineChoice) -> str:
    behind = f", {choice.trained} behind the cut" if choice.trained != choice.frozen else ""
    return f"{choice.engine} in {choice.frozen}{behind}"
