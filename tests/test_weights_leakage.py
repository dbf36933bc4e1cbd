"""Images that the run behind `backbone.weights=RUN_ID` trained on. Real stores and pictures, no TensorFlow."""

import dataclasses
import re
from pathlib import Path

import pytest

from thaw import tracking, weights_leakage
from thaw.cache import DiskCache
from thaw.common.errors import UserError
from thaw.config import stored_config
from thaw.config.schema import BackboneConfig, Config, DatasetConfig, TrackingConfig
from thaw.run_data import load_run_data

from .data.pictures import noise, write_image
from .test_read_data import Tracked, context_of


class Logged(Tracked):
    def __init__(self):
        super().__init__()
        self.figures = {}

    def log_metrics(self, figures):
        self.figures |= figures

    def set_tags(self, tags):
        self.figures |= tags


@pytest.fixture(scope="module")
def outputs(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("leak")


@pytest.fixture(scope="module")
def pictures(outputs) -> Path:
    for c, name in enumerate("abc"):
        for i in range(20):
            write_image(outputs / "pictures" / name / f"{i:02}.png", noise(8, 8, 100 * c + i))
    return outputs / "pictures"


def config(outputs, pictures, weights="imagenet", **keys):
    return Config(
        outputs=str(outputs),
        backbone=BackboneConfig(image_size=64, weights=weights),
        dataset=DatasetConfig(name="image_folder", path=str(pictures), val_fraction=0.2, test_fraction=0.2),
        tracking=TrackingConfig(uri=f"sqlite:///{outputs}/mlflow.db"),
        **keys,
    )


def read(own):
    tracked = Logged()
    folder = Path(own.outputs) / "run"
    context = context_of(own, DiskCache(Path(own.outputs) / "cache", 1e9), tracked, folder)
    return load_run_data(context), tracked


def trained(own, *, without: str = "", parent: str | None = None) -> str:
    """A run as train.py leaves it in the store and in its folder, without the training."""
    _, read_as = read(own)
    folder = (
        Path(own.outputs)
        / f"of {parent} {own.seed} {own.backbone.weights[-8:].replace('/', '_')} {own.recipe} {without}"
    )
    left = {"config.yaml": stored_config.config_yaml(own), "manifest.csv": read_as.artifacts["manifest.csv"]}
    with tracking.start_run(own.tracking, Path(own.outputs), name="made", folder=folder, parent=parent) as run:
        for name, text in left.items():
            if name != without:
                run.log_text(text, name)
        run.log_objective("val/accuracy", 0.5)
    (folder / "model").mkdir(exist_ok=True)
    (folder / "model" / "config.yaml").write_text(left["config.yaml"])
    (folder / "model" / "model.keras").write_bytes(b"")
    if without != "manifest.csv":
        (folder / "manifest.csv").write_text(left["manifest.csv"])
    return run.id


THAWED = {"recipe": "scratch"}  # the backbone moves


@pytest.fixture(scope="module")
def first(outputs, pictures) -> str:
    return trained(config(outputs, pictures, **THAWED))


def checked(own, capsys):
    data, tracked = read(own)
    capsys.readouterr()
    weights_leakage.check_leakage(own, data, tracked)
    return capsys.readouterr().out, tracked.figures, data


def test_test_images_that_the_weights_were_trained_on_are_counted_and_logged(outputs, pictures, first, capsys):
    own = config(outputs, pictures, first, seed=1)
    output, figures, data = checked(own, capsys)
    before, _ = read(config(outputs, pictures, **THAWED))
    seen = set(before.image_names("train"))
    test, val = (len(seen & set(data.image_names(split))) for split in ("test", "val"))
    assert test > 0
    assert f"warning: {test} of 12 test images and {val} of 12 val images were trained on by run {first[:12]}" in output
    assert (figures["leak/test_images"], figures["leak/val_images"]) == (test, val)
    assert figures[weights_leakage.WEIGHTS_FROM_TAG] == first
    assert figures["leak/test_validated"] == len(set(before.image_names("val")) & set(data.image_names("test")))


def test_the_same_split_leaks_nothing_and_says_so(outputs, pictures, first, capsys):
    output, figures, _ = checked(config(outputs, pictures, first, leak="stop"), capsys)
    assert output.startswith(f"leak: 0 of 12 test images and 0 of 12 val images were trained on by run {first[:12]}")
    assert (figures["leak/test_images"], figures["leak/val_images"]) == (0, 0)


def test_leak_stop_refuses(outputs, pictures, first):
    own = config(outputs, pictures, first[:10], seed=1, leak="stop")
    data, tracked = read(own)
    with pytest.raises(UserError, match=r"were trained on by run .* leak=warn continues"):
        weights_leakage.check_leakage(own, data, tracked)


def test_renamed_pictures_are_found_by_their_content(outputs, pictures, first, capsys, tmp_path):
    for file in pictures.rglob("*.png"):
        write_image(tmp_path / "other" / file.parent.name / f"new {file.name}", noise(8, 8, 1))
        (tmp_path / "other" / file.parent.name / f"new {file.name}").write_bytes(file.read_bytes())
    _, figures, _ = checked(config(outputs, tmp_path / "other", first, seed=1), capsys)
    assert figures["leak/test_images"] > 0


def test_runs_before_the_run_count_too(outputs, pictures, first, capsys):
    second = trained(config(outputs, pictures, first, recipe="bottleneck", seed=1))  # only the first moved the backbone
    third = trained(config(outputs, pictures, second, recipe="bottleneck", seed=2))
    output, figures, data = checked(config(outputs, pictures, third, seed=3), capsys)
    before, _ = read(config(outputs, pictures, **THAWED))
    assert figures["leak/test_images"] == len(set(before.image_names("train")) & set(data.image_names("test"))) > 0
    assert figures[weights_leakage.WEIGHTS_FROM_TAG].split() == [third, second, first]
    assert f"or those that it started from ({second[:12]}, {first[:12]})" in output


@pytest.mark.parametrize("keys", [{"recipe": "bottleneck"}, {"recipe": "finetune"}])
def test_images_that_only_a_head_was_trained_on_are_said_and_refuse_nothing(outputs, pictures, capsys, keys):
    own = config(outputs, pictures, **keys)
    own.finetune.freeze = "all"
    run = trained(own)
    output, figures, _ = checked(config(outputs, pictures, run, seed=1, leak="stop"), capsys)
    assert re.match(r"leak: [1-9]\d* of 12 test images .*the backbone stayed frozen", output)
    assert figures["leak/test_images"] == 0


def test_a_runs_own_model_file_leads_to_its_manifest(outputs, pictures, first, capsys):
    info = tracking.find_run(f"sqlite:///{outputs}/mlflow.db", outputs, first)
    file = Path(info.tags[tracking.FOLDER_TAG]) / "model" / "model.keras"
    _, figures, _ = checked(config(outputs, pictures, str(file), seed=1), capsys)
    assert figures[weights_leakage.WEIGHTS_FROM_TAG] == first
    assert figures["leak/test_images"] > 0


def test_a_runs_folder_a_sweep_and_its_folder_mean_the_run_whose_weights_they_give(outputs, pictures, capsys):
    """As `backbone.weights` takes them: thaw's own lines name runs by their folders."""
    own = config(outputs, pictures, seed=3, **THAWED)
    sweep = tracking.open_sweep(own.tracking, outputs, "a sweep", outputs / "sweep")
    run = trained(own, parent=sweep.id)
    tracking.close_sweep(sweep)
    folder = Path(tracking.find_run(own.tracking.uri, outputs, run).tags[tracking.FOLDER_TAG])
    figures = [checked(config(outputs, pictures, run, seed=1), capsys)[1]]
    assert figures[0]["leak/test_images"] > 0
    for weights in (str(folder), sweep.id, str(outputs / "sweep")):
        output, seen, _ = checked(config(outputs, pictures, weights, seed=1), capsys)
        assert "is not known" not in output
        figures.append(seen)
    assert all(seen == figures[0] for seen in figures)
    assert figures[0][weights_leakage.WEIGHTS_FROM_TAG] == run


def test_weights_that_are_of_no_run_say_nothing(outputs, pictures, capsys, tmp_path):
    (tmp_path / "foreign.h5").write_bytes(b"")
    for weights in ("imagenet", "none", str(tmp_path / "foreign.h5")):
        output, figures, _ = checked(config(outputs, pictures, weights, leak="stop"), capsys)
        assert (output, "leak/test_images" in figures) == ("", False)


def test_a_runs_model_that_was_copied_out_of_its_folder_is_said_and_refused_by_stop(outputs, pictures, capsys):
    """Nobody knows what it was trained on; a file of no run, such as Keras's own, says nothing."""
    import zipfile

    file = outputs / "copied.keras"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("config.json", '{"class_name": "Functional", "config": {"name": "thaw"}}')
    own = config(outputs, pictures, str(file), leak="stop")
    data, tracked = read(own)
    with pytest.raises(UserError, match=r"copied\.keras trained on is not known"):
        weights_leakage.check_leakage(own, data, tracked)


def test_a_run_without_a_manifest_is_said_and_refused_by_stop(outputs, pictures, capsys):
    run = trained(config(outputs, pictures, seed=7, **THAWED), without="manifest.csv")
    own = config(outputs, pictures, run)
    assert f"What {run} trained on is not known" in checked(own, capsys)[0]
    data, tracked = read(own)
    with pytest.raises(UserError, match="is not known"):
        weights_leakage.check_leakage(dataclasses.replace(own, leak="stop"), data, tracked)


def test_a_run_in_the_line_that_is_gone_is_said(outputs, pictures, capsys):
    run = trained(config(outputs, pictures, "0123456789abcdef", seed=8, **THAWED))
    assert "What 0123456789abcdef trained on is not known" in checked(config(outputs, pictures, run), capsys)[0]
