import csv
import os
from pathlib import Path

import numpy as np
import pytest

from thaw.results.metrics import evaluate
from thaw.results.report_tables import per_class_csv, predictions_csv


def rows(path):
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


@pytest.fixture
def evaluation():
    probabilities = np.array([[0.75, 0.25, 0.0], [0.5, 0.25, 0.25], [0.125, 0.875, 0.0]])
    return evaluate(probabilities, np.array([0, 1, 1]), ["cat", "hot, dog", "fox"])


def test_class_names_of_any_kind_are_written(tmp_path, recwarn):
    names = ["costs $x^$", "猫", os.fsdecode(b"caf\xe9")]  # no formula, no glyph in the font, no UTF-8
    evaluation = evaluate(np.eye(3), np.arange(3), names)
    per_class_csv(evaluation, names, tmp_path / "classes.csv", [1, 2, 3])
    predictions_csv(names, evaluation, names, tmp_path / "p.csv")
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


def test_a_class_named_like_a_formula_is_text_in_both_tables(tmp_path: Path) -> None:
    names = ["=1+1", "@cmd"]
    evaluation = evaluate(np.array([[0.9, 0.1], [0.8, 0.2]]), np.array([0, 1]), names)
    predictions_csv(["-x.jpg", "+y.jpg"], evaluation, names, tmp_path / "predictions.csv")
    per_class_csv(evaluation, names, tmp_path / "per_class.csv", [1, 1])
    for file in ("predictions.csv", "per_class.csv"):
        cells = {cell for row in csv.reader((tmp_path / file).open()) for cell in row}
        assert not {cell for cell in cells if cell[:1] in ("=", "@", "-", "+")}
        assert {"'=1+1", "'@cmd"} <= cells
