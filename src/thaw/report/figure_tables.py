"""The tables of a report as CSV, for a spreadsheet: a row for each class, confused pair, bin, and threshold."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from thaw.analysis.figures import CalibrationFigures, Share, SplitFigures
from thaw.common.csv_text import spreadsheet_text
from thaw.common.files import write_atomically
from thaw.report.figures_file import confusion_entries

_Cell = str | int | float | None
_CLASSES = (
    "split", "class", "images", "training_images", "predicted", "correct", "precision", "precision_low",
    "precision_high", "recall", "recall_low", "recall_high", "f1", "f1_low", "f1_high", "roc_auc", "average_precision",
)  # fmt: skip
_CONFUSIONS = ("split", "true", "predicted", "count", "share")
_BINS = ("split", "probabilities", "low", "high", "images", "confidence", "accuracy", "accuracy_low", "accuracy_high")
_THRESHOLDS = ("split", "threshold", "predicted", "precision", "recall", "specificity", "f1", "accuracy", "best_f1")


def write_tables(splits: Sequence[SplitFigures], folder: Path) -> list[Path]:
    """Write classes.csv, confusions.csv, calibration.csv, and thresholds.csv where there are two classes."""
    tables: list[tuple[str, Sequence[str], list[list[_Cell]]]] = [
        ("classes.csv", _CLASSES, [row for split in splits for row in _class_rows(split)]),
        ("confusions.csv", _CONFUSIONS, [row for split in splits for row in _confusion_rows(split)]),
        ("calibration.csv", _BINS, [row for split in splits for row in _bin_rows(split)]),
        ("thresholds.csv", _THRESHOLDS, [row for split in splits for row in _threshold_rows(split)]),
    ]
    written = []
    for name, columns, table in tables:
        if table or name != "thresholds.csv":
            text = spreadsheet_text(columns, ([_cell(value) for value in row] for row in table))
            write_atomically(folder / name, text.encode("utf-8", "backslashreplace"))
            written.append(folder / name)
    return written


def _class_rows(split: SplitFigures) -> Iterator[list[_Cell]]:
    for c in split.classes:
        counts = (c.images, c.training_images, c.predicted, c.correct)
        shares = (*_share(c.precision), *_share(c.recall), *_share(c.f1))
        yield [split.name, c.name, *counts, *shares, c.roc_auc, c.average_precision]


def _confusion_rows(split: SplitFigures) -> Iterator[list[_Cell]]:
    """All wrong pairs, the most frequent first."""
    names, images = split.class_names, [sum(row) for row in split.confusion]
    wrong = [entry for entry in confusion_entries(split.confusion) if entry[0] != entry[1]]
    for true, predicted, count in sorted(wrong, key=lambda entry: -entry[2]):
        yield [split.name, names[true], names[predicted], count, count / images[true]]


def _bin_rows(split: SplitFigures) -> Iterator[list[_Cell]]:
    kinds: list[tuple[str, CalibrationFigures | None]] = [
        ("as they are", split.calibration), ("with temperature", split.calibrated),
    ]  # fmt: skip
    for kind, calibration in kinds:
        for b in calibration.bins if calibration else ():
            yield [split.name, kind, b.low, b.high, b.images, b.confidence, *_share(b.accuracy)]


def _threshold_rows(split: SplitFigures) -> Iterator[list[_Cell]]:
    for t in split.thresholds:
        yield [
            split.name,
            t.threshold,
            t.predicted,
            t.precision,
            t.recall,
            t.specificity,
            t.f1,
            t.accuracy,
            int(t.best_f1),
        ]


def _share(share: Share) -> tuple[float | None, float | None, float | None]:
    return share.value, share.low, share.high


def _cell(value: _Cell) -> object:
    if value is None or value != value:  # NaN
        return ""
    return f"{value:.6g}" if isinstance(value, float) else value
