"""Images that a network has seen: read from the manifests of its run and of those before it. A real store."""

from pathlib import Path

import numpy as np
import pytest

from thaw import tracking
from thaw.analysis.intervals import wilson
from thaw.config.schema import TrackingConfig
from thaw.results.evaluation_figures import evaluation_figures
from thaw.results.evaluation_seen import (
    SeenImage,
    TrainingRecord,
    count_seen,
    describe_seen,
    read_training_record,
    seen_csv,
)


class Images:
    """Four images with these hashes and labels."""

    title, covers = "photos", "all 4 images"
    sha256 = ("a", "b", "c", "d")
    labels = np.array([0, 1, 0, 1], np.int32)


PROBABILITIES = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.3, 0.7]], np.float32)  # the third is wrong


def record(**images: SeenImage) -> TrainingRecord:
    return TrainingRecord(images, {"cat": 1, "dog": 5}, ["r"], [])


def figures_of(of_record: TrainingRecord):
    return evaluation_figures(Images(), PROBABILITIES, ["cat", "dog"], of_record, None)


def make_run(outputs: Path, folder: str, config: str, *rows: str, manifest: bool = True) -> str:
    tracked = TrackingConfig(uri=f"sqlite:///{outputs}/mlflow.db")
    with tracking.start_run(tracked, outputs, name=folder, folder=outputs / folder) as run:
        run.log_text(config, "config.yaml")
        if manifest:
            run.log_text("\n".join(["path,sha256,label,split", *rows, ""]), "manifest.csv")
    return run.id


def test_the_runs_before_the_run_count_where_they_changed_the_backbone(tmp_path: Path) -> None:
    config = "recipe: {}\nbackbone: {{weights: {}}}\n"
    first = make_run(
        tmp_path, "first", config.format("scratch", "imagenet"), "1.jpg,a,cat,train", "2.jpg,b,cat,val",
        "3.jpg,c,cat,test",
    )  # fmt: skip
    head_only = make_run(tmp_path, "head", config.format("bottleneck", first), "4.jpg,d,dog,train")
    last = make_run(
        tmp_path, "last", config.format("bottleneck", head_only), "5.jpg,b,dog,train", "6.jpg,e,dog,val",
        "7.jpg,f,cat,train", "8.jpg,g,cat,",
    )  # fmt: skip
    read = read_training_record(last, f"sqlite:///{tmp_path}/mlflow.db", tmp_path)
    assert read.images == {
        "a": SeenImage(first, "train", "1.jpg"),
        "b": SeenImage(last, "train", "5.jpg"),  # trained on by the run counts before validated on by one before it
        "e": SeenImage(last, "val", "6.jpg"),
        "f": SeenImage(last, "train", "7.jpg"),
    }
    assert (read.class_counts, read.run_ids) == ({"dog": 1, "cat": 1}, [last, head_only, first])
    assert (list(read.unknown), read.unknown_line()) == ([], "")
    assert [image is not None for image in read.find(["c", "b", "d"])] == [False, True, False]
    lost = make_run(tmp_path, "lost", config.format("scratch", "imagenet"), manifest=False)
    again = make_run(tmp_path, "again", config.format("bottleneck", lost), "9.jpg,h,cat,train")
    read = read_training_record(again, f"sqlite:///{tmp_path}/mlflow.db", tmp_path)
    assert list(read.unknown) == [lost]
    assert f"what {lost} trained on is not known" in read.unknown_line()


@pytest.mark.parametrize(
    ("splits", "text"),
    [
        (["train"] * 12 + ["val"] * 3, "12 images were trained on, 3 validated on"),
        (["train", "val"], "1 image was trained on, 1 validated on"),
        (["val"] * 2, "2 images were validated on"),
        ([], ""),
    ],
)
def test_trained_and_validated_images_are_counted_apart(splits: list[str], text: str) -> None:
    assert describe_seen(count_seen([None, *(SeenImage("r", split, "") for split in splits)])) == text


def test_the_list_of_seen_images_is_safe_for_a_spreadsheet() -> None:
    assert seen_csv([("=1.jpg", SeenImage("r", "train", "a,b.jpg"))]) == (
        'image,split,run,image_in_run\n\'=1.jpg,train,r,"a,b.jpg"\n'
    )


def test_a_figure_with_seen_images_is_flagged_and_the_one_without_them_is_given() -> None:
    figures = figures_of(record(a=SeenImage("r", "train", "1"), d=SeenImage("r", "val", "2")))
    assert figures.all_images.evaluation.metrics["accuracy"] == 0.75
    assert figures.without_seen is not None
    assert figures.without_seen.evaluation.metrics["accuracy"] == 0.5
    assert figures.without_seen.split.accuracy == wilson(1, 2)
    assert figures.without_seen.split.majority_class == "dog", "of training, not of these images"
    flag = (
        "not to be trusted: 1 image was trained on, 1 validated on. Without them: accuracy 0.5000 on the 2 images that"
    )
    assert figures.warning().startswith(flag)
    verdict = figures.verdict()
    assert verdict.lines[0].startswith("photos accuracy 0.750 (95 % interval")
    assert verdict.lines[1].startswith(flag)
    assert flag in verdict.sentence


def test_a_figure_without_seen_images_is_not_flagged_and_one_of_only_seen_images_says_so() -> None:
    clean = figures_of(record())
    assert (clean.warning(), clean.without_seen) == ("", None)
    assert "trusted" not in clean.verdict().sentence
    everything = figures_of(record(**{name: SeenImage("r", "train", name) for name in "abcd"}))
    assert everything.warning() == "not to be trusted: 4 images were trained on, and no other image is left"
    assert everything.without_seen is None


def test_a_gap_in_the_record_stands_beside_the_figure() -> None:
    figures = figures_of(TrainingRecord({}, None, [], ["a/model.keras"]))
    assert "what a/model.keras trained on is not known" in figures.verdict().lines[1]
