"""What the charts are made of: their data, and that they are valid and can be drawn."""

import dataclasses

import numpy as np
import pytest

from thaw.report.class_charts import per_class
from thaw.report.confusion_charts import confusion
from thaw.report.content import BestEpoch
from thaw.report.curve_charts import learning_curves
from thaw.report.drawing import chart_names, legend_columns, rows, thinned
from thaw.report.feature_charts import feature_drawing
from thaw.report.plan_charts import freeze_plan
from thaw.report.ranking_charts import roc
from thaw.report.report_drawings import report_drawings

from .made_content import (
    CLASSES,
    make_confusion,
    make_content,
    make_feature_map,
    make_history,
    make_plans,
    make_split,
)
from .test_report_files import HOSTILE


def data(drawing, panel: int = 0) -> list[dict]:
    """All rows of a panel, of all its layers."""
    return [row for table in drawing.specs[panel]["datasets"].values() for row in table]


@pytest.mark.parametrize("names", [HOSTILE, [f"class {i}" for i in range(60)], ("cat", "dog")], ids=["12", "60", "2"])
def test_all_specifications_are_valid(names):
    drawings = report_drawings(make_content(names, 20))
    for drawing in [*drawings.by_key.values(), *drawings.feature_maps]:
        assert drawing.description
        for panel in drawing.panels:
            panel.to_dict(validate=True)
        for spec in drawing.specs:
            assert spec["width"] == "container"
            assert spec["height"] > 0


def test_a_chart_of_hostile_names_can_be_drawn():
    assert report_drawings(make_content(HOSTILE)).by_key["confusion"].png().startswith(b"\x89PNG")


def test_a_planted_confusion_is_in_the_matrix():
    matrix = np.diag([10] * 6)
    matrix[2] = [0, 0, 3, 0, 0, 7]
    drawing = confusion(make_split(matrix, tuple("abcdef")))
    cells = data(drawing)
    assert {"true": "c", "predicted": "f", "count": 7, "share": 0.7, "kind": "wrong"} in cells
    assert len(cells) == 7, "cells without an image are not drawn"
    assert "Most often c is taken for f: 7 images" in drawing.description


def test_many_classes_show_their_confused_pairs_instead_of_the_square():
    matrix = np.diag([10] * 60)
    matrix[4, 50] = 9
    names = [f"class {i}" for i in range(60)]
    drawing = confusion(make_split(matrix, names))
    assert drawing.title == "Most confused pairs"
    (row,) = data(drawing)
    assert (row["pair"], row["count"]) == ("class 4 → class 50", 9)
    assert confusion(make_split(np.diag([10] * 60), names)) is None


def test_a_class_without_images_does_not_break_the_charts():
    matrix = make_confusion(3, 20)
    matrix[1] = 0
    split = make_split(matrix, ("a", "b", "c"))
    assert {row["true"] for row in data(confusion(split))} == {"a", "c"}
    drawing = per_class(split)
    assert {row["name"] for row in data(drawing)} == {"a", "c"}
    assert "Left out: 1 without an image" in drawing.description


def test_of_many_classes_the_worst_and_the_best_are_drawn():
    matrix = np.diag(np.arange(1, 101))
    matrix += np.roll(np.diag([20] * 100), 1, axis=1)  # 20 mistakes a class: the more images, the higher F1
    split = make_split(matrix, [f"class {i}" for i in range(100)])
    names = list(dict.fromkeys(row["name"] for row in data(per_class(split))))
    assert names == [f"class {i}" for i in (*range(20), *range(80, 100))]


def test_curves_have_the_numbers_of_the_history():
    history = make_history(3, 2)
    drawing = learning_curves(history, [BestEpoch("head", 2, 0.5, 0.8, False)])
    losses = [row["value"] for row in data(drawing) if row.get("kind") == "validation"]
    assert losses == pytest.approx([entry["val_loss"] for entry in history], rel=1e-5)
    accuracies = [row["value"] for row in data(drawing, 1) if row.get("kind") == "training"]
    assert accuracies == pytest.approx([entry["accuracy"] for entry in history], rel=1e-5)
    rates = [row["value"] for row in data(drawing, 2) if "value" in row]
    assert rates == pytest.approx([entry["learning_rate"] for entry in history], rel=1e-5)
    assert [row["label"] for row in data(drawing) if "label" in row] == ["best: epoch 2, loss 0.500"]


def test_curves_without_validation_or_with_a_rate_of_zero_have_gaps():
    history = [{"stage": "head", "epoch": i, "loss": float("nan") if i == 2 else 1.0, "accuracy": 0.5,
                "learning_rate": 0.0 if i == 3 else 1e-3} for i in (1, 2, 3)]  # fmt: skip
    drawing = learning_curves(history, [])
    assert [row["value"] for row in data(drawing) if "value" in row] == [1.0, None, 1.0]
    assert len([row for row in data(drawing, 2) if "value" in row]) == 2
    assert drawing.png().startswith(b"\x89PNG")
    assert learning_curves([], []) is None


def test_the_freeze_plan_marks_states_and_cut():
    cells = data(freeze_plan(make_plans()))
    assert {"stage": "thaw", "block": "block5b", "label": "cut"} in cells
    states = {row["block"]: row["state"] for row in cells if row["stage"] == "thaw" and "state" in row}
    assert (states["stem"], states["block6a"], states["head"]) == ("frozen", "partly thawed", "thawed")


def test_maps_mark_mistakes_and_tell_many_classes_apart_by_result():
    few = feature_drawing(make_feature_map("before", CLASSES, 50, 1))
    points = data(few)
    assert len(points) == 50
    assert sum(not point["correct"] for point in points) > 0
    assert "class:N" not in str(few.specs[0])  # shorthand is resolved
    assert few.specs[0]["layer"][0]["encoding"]["color"]["field"] == "class"
    many = feature_drawing(make_feature_map("before", [str(i) for i in range(30)], 60, 1))
    assert many.specs[0]["layer"][0]["encoding"]["color"]["field"] == "result"
    assert feature_drawing(make_feature_map("before", CLASSES, 0, 1)) is None


def test_curves_of_a_ranking_are_thinned_and_name_their_area():
    split = make_split(make_confusion(20, 10), [f"class {i}" for i in range(20)])
    long = [dataclasses.replace(c, x=[i / 999 for i in range(1000)], y=[1.0] * 1000, thresholds=[0.5] * 1000)
            for c in split.roc]  # fmt: skip
    points = data(roc(dataclasses.replace(split, roc=long)))
    assert len(points) <= 4002
    assert {row["name"] for row in points if "name" in row} == set(split.class_names)


def test_names_in_charts_are_short_on_one_line_and_unlike():
    assert chart_names(["a\nb", "a\\nb", "", "x" * 100]) == ["a\\nb", "a\\nb (2)", "(no name)", "x" * 31 + "…"]
    # Vega groups lines in a plain object: these names are in every one.
    assert all(name not in ("__proto__", "constructor") for name in chart_names(["__proto__", "constructor"]))
    assert [legend_columns(["x" * n]) for n in (5, 12, 30)] == [3, 2, 1]


def test_points_are_thinned_evenly():
    assert thinned(3, 5) == [0, 1, 2]
    assert thinned(101, 5) == [0, 25, 50, 75, 100]


def test_numbers_that_are_none_are_null():
    assert rows([{"x": float("nan"), "y": 1 / 3}]).to_dict() == {"values": [{"x": None, "y": 0.333333}]}
