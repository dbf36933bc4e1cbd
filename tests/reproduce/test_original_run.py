"""What is taken from the store, and which runs cannot be reproduced."""

import dataclasses
import json
from pathlib import Path

import pytest

from thaw import tracking
from thaw.common.errors import UserError
from thaw.config import stored_config
from thaw.config.schema import BackboneConfig, CacheConfig, Config, DatasetConfig, TrackingConfig
from thaw.data import manifest
from thaw.reproduce import original_run
from thaw.tools import reproduce

COMPUTED = {
    "thaw.engine": "openvino 2026.4.1",
    "thaw.precision": "float32",
    "thaw.frozen_precision": "bfloat16",
    "fingerprint.package.keras": "3.0",
}
TRAINED = Config(
    dataset=DatasetConfig(name="image_folder", path="photos"),
    backbone=BackboneConfig(weights="none"),
    cache=CacheConfig(dir="/cache"),
)


@pytest.fixture(scope="module")
def outputs(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("outputs")


@pytest.fixture(scope="module")
def options(outputs) -> TrackingConfig:
    return TrackingConfig(uri=f"sqlite:///{outputs}/mlflow.db")


def add(options, outputs, config=TRAINED, tags=COMPUTED, epochs=2, error=None) -> str:
    """A run as train.py leaves it, without the training."""
    try:
        folder = outputs / "made" / str(len(list((outputs / "made").glob("*"))))
        with tracking.start_run(options, outputs, name="made", folder=folder, tags=tags) as run:
            run.set_tags(tags)  # thaw.cwd
            run.log_text("recipe=finetune\n", "overrides.txt")
            run.log_text(config if isinstance(config, str) else stored_config.config_yaml(config), "config.yaml")
            run.log_text(",".join(manifest.COLUMNS) + "\n", "manifest.csv")
            for epoch in range(1, epochs + 1):
                run.log_metrics(
                    {"epoch/loss": 1 / epoch, "epoch/val_loss": 0.1, "epoch/images_per_second": 5}, step=epoch
                )
            if error:
                raise error
            run.log_metrics({"test/accuracy": 1 / 3, "parity/images": 5}, step=epochs)
            run.set_tags({tracking.WEIGHTS_TAG: "w"})
    except UserError:
        pass
    return run.id


def read(run, options, outputs):
    return original_run.read_original(run, options.uri, outputs)


def test_a_run_is_taken_as_it_was_computed_not_as_this_machine_would_choose(options, outputs):
    config = dataclasses.replace(TRAINED, resume="0123", seed=7)
    run = read(add(options, outputs, config)[:12], options, outputs)
    taken = run.config
    assert (taken.engine, taken.precision, taken.frozen_precision) == ("openvino", "float32", "bfloat16")
    assert (taken.seed, taken.resume) == (7, None)
    assert run.fingerprint == {"package.keras": "3.0"}


def test_a_run_from_before_there_were_versions_of_the_split_is_split_as_it_was(options, outputs):
    text = stored_config.config_yaml(TRAINED).replace("  version: 2\n", "")
    assert "version" not in text
    run = read(add(options, outputs, text), options, outputs)
    assert run.config.split.version == 1
    again = reproduce._job(run, run.config, Path(), outputs)
    assert "split.version=1" in again.overrides, "should the rerun be stopped and resumed"


def test_a_run_from_before_there_was_a_choice_of_val_loss_is_done_again_with_its_own(options, outputs):
    text = stored_config.config_yaml(TRAINED).replace("  val_loss: cross_entropy\n", "")
    assert "val_loss" not in text
    run = read(add(options, outputs, text), options, outputs)
    assert run.config.train.val_loss == "objective"
    again = reproduce._job(run, run.config, Path(), outputs)
    assert "train.val_loss=objective" in again.overrides, "should the rerun be stopped and resumed"


def test_figures_come_to_the_last_bit(options, outputs):
    run = read(add(options, outputs, epochs=3), options, outputs)
    outcome = original_run.read_outcome(run.run)
    assert outcome.epochs == {n: {"loss": 1 / n, "val_loss": 0.1} for n in (1, 2, 3)}
    assert outcome.final == {"test/accuracy": 1 / 3}
    assert (outcome.weights_sha256, outcome.finished) == ("w", True)


def test_relative_paths_are_meant_from_where_the_run_was_started(options, outputs, tmp_path):
    (tmp_path / "photos").mkdir()
    run = read(add(options, outputs, tags={**COMPUTED, "thaw.cwd": str(tmp_path)}), options, outputs)
    assert run.config.dataset.path == str(tmp_path / "photos")
    assert run.config.backbone.weights == "none"
    gone = read(add(options, outputs, tags={**COMPUTED, "thaw.cwd": str(tmp_path / "gone")}), options, outputs)
    assert gone.config.dataset.path == "photos"


def test_a_runs_folder_leads_to_it(options, outputs, tmp_path):
    run_id = add(options, outputs)
    (tmp_path / "run.json").write_text(json.dumps({"run_id": run_id, "tracking_uri": options.uri}))
    assert read(str(tmp_path), options, outputs).run.id == run_id


def test_of_a_sweep_it_is_the_best_run(options, outputs, tmp_path, capsys):
    sweep = tracking.open_sweep(options, outputs, "sweep", tmp_path / "sweep")
    best = add(options, outputs, tags={**COMPUTED, tracking.PARENT_TAG: sweep.id})
    tracking.find_run(options.uri, outputs, best)._store.client.log_metric(best, "objective", 0.5)
    tracking.close_sweep(sweep)
    for wanted in (sweep.id, str(tmp_path / "sweep")):
        assert read(wanted, options, outputs).run.id == best
        assert f"{sweep.id} is a sweep: this is its best run, {best}" in capsys.readouterr().out


@pytest.mark.parametrize("content", [None, "[]", "not json"])
def test_another_folder_is_named(options, outputs, tmp_path, content):
    if content:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(UserError, match=r"folder without a run\.json that says which run it is"):
        read(str(tmp_path), options, outputs)


def test_a_run_that_failed_after_an_epoch_is_taken(options, outputs):
    run = read(add(options, outputs, error=UserError("the disk is full")), options, outputs)
    assert not run.finished
    outcome = original_run.read_outcome(run.run)
    assert (len(outcome.epochs), outcome.weights_sha256, outcome.finished) == (2, None, False)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ({"epochs": 0, "error": UserError("no pictures")}, "is FAILED and has no epoch to compare with: no pictures"),
        ({"tags": {"thaw.sweep": "a sweep"}}, "is a sweep .made, FINISHED. of which no run has finished"),
        ({"config": "recipe: melt"}, "recipe=melt is not a choice"),
        ({"config": "thawing: 1"}, "no config of this version of thaw"),
    ],
)
def test_what_cannot_be_reproduced_is_said(options, outputs, made, message):
    run_id = add(options, outputs, **made)
    with pytest.raises(UserError, match=message):
        read(run_id, options, outputs)


def test_a_run_that_was_trained_as_another_network_than_is_built_now_is_refused(options, outputs):
    """EfficientNetB0-B7 from a file or a run, by a version that recorded no digest of the graph."""

    def run(name: str, weights: str, **later: str) -> str:
        config = dataclasses.replace(
            TRAINED, backbone=dataclasses.replace(TRAINED.backbone, name=name, weights=weights)
        )
        tags = {**COMPUTED, "fingerprint.weights_sha256": "0" * 64}
        return add(options, outputs, config, tags={**tags, **{f"fingerprint.{key}": v for key, v in later.items()}})

    with pytest.raises(UserError, match=r"began in a version .* lacked a Rescaling layer.* train anew"):
        read(run("efficientnetb0", "0123456789ab"), options, outputs)
    for alike in (
        run("efficientnetb0", "imagenet"),
        run("resnet50", "0123456789ab"),
        run("efficientnetb0", "0123456789ab", graph_sha256="1" * 64),
    ):
        assert read(alike, options, outputs).run.id == alike
