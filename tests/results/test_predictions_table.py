"""What a run wrote of its test images is read back, whatever the names of files and classes hold."""

import csv
from pathlib import Path

import numpy as np
import pytest

from thaw.common.errors import UserError
from thaw.results.metrics import evaluate
from thaw.results.predictions_table import read_predictions, written_name
from thaw.results.report_tables import predictions_csv

CLASSES = ["=cat", "'dog", "a\rb", "plain"]
NAMES = ["=1+1.jpg", "'=1.jpg", "a\nb.jpg", "caf\udce9/\N{SNOWMAN}.jpg", "x;=2.jpg", "1e5", '"quoted", twice.jpg']


def test_every_row_comes_back_with_the_names_that_the_manifest_has(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(4), len(NAMES)).astype(np.float32)
    labels = rng.integers(0, 4, len(NAMES)).astype(np.int32)
    predictions_csv(NAMES, evaluate(probabilities, labels, CLASSES), CLASSES, tmp_path / "predictions.csv")
    table = read_predictions(tmp_path / "predictions.csv", CLASSES)
    assert list(table.images) == [written_name(name) for name in NAMES]
    assert len(set(table.images)) == len(NAMES)
    assert table.labels.tolist() == labels.tolist()
    assert table.predicted.tolist() == probabilities.argmax(axis=1).tolist()
    assert table.right.tolist() == (labels == probabilities.argmax(axis=1)).tolist()
    assert table.confidence == pytest.approx(probabilities.max(axis=1), abs=5e-8)
    assert table.probability_of_label == pytest.approx(probabilities[np.arange(len(labels)), labels], abs=5e-8)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (["x.jpg", "plain", "fox", "1", "0.5", "0.5"], "has the class fox, which its run does not have"),
        (["x.jpg", "plain", "plain", "1", "much", "0.5"], "cannot be read: could not convert string to float: 'much'"),
    ],
)
def test_a_table_of_something_else_is_one_clear_error(row, message, tmp_path: Path) -> None:
    file = tmp_path / "predictions.csv"
    with file.open("w", newline="") as lines:
        csv.writer(lines).writerows(
            [["image", "label", "predicted", "correct", "confidence", "probability_of_label"], row]
        )
    with pytest.raises(UserError, match=message):
        read_predictions(file, CLASSES)


def test_missing_columns_are_named(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("image,label\n")
    with pytest.raises(UserError, match="it has no column predicted, confidence, probability_of_label"):
        read_predictions(tmp_path / "p.csv", CLASSES)
