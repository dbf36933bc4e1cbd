"""The probabilities a run is judged by: the engine's if the saved network gives the same ones, else the network's."""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from thaw.common.console import progress, say
from thaw.common.errors import UserError
from thaw.frozen import engine
from thaw.frozen.engine import EngineChoice
from thaw.results import parity as parity_check
from thaw.results.parity import Parity, SampleLimits
from thaw.run_context import RunContext
from thaw.tracking import TrackedRun
from thaw.training.stage_result import TrainingOutcome

# Of a run: passed, failed, unchecked, or differs: in int8 the kept float32 network gives other classes than the run.
PARITY_TAG = "thaw.parity"
# Of a rerun: how many images the run compared that it reproduces. The time decides on them otherwise.
PARITY_IMAGES_TAG = "thaw.parity_images"
# Networks of which 8 images take longer than the check may: EfficientNetB7 5 s, ConvNeXtXLarge 10 s on 2 cores.
LARGE_NETWORK_MACS = 3e10


@dataclass(frozen=True)
class FinalPredictions:
    """probabilities: float32 (N, C) by split. parity: how the two networks compare, as result.json has it."""

    probabilities: dict[str, npt.NDArray[np.float32]]
    parity: dict[str, Any]


def trusted_predictions(context: RunContext, trained: TrainingOutcome) -> FinalPredictions:
    """Compare the engine's probabilities with the saved network's on a sample, and return those that can be trusted.

    Where too many images get another class, Keras runs all of validation and test again, end to end in float32: a
    training that has finished is not lost, and its figures are those of the network that is saved. Nor is it lost where
    the comparison itself fails: the figures are the engine's then, and the run says that they are unchecked. A run in
    int8 keeps the quantised part, with which predictions are made: its figures are always the engine's.
    """
    started = time.monotonic()
    try:
        saved = _SavedNetwork(context, trained)
        parity = saved.compare(parity_check.seconds_for_parity(context.clock.total()))
    except UserError:
        raise
    except Exception as error:  # out of memory, or whatever else Keras may raise
        return _unchecked(context, trained, error)
    trusted = _trusted(parity, trained.engine)
    entry = {"passed": not parity.failed, **asdict(parity), "seconds": time.monotonic() - started}
    _log(parity, context.tracked, trusted=trusted)
    if trusted:
        say(parity.summary())
        return FinalPredictions(trained.stages[-1].probabilities, {**entry, "judged_with": asdict(trained.engine)})
    say(_failure(parity, trained.engine))
    return FinalPredictions(saved.all_probabilities(), {**entry, "judged_with": asdict(engine.keras_float32())})


class _SavedNetwork:
    """Runs the saved network end to end in Keras on images of validation and test, on each of them once.

    The features of a backbone that did not move are cached if they fit, so that another run computes none.
    """

    def __init__(self, context: RunContext, trained: TrainingOutcome) -> None:
        from thaw.frozen.inference import KerasReference

        network, data = trained.network, trained.data
        engine_probabilities = trained.stages[-1].probabilities
        self._engine = np.concatenate(list(engine_probabilities.values()))
        self._splits = {split: len(rows) for split, rows in engine_probabilities.items()}
        self._indices = np.concatenate([data.splits.by_name()[split] for split in self._splits])
        self._computed = np.zeros(len(self._indices), bool)
        self._probabilities = np.empty_like(self._engine)
        self._order = parity_check.sample_order(len(self._indices), data.seed)
        # Several images together are faster, and their bits are part of what the cache's keys stand for.
        large = sum(layer.macs or 0 for layer in network.backbone.graph.layers) > LARGE_NETWORK_MACS
        self._chunk = 1 if large else engine.CHUNK_SIZES["keras"]
        tags = {**context.tracked.resumed_tags, **context.job.tags}
        self._images = int(tags[PARITY_IMAGES_TAG]) if PARITY_IMAGES_TAG in tags else None
        taken = data.pixels.cache_bytes + sum(stage.cache_bytes for stage in trained.stages)
        needed = parity_check.feature_cache_bytes(len(self._indices), math.prod(network.pooled_features.shape[1:]))
        cached = not large and all(stage.plan.all_frozen for stage in trained.stages)
        fits = cached and needed <= context.cache.budget().nbytes - taken
        store = context.cache if fits else None
        self._reference = KerasReference(network, context.config.backbone, data.pixels, store, self._chunk)

    def compare(self, seconds: float) -> Parity:
        """Compare the engine's probabilities with this network's, in about so many seconds."""
        known = self._reference.count_cached(self._indices[self._order])
        limits = SampleLimits(seconds, self._chunk, known, self._images)
        with progress("kept network", len(self._order)) as steps:
            return parity_check.compare_sample(
                self._engine, lambda rows: self._run(rows, steps.advance), self._order, limits
            )

    def all_probabilities(self) -> dict[str, npt.NDArray[np.float32]]:
        """Return the probabilities of whole splits."""
        with progress("kept network", len(self._indices)) as steps:
            steps.advance(int(self._computed.sum()))
            of_all = self._run(np.arange(len(self._indices)), steps.advance)
        ends = np.cumsum(list(self._splits.values()))[:-1]
        return dict(zip(self._splits, np.split(of_all, ends), strict=True))

    def _run(self, rows: npt.NDArray[np.int64], advance: Callable[[int], None]) -> npt.NDArray[np.float32]:
        new = rows[~self._computed[rows]]
        if len(new):
            self._probabilities[new] = self._reference.probabilities(self._indices[new], advance)
            self._computed[new] = True
        return self._probabilities[rows]


def _unchecked(context: RunContext, trained: TrainingOutcome, error: Exception) -> FinalPredictions:
    """Return the engine's probabilities, and an entry which says why they were not compared."""
    reason = f"{type(error).__name__}: {error}"
    say(
        f"parity unchecked: the kept network could not be run by Keras ({reason}). The figures of validation and test "
        f"are those of the engine ({trained.engine.summary()})"
    )
    context.tracked.set_tags({PARITY_TAG: "unchecked"})
    nothing = Parity(0, 0, math.nan, math.nan)
    entry = {"passed": False, **asdict(nothing), "error": reason, "judged_with": asdict(trained.engine)}
    return FinalPredictions(trained.stages[-1].probabilities, entry)


def _trusted(parity: Parity, choice: EngineChoice) -> bool:
    """Whether predictions are made as the run computed: always in int8, whose quantised part is kept for them."""
    return choice.frozen == "int8" or not parity.failed


def _log(parity: Parity, tracked: TrackedRun, *, trusted: bool) -> None:
    metrics = {f"parity/{name}": value for name, value in asdict(parity).items()}
    tracked.log_metrics({name: value for name, value in metrics.items() if math.isfinite(value)})
    tracked.set_tags({PARITY_TAG: ("differs" if parity.failed else "passed") if trusted else "failed"})


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
