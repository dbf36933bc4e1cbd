"""The figures of one split, as plain data: what `split_analysis` computes and the report draws and writes as JSON."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Share:
    """A share of a number of images, with its 95 % interval (Wilson's).

    value, low, high: None where nothing was counted.
    """

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class ClassFigures:
    """The figures of one class.

    images: of this class in the split. training_images: in training; None if unknown. f1's interval is that of
    TP / (TP + FP + FN), of which F1 is a monotone function. roc_auc, average_precision: one against the rest; None
    where the class, or the rest, has no image.
    """

    name: str
    images: int
    predicted: int
    correct: int
    training_images: int | None
    precision: Share
    recall: Share
    f1: Share
    roc_auc: float | None
    average_precision: float | None


@dataclass(frozen=True)
class ConfusedPair:
    """Images of the class `true` that were taken for `predicted`; share: of the images of `true`."""

    true: str
    predicted: str
    count: int
    share: float


@dataclass(frozen=True)
class Curve:
    """A ROC curve (x false positive rate, y recall) or a precision-recall curve (x recall, y precision) of one class.

    area: under the ROC curve, or the average precision. thresholds: of each point, the first may be infinite (None).
    At most 200 points, chosen along the curve; the area is of all of them.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    thresholds: Sequence[float | None]
    area: float


@dataclass(frozen=True)
class ThresholdRow:
    """What a threshold on the probability of the second of two classes does, with the second class as the positive.

    Images above the threshold count as positive. best_f1: found as the best F1's threshold on these very images.
    """

    threshold: float
    predicted: int
    precision: float | None
    recall: float | None
    specificity: float | None
    f1: float | None
    accuracy: float
    best_f1: bool = False


@dataclass(frozen=True)
class ReliabilityBin:
    """Images whose confidence lies in (low, high]; confidence and accuracy are their means, None without images."""

    low: float
    high: float
    images: int
    confidence: float | None
    accuracy: Share


@dataclass(frozen=True)
class CalibrationFigures:
    """How far probabilities can be believed.

    ece: expected calibration error over the bins of the most probable class. brier: mean over images of the squared
    distance to the one-hot label, summed over classes (0 to 2). nll: mean negative log likelihood.
    """

    ece: float
    brier: float
    nll: float
    bins: Sequence[ReliabilityBin]


@dataclass(frozen=True)
class SplitFigures:
    """All figures of one split.

    name: "test", "val", or the name of a data set that was evaluated. majority_class: the largest class of the
    split, which no other constant guess beats; majority_share: its share. confusion: rows true, columns
    predicted. pairs: wrong pairs, most images first, at most 50. roc, precision_recall: one curve a class; of two
    classes only the second's; of more than 20 the ten smallest areas. macro_roc_auc, macro_average_precision: means
    over the classes that have them. thresholds: empty but for two classes. temperature: fitted on validation; None
    where none was fitted. calibrated: with that temperature.
    """

    name: str
    class_names: Sequence[str]
    images: int
    accuracy: Share
    macro_f1: float
    top5_accuracy: float | None
    majority_class: str
    majority_share: float
    confusion: Sequence[Sequence[int]]
    pairs: Sequence[ConfusedPair]
    classes: Sequence[ClassFigures]
    roc: Sequence[Curve]
    precision_recall: Sequence[Curve]
    macro_roc_auc: float | None
    macro_average_precision: float | None
    thresholds: Sequence[ThresholdRow]
    calibration: CalibrationFigures
    temperature: float | None
    calibrated: CalibrationFigures | None


@dataclass(frozen=True)
class Verdict:
    """The report's first lines. sentence: one, for a run's note in the store. lines: all, most important first."""

    sentence: str
    lines: Sequence[str]
