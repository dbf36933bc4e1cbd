"""Draws a run's figures and writes its tables; the only module of the package that imports matplotlib."""

import warnings
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from thaw.common.console import printable
from thaw.common.csv_text import spreadsheet_text
from thaw.results.metrics import Evaluation, class_metric_names

_NUMBERS_UP_TO = 20  # classes; above that a cell is too small for its number
_NAMES_UP_TO = 100
_LINES = {"train": "#1f77b4", "val": "#d95f02"}
_SHADES = ("#ffffff", "#eef1f5")


def confusion_png(matrix: np.ndarray, class_names: Sequence[str], path: Path) -> None:
    """Draw the confusion matrix (C, C), colored by the share of each true class; names fit up to 100 classes."""
    from matplotlib.colors import PowerNorm
    from matplotlib.ticker import PercentFormatter

    classes = len(class_names)
    total = matrix.sum(axis=1, keepdims=True)
    share = np.divide(matrix, total, out=np.zeros(matrix.shape), where=total > 0)
    numbers = classes <= _NUMBERS_UP_TO
    side = min(18.0, max(4.0, 1.5 + (0.55 if numbers else 0.16) * classes))  # inches
    figure = _figure(side + 1.0, side)
    axes = figure.add_subplot()
    # The color goes by the square root, so that 1 % confused with another class can be seen.
    image = axes.imshow(share, cmap="Blues", norm=PowerNorm(0.5, vmin=0, vmax=1))
    if classes <= _NAMES_UP_TO:
        names = [_drawable(name) for name in class_names]
        size = 9 if numbers else 6
        axes.set_xticks(range(classes), names, rotation=90 if max(map(len, names)) > 3 else 0, fontsize=size)
        axes.set_yticks(range(classes), names, fontsize=size)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(f"{np.trace(matrix) / max(1, matrix.sum()):.1%} of {matrix.sum():,} images right", fontsize=11)
    if numbers:
        for row, column in zip(*np.nonzero(matrix), strict=True):
            color = "white" if share[row, column] > 0.35 else "black"
            count = int(matrix[row, column])
            axes.text(column, row, count, ha="center", va="center", color=color, fontsize=9 if count < 1e4 else 7)
    bar = figure.colorbar(image, ax=axes, shrink=0.7, fraction=0.04, pad=0.02, format=PercentFormatter(1))
    bar.set_ticks([0, 0.01, 0.05, 0.1, 0.25, 0.5, 1])
    bar.set_label("share of the true class")
    _save(figure, path)


def curves_png(history: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw loss, accuracy and learning rate over all epochs, each stage on its own ground under its name.

    An entry of `history` is an epoch: `stage`, `epoch` (from 1, counted on over the stages), `loss`, `accuracy`,
    `learning_rate`, and `val_loss`, `val_accuracy` where there was a validation.
    """
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    figure = _figure(8.0, 8.0)
    panels = figure.subplots(3, 1, sharex=True, height_ratios=(3, 3, 1.4))
    for axes, quantity in zip(panels[:2], ("loss", "accuracy"), strict=True):
        for kind, key in (("train", quantity), ("val", f"val_{quantity}")):
            points = [(entry["epoch"], entry[key]) for entry in history if entry.get(key) is not None]
            if points:
                axes.plot(*zip(*points, strict=True), marker="o", markersize=3, color=_LINES[kind], label=kind)
        axes.set_ylabel(quantity)
        axes.legend(frameon=False)
    panels[1].yaxis.set_major_formatter(PercentFormatter(1))
    rate = panels[2]
    rate.plot(
        [entry["epoch"] for entry in history],
        [entry["learning_rate"] for entry in history],
        marker="o", markersize=3, color="#555555", drawstyle="steps-mid",
    )  # fmt: skip
    rate.set_yscale("log")
    rate.set_ylabel("learning rate")
    rate.set_xlabel("epoch")
    rate.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    _shade_stages(panels, history)
    _save(figure, path)


def per_class_csv(
    evaluation: Evaluation, class_names: Sequence[str], path: Path, training_counts: Sequence[int] | np.ndarray
) -> None:
    """Write a row a class: `class, images, correct, precision, recall, f1, most_confused_with, training_images`.

    No value, no entry. `training` (C,): how many images of each class were trained on, by which a rare class shows.
    """
    rows = []
    for i, (name, metric) in enumerate(zip(class_names, class_metric_names(class_names), strict=True)):
        figures = [evaluation.metrics[f"class/{metric}/{key}"] for key in ("precision", "recall", "f1")]
        wrong = evaluation.confusion[i].copy()
        wrong[i] = 0
        rows.append(
            [
                name,
                int(evaluation.confusion[i].sum()),
                int(evaluation.confusion[i, i]),
                *("" if np.isnan(figure) else f"{figure:.4f}" for figure in figures),
                class_names[int(wrong.argmax())] if wrong.any() else "",
                int(training_counts[i]),
            ]
        )
    header = ["class", "images", "correct", "precision", "recall", "f1", "most_confused_with", "training_images"]
    _write_csv(path, header, rows)


def predictions_csv(names: Sequence[str], evaluation: Evaluation, class_names: Sequence[str], path: Path) -> None:
    """Write a row an image: `image, label, predicted, correct, confidence, probability_of_label`.

    `names` (N,) are the images' paths or indices, in the order of the evaluation. Seven decimals,
    as predict prints: what predicts again is compared with these.
    """
    guesses = evaluation.probabilities.argmax(axis=1)
    rows = [
        [name, class_names[label], class_names[guess], int(label == guess), f"{p[guess]:.7f}", f"{p[label]:.7f}"]
        for name, label, guess, p in zip(names, evaluation.labels, guesses, evaluation.probabilities, strict=True)
    ]
    _write_csv(path, ["image", "label", "predicted", "correct", "confidence", "probability_of_label"], rows)


def _shade_stages(panels: Any, history: Sequence[Mapping[str, Any]]) -> None:
    for i, (stage, entries) in enumerate(groupby(history, key=lambda entry: entry["stage"])):
        epochs = [entry["epoch"] for entry in entries]
        first, last = min(epochs) - 0.5, max(epochs) + 0.5
        for axes in panels:
            axes.axvspan(first, last, color=_SHADES[i % 2], zorder=0, linewidth=0)
        panels[0].text((first + last) / 2, 1.02, _drawable(stage), ha="center", va="bottom",
                       transform=panels[0].get_xaxis_transform())  # fmt: skip
    epochs = [entry["epoch"] for entry in history]
    panels[0].set_xlim(min(epochs) - 0.5, max(epochs) + 0.5)


def _drawable(name: str) -> str:
    """A name short enough for an axis, on one line and without a formula ($)."""
    name = printable(name)
    name = name if len(name) <= 24 else name[:23] + "…"
    return name.replace("$", r"\$")


def _figure(width: float, height: float) -> Any:
    # A Figure without pyplot: no window system, no global state, safe in any thread.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _save(figure: Any, path: Path) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a letter the font lacks is drawn as a box, and that is all
        figure.savefig(path, dpi=120, format="png")


def _write_csv(path: Path, header: list[str], rows: list[list[Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(spreadsheet_text(header, rows), encoding="utf-8", errors="backslashreplace", newline="")
