"""Writes the tables of a run: a row a class, and a row a test image."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from thaw.common.csv_text import spreadsheet_text
from thaw.results.metrics import Evaluation, class_metric_names


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


def _write_csv(path: Path, header: list[str], rows: list[list[Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(spreadsheet_text(header, rows), encoding="utf-8", errors="backslashreplace", newline="")
