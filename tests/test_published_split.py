"""A published split whose validation and test sets lack classes, trained on; and a run that starts from its weights."""

import csv
import json
import shutil
from pathlib import Path

import pytest

SMALL = ("dataset=image_folder", "backbone.image_size=64", "train.batch_size=8", "head=linear")


@pytest.fixture(scope="module")
def published(commands, photos):
    """Archived as people do: one folder around training_set/, val/ and TEST/; val has no sky, test no apple."""
    for name in ("apple", "lime", "sky"):
        for i, file in enumerate(sorted((photos / name).glob("*.jpg"))):
            side = "TEST" if i < 4 else "val" if i < 8 else "training_set"
            if (side, name) not in (("val", "sky"), ("TEST", "apple")):
                at = commands.folder / "published" / "archive" / side / name
                at.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, at)
    ran = commands.run(
        *SMALL, f"dataset.path={commands.folder / 'published'}", "recipe=finetune", "finetune.head_epochs=1",
        "finetune.epochs=1", "report=full",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    return ran


def test_a_run_on_a_split_that_lacks_classes_comes_to_its_end_with_all_classes_in_order(commands, published) -> None:
    assert "train 36 · val 8 · test 8" in published.out
    assert "the only folder in dataset.path holds the splits and is taken" in published.out
    assert "warning: val has no images of 1 of 3 classes: sky" in published.out
    assert "warning: test has no images of 1 of 3 classes: apple" in published.out
    result = published.result()
    assert result["class_names"] == ["apple", "lime", "sky"]
    assert result["metrics"]["val/class/sky/recall"] is None
    assert result["metrics"]["test/class/apple/recall"] is None
    assert all(0 <= result["metrics"][key] <= 1 for key in ("val/macro_f1", "test/macro_f1", "test/accuracy"))
    logged = commands.client().get_run(result["run_id"]).data.metrics
    assert "test/class/apple/recall" not in logged
    assert logged["test/class/sky/recall"] == result["metrics"]["test/class/sky/recall"]
    report = Path(result["model"]).parents[1] / "report"
    rows = list(csv.DictReader((report / "per_class.csv").read_text().splitlines()))
    assert [(row["class"], row["images"], row["training_images"]) for row in rows] == [
        ("apple", "0", "12"), ("lime", "4", "12"), ("sky", "4", "12"),
    ]  # fmt: skip
    assert rows[0]["recall"] == ""
    assert (report / "confusion.png").stat().st_size > 0
    assert json.loads((report / "history.json").read_text())


@pytest.mark.slow
def test_a_run_from_its_weights_says_how_many_test_images_they_were_trained_on(commands, photos, published) -> None:
    parent = published.result()["run_id"]
    arguments = (*SMALL, f"dataset.path={photos}", f"backbone.weights={parent[:12]}", "recipe=bottleneck")
    refused = commands.run(*arguments, "leak=stop")
    assert refused.code == 1
    assert f"were trained on by run {parent[:12]}" in refused.err
    assert "network:" not in refused.out
    ran = commands.run(*arguments, "bottleneck.epochs=1")
    assert ran.code == 0, ran.err
    data = commands.client().get_run(ran.result()["run_id"]).data
    count = int(data.metrics["leak/test_images"])
    assert count > 0
    assert f"warning: {count} of 6 test images" in ran.out
    assert data.tags["thaw.weights_from"] == parent
