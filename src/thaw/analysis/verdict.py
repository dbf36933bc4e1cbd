"""What a split's figures say, in plain words: the first lines of a report, and a run's note in the store."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
import numpy.typing as npt

from thaw.analysis.figures import CalibrationFigures, ClassFigures, Share, SplitFigures, Verdict
from thaw.analysis.paired import score_interval
from thaw.common.console import printable

# Fewer images than these are said to be few: 200 give an interval of 14 points at an accuracy of 0.5, 10 one of 50.
FEW_IMAGES, FEW_IMAGES_OF_A_CLASS = 200, 10
# Below 100 images nothing is said of the calibration; an ECE or a gap this small is called well calibrated.
CALIBRATION_IMAGES, SMALL_GAP = 100, 0.02
MAX_NAMES = 5


@dataclass(frozen=True, eq=False)
class HeadAlone:
    """Which images of the verdict's split the head alone got right, and which the run's final network did.

    accuracy_right, run_right: bool (N,), of the same images in the same order. name: how it is called in sentences.
    """

    accuracy_right: npt.NDArray[np.bool_]
    run_right: npt.NDArray[np.bool_]
    name: str = "the head alone"


@dataclass(frozen=True)
class HeadKept:
    """A network that is the head alone, as validation was worse with what was thawed.

    measure: its name in sentences. head, thawed: its values, of the network that is kept and of the other.
    """

    measure: str
    head: float
    thawed: float


def verdict(
    figures: SplitFigures,
    *,
    head_alone: HeadAlone | None = None,
    head_kept: HeadKept | None = None,
    validation: SplitFigures | None = None,
) -> Verdict:
    """Return what `figures`, of test or of what else there is, say; a difference only where its interval is beyond 0.

    head_kept: where the head alone was kept in place of what was thawed. validation: figures of the images that chose
    the epoch, to say whether they are too few.
    """
    share = figures.accuracy
    right = sum(figures.confusion[i][i] for i in range(len(figures.class_names)))
    accuracy = f"{_split_name(figures)} accuracy {_number(share.value)} (95 % interval {_span(share)}"
    lines = [f"{accuracy}, {right:,} of {figures.images:,} images)", _against_majority(figures)]
    sentence = f"{accuracy}); always guessing {printable(figures.majority_class)}: {figures.majority_share:.3f}"
    if head_alone is not None:
        lines.append(_against_head(head_alone))
        sentence += f"; {_head_in_short(head_alone)}"
    if head_kept is not None:
        with_it = f"{head_kept.head:.3f}, {head_kept.thawed:.3f} with what was thawed"
        lines.append(f"the head alone is kept: validation {head_kept.measure} {with_it}")
        sentence += "; the head alone is kept"
    lines += [_worst_confusions(figures), _enough_images(figures)]
    if validation is not None and validation is not figures:
        lines.append(_enough_images(validation))
    lines += _calibration_lines(figures)
    return Verdict(sentence, lines)


def _against_majority(figures: SplitFigures) -> str:
    guess, share = figures.majority_share, figures.accuracy
    always = f"always guessing the majority class, {printable(figures.majority_class)}, would give {guess:.3f}"
    if share.value is None or share.low is None or share.high is None:
        return always
    if share.low > guess:
        return f"{always}: the network is {100 * (share.value - guess):.1f} points better"
    if share.high < guess:
        return f"{always}: the network is {100 * (guess - share.value):.1f} points worse"
    return f"{always}: the network is no better, within chance"


def _against_head(head: HeadAlone) -> str:
    points, low, high = _paired_points(head)
    span = f"{points:+.1f} points against {printable(head.name)} (95 % interval {low:+.1f} to {high:+.1f})"
    if low > 0:
        return f"{span}: worth it"
    if high < 0:
        return f"{span}: worse than {printable(head.name)}"
    return f"{span}: no better than {printable(head.name)}, within chance"


def _head_in_short(head: HeadAlone) -> str:
    points, low, high = _paired_points(head)
    word = "worth it" if low > 0 else "worse" if high < 0 else "within chance"
    return f"{printable(head.name)}: {np.mean(head.accuracy_right):.3f} ({points:+.1f} points, {word})"


def _paired_points(head: HeadAlone) -> tuple[float, float, float]:
    """Return the difference of two accuracies on the same images, and its 95 % interval, in points.

    Tango's score interval, as in comparisons of runs (`paired`).
    """
    run, alone = np.asarray(head.run_right, bool), np.asarray(head.accuracy_right, bool)
    if run.shape != alone.shape or len(run) == 0:
        raise ValueError(f"expected the same images for both, not empty; got {run.shape} and {alone.shape}")
    only_alone, only_run = int((alone & ~run).sum()), int((run & ~alone).sum())
    low, high = score_interval(only_alone, only_run, len(run))
    return 100 * (only_run - only_alone) / len(run), 100 * low, 100 * high


def _worst_confusions(figures: SplitFigures) -> str:
    if not figures.pairs:
        return "no image is confused"
    of_class = {row.name: row.images for row in figures.classes}
    worst = [
        f"{printable(pair.true)} taken for {printable(pair.predicted)} ({pair.count:,} of {of_class[pair.true]:,})"
        for pair in figures.pairs[:3]
    ]
    return f"most confused: {'; '.join(worst)}"


def _enough_images(figures: SplitFigures) -> str:
    """Say how wide the interval is, and which classes have few or no images."""
    low, high = figures.accuracy.low or 0.0, figures.accuracy.high or 0.0
    images = "1 image" if figures.images == 1 else f"{figures.images:,} images"
    split = _split_name(figures)
    width = f"the interval is {100 * (high - low):.1f} points wide"
    enough = figures.images >= FEW_IMAGES
    line = (
        f"{split} has {images}, {width}"
        if enough
        else f"{split} is too small to tell small differences: {images}, {width}"
    )
    few = [row for row in figures.classes if 0 < row.images < FEW_IMAGES_OF_A_CLASS]
    absent = [row for row in figures.classes if row.images == 0]
    if few:
        line += f"; too few to tell for {_names(sorted(few, key=lambda row: row.images), counts=True)}"
    if absent:
        line += f"; none of {_names(absent, counts=False)}"
    return line


def _names(rows: Sequence[ClassFigures], counts: bool) -> str:
    names = [f"{printable(row.name)} ({row.images})" if counts else printable(row.name) for row in rows[:MAX_NAMES]]
    more = len(rows) - MAX_NAMES
    return ", ".join(names) + (f" and {more:,} more class{'es' * (more != 1)}" if more > 0 else "")


def _calibration_lines(figures: SplitFigures) -> list[str]:
    if figures.images < CALIBRATION_IMAGES:
        return []
    line = f"{_calibration_word(figures)} (ECE {figures.calibration.ece:.3f})"
    if figures.temperature is not None and figures.calibrated is not None:
        line += f"; with temperature {figures.temperature:.2f}, fitted on validation, ECE {figures.calibrated.ece:.3f}"
    return [line]


def _calibration_word(figures: SplitFigures) -> str:
    """Say whether the predicted classes are more or less probable than right, where that is beyond chance."""
    calibration, accuracy = figures.calibration, figures.accuracy
    confidence = sum(row.images * (row.confidence or 0.0) for row in calibration.bins) / figures.images
    if calibration.ece >= SMALL_GAP and accuracy.low is not None and accuracy.high is not None:
        if confidence > accuracy.high:
            return f"overconfident: mean probability {confidence:.3f} of the predicted class"
        if confidence < accuracy.low:
            return f"underconfident: mean probability {confidence:.3f} of the predicted class"
    if calibration.ece < SMALL_GAP or calibration.ece <= _ece_by_chance(calibration, figures.images):
        return "probabilities are well calibrated"
    return "probabilities are too high in places and too low in others"


def _ece_by_chance(calibration: CalibrationFigures, images: int) -> float:
    """Return the ECE that right probabilities stay below in about 97 of 100 splits of this size.

    The accuracy of a bin then scatters normally around its confidence c with variance c (1 - c) / n.
    """
    spreads = [
        row.images / images * sqrt(max(row.confidence * (1 - row.confidence), 0.0) / row.images)
        for row in calibration.bins
        if row.confidence is not None
    ]
    mean = sqrt(2 / np.pi) * sum(spreads)
    return mean + 2 * sqrt((1 - 2 / np.pi) * sum(spread**2 for spread in spreads))


def _split_name(figures: SplitFigures) -> str:
    return "validation" if figures.name == "val" else printable(figures.name)


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"


def _span(share: Share) -> str:
    return f"{_number(share.low)} to {_number(share.high)}"
