"""The figures of each setting on the shared test images, and of each pair of settings."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import f1_score

from thaw.analysis.figures import Share
from thaw.analysis.intervals import mean_interval, wilson
from thaw.analysis.paired import PairedDifference, compare_all
from thaw.compare.compared_run import ComparedRun
from thaw.compare.settings import Setting
from thaw.compare.shared_images import SharedImages

FEW_RUNS = 3  # up to so many, a bootstrap says nothing: the lowest and the highest are given instead
BOOTSTRAP = "95 % bootstrap interval of the mean (of fewer than 10 runs: rather 80 to 90 %)"
RANGE = "lowest to highest"
CLIP = 1e-7  # of probabilities in the loss, as in `results.metrics`


@dataclass(frozen=True)
class Spread:
    """A figure over the runs of a setting. deviation: ddof=1, None of one run. interval: BOOTSTRAP or RANGE."""

    runs: int
    mean: float
    deviation: float | None
    low: float
    high: float
    interval: str


@dataclass(frozen=True)
class SettingFigures:
    """A row of the comparison.

    images: that its figures are of. accuracy: with Wilson's interval for a single run, and of several the mean with
    the interval of `spread`. loss, macro_f1: means over its runs. seconds, parameters, milliseconds: means of
    `Cost`. own_images: whether its figures are of its own test images, as it kept no predictions to compare.
    """

    label: str
    runs: tuple[ComparedRun, ...]
    repeats: str
    images: int
    own_images: bool
    accuracy: Share
    spread: Spread | None
    macro_f1: float | None
    loss: float | None
    val_accuracy: float | None
    seconds: float | None
    parameters: float | None
    milliseconds: float | None


@dataclass(frozen=True)
class PairFigures:
    """Two settings, by their rows: a is the cheaper one. difference: accuracy of b less accuracy of a."""

    a: int
    b: int
    difference: PairedDifference


def setting_figures(setting: Setting, shared: SharedImages) -> SettingFigures:
    """Return the figures of a setting on the shared images; of its own test where it kept no predictions."""
    own = not setting.tested
    of_runs = [_run_figures(run, shared) for run in setting.tested] or [_own_figures(run) for run in setting.runs]
    accuracies = [figures["accuracy"] for figures in of_runs if figures["accuracy"] is not None]
    images = len(shared.images) if not own else len(setting.runs[0].test_images)
    spread = spread_of(accuracies) if len(setting.runs) > 1 and accuracies else None
    if spread is not None:
        accuracy = Share(spread.mean, spread.low, spread.high)
    else:
        accuracy = wilson(round(accuracies[0] * images), images) if accuracies else Share(None, None, None)
    costs = [run.cost for run in setting.runs]
    return SettingFigures(
        label=setting.label,
        runs=setting.runs,
        repeats=setting.repeats,
        images=images,
        own_images=own,
        accuracy=accuracy,
        spread=spread,
        macro_f1=_mean([figures["macro_f1"] for figures in of_runs]),
        loss=_mean([figures["loss"] for figures in of_runs]),
        val_accuracy=_mean([run.metrics.get("val/accuracy") for run in setting.runs]),
        seconds=_mean([cost.seconds for cost in costs]),
        parameters=_mean([cost.parameters for cost in costs]),
        milliseconds=_mean([cost.milliseconds for cost in costs]),
    )


def spread_of(values: Sequence[float]) -> Spread:
    """Return mean and deviation of one value or more, with a bootstrap interval, or their range for up to FEW_RUNS."""
    mean = statistics.fmean(values)
    deviation = statistics.stdev(values) if len(values) > 1 else None
    if len(values) <= FEW_RUNS:
        return Spread(len(values), mean, deviation, min(values), max(values), RANGE)
    low, high = mean_interval(values)
    return Spread(len(values), mean, deviation, low, high, BOOTSTRAP)


def pair_figures(settings: Sequence[Setting], shared: SharedImages, order: Sequence[int]) -> list[PairFigures]:
    """Return every pair of settings that have predictions, with Holm's correction for all of them.

    Args:
        settings: All settings.
        shared: The images on which they are compared.
        order: Indices of settings, the cheapest first: the first of a pair is the cheaper one.
    """
    rows = [row for row in order if settings[row].tested]
    compared = compare_all(shared.shares_right([settings[row] for row in rows]))
    return [PairFigures(rows[a], rows[b], difference) for (a, b), difference in compared.items()]


def _run_figures(run: ComparedRun, shared: SharedImages) -> dict[str, float | None]:
    """Return a run's figures on those of the shared images that it was tested on."""
    pairs = [(image, run.predictions[key]) for key, image in shared.images.items() if key in run.predictions]
    if not pairs:  # another seed's test images are the shared ones
        return dict.fromkeys(("accuracy", "macro_f1", "loss"))
    labels, predicted = [image.label for image, _ in pairs], [prediction.predicted for _, prediction in pairs]
    of_label = np.clip([prediction.probability_of_label for _, prediction in pairs], CLIP, 1 - CLIP)
    return {
        "accuracy": sum(label == guess for label, guess in zip(labels, predicted, strict=True)) / len(pairs),
        "macro_f1": float(f1_score(labels, predicted, average="macro", zero_division=0)),
        "loss": float(-np.log(of_label).mean()),
    }


def _own_figures(run: ComparedRun) -> dict[str, float | None]:
    return {name: run.metrics.get(f"test/{name}") for name in ("accuracy", "macro_f1", "loss")}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None and math.isfinite(value)]
    return statistics.fmean(known) if known else None
