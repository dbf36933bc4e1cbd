import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import thaw
from thaw.results.metrics import evaluate
from thaw.results.report_tables import confusion_png, curves_png, per_class_csv, predictions_csv


def is_drawn(path):
    """Width and height in pixels of a picture that is not of one colour."""
    image = Image.open(path).convert("L")
    low, high = image.getextrema()
    assert low < high
    return image.size


def rows(path):
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


@pytest.fixture
def evaluation():
    probabilities = np.array([[0.75, 0.25, 0.0], [0.5, 0.25, 0.25], [0.125, 0.875, 0.0]])
    return evaluate(probabilities, np.array([0, 1, 1]), ["cat", "hot, dog", "fox"])


@pytest.mark.parametrize("classes", [2, 20, 21, 100, 1000])
def test_a_confusion_matrix_is_drawn_for_any_number_of_classes(tmp_path, classes):
    matrix = np.eye(classes, dtype=np.int64) * 50
    matrix[0, 1] = 7
    matrix[1] = 0  # a class without images
    confusion_png(matrix, [f"a class with a rather long name {i}" for i in range(classes)], tmp_path / "a" / "c.png")
    assert max(is_drawn(tmp_path / "a" / "c.png")) <= 2400


def test_curves_are_drawn_with_and_without_validation(tmp_path):
    history = [
        {"stage": stage, "epoch": epoch, "loss": 1 / epoch, "accuracy": 0.9, "learning_rate": 1e-3}
        for epoch, stage in enumerate(["head", "head", "thaw"], start=1)
    ]
    curves_png(history[:1], tmp_path / "one.png")
    curves_png(history, tmp_path / "train.png")
    curves_png([{**e, "val_loss": 2 / e["epoch"], "val_accuracy": 0.5} for e in history], tmp_path / "both.png")
    assert is_drawn(tmp_path / "one.png") == is_drawn(tmp_path / "train.png") == is_drawn(tmp_path / "both.png")
    assert (tmp_path / "train.png").read_bytes() != (tmp_path / "both.png").read_bytes()


def test_class_names_of_any_kind_are_drawn_and_written(tmp_path, recwarn):
    names = ["costs $x^$", "猫", os.fsdecode(b"caf\xe9")]  # no formula, no glyph in the font, no UTF-8
    evaluation = evaluate(np.eye(3), np.arange(3), names)
    confusion_png(evaluation.confusion, names, tmp_path / "c.png")
    per_class_csv(evaluation, names, tmp_path / "classes.csv", [1, 2, 3])
    predictions_csv(names, evaluation, names, tmp_path / "p.csv")
    assert is_drawn(tmp_path / "c.png")
    assert [row["class"] for row in rows(tmp_path / "classes.csv")] == [*names[:2], "caf\\udce9"]
    assert [str(warning.message) for warning in recwarn] == []


def test_the_table_of_classes_holds_each_class_once(tmp_path, evaluation):
    per_class_csv(evaluation, ["cat", "hot, dog", "fox"], tmp_path / "classes.csv", np.array([8, 90, 2]))
    cat, dog, fox = rows(tmp_path / "classes.csv")
    assert (cat["class"], cat["images"], cat["correct"], cat["precision"]) == ("cat", "1", "1", "0.5000")
    assert cat["most_confused_with"] == ""
    assert (dog["class"], dog["recall"], dog["most_confused_with"]) == ("hot, dog", "0.5000", "cat")
    assert [row["training_images"] for row in (cat, dog, fox)] == ["8", "90", "2"]
    assert (fox["images"], fox["precision"], fox["recall"], fox["f1"]) == ("0", "", "", "")


def test_the_table_of_predictions_holds_each_image_in_order(tmp_path, evaluation):
    predictions_csv(["a.jpg", "b.jpg", "ü.jpg"], evaluation, ["cat", "hot, dog", "fox"], tmp_path / "p.csv")
    first, second, third = rows(tmp_path / "p.csv")
    assert first == {
        "image": "a.jpg", "label": "cat", "predicted": "cat", "correct": "1",
        "confidence": "0.7500000", "probability_of_label": "0.7500000",
    }  # fmt: skip
    assert (second["predicted"], second["correct"], second["probability_of_label"]) == ("cat", "0", "0.2500000")
    assert third["image"] == "ü.jpg"


def test_names_that_do_not_fit_the_images_are_refused(tmp_path, evaluation):
    with pytest.raises(ValueError, match="zip"):
        predictions_csv(["a.jpg"], evaluation, ["cat", "hot, dog", "fox"], tmp_path / "p.csv")
    assert not (tmp_path / "p.csv").exists()


def test_drawing_leaves_no_global_state():
    env = {**os.environ, "PYTHONPATH": str(Path(thaw.__file__).parents[1])}  # thaw is not installed
    code = """
import sys, tempfile, numpy
from thaw.results.report_tables import confusion_png
assert "matplotlib" not in sys.modules
confusion_png(numpy.eye(2, dtype=int), ["a", "b"], tempfile.mkdtemp() + "/c.png")
print("matplotlib.pyplot" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]


def test_a_class_named_like_a_formula_is_text_in_both_tables(tmp_path: Path) -> None:
    names = ["=1+1", "@cmd"]
    evaluation = evaluate(np.array([[0.9, 0.1], [0.8, 0.2]]), np.array([0, 1]), names)
    predictions_csv(["-x.jpg", "+y.jpg"], evaluation, names, tmp_path / "predictions.csv")
    per_class_csv(evaluation, names, tmp_path / "per_class.csv", [1, 1])
    for file in ("predictions.csv", "per_class.csv"):
        cells = {cell for row in csv.reader((tmp_path / file).open()) for cell in row}
        assert not {cell for cell in cells if cell[:1] in ("=", "@", "-", "+")}
        assert {"'=1+1", "'@cmd"} <= cells
