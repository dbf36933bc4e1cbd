"""A trained network on other data: figures as its run's, classes by name, and images that it has seen before."""

import csv
import dataclasses
import hashlib
import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from thaw import tracking
from thaw.common.errors import UserError
from thaw.config.schema import CacheConfig, DatasetConfig
from thaw.config.tool_schemas import EvaluateConfig
from thaw.results import trained_classifier
from thaw.results.trained_classifier import ProbabilityFunction
from thaw.tools import evaluate as tool


@pytest.fixture(scope="module")
def loaded() -> dict[Any, Any]:
    return {}


@pytest.fixture(autouse=True)
def _load_and_convert_each_network_once(loaded: dict[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    load, convert = trained_classifier.load_trained, trained_classifier.uncalibrated_function

    def load_once(saved: Any, settings: Any) -> Any:
        key = hashlib.sha256(saved.weights_file.read_bytes()).hexdigest()
        if key not in loaded:
            loaded[key] = load(saved, settings)
        return dataclasses.replace(loaded[key], judged_with=settings)

    def convert_once(classifier: Any, *asked: str) -> Any:
        key = (id(classifier.model), classifier.judged_with, *asked)
        if key not in loaded:
            loaded[key] = convert(classifier, *asked)
        return loaded[key]

    monkeypatch.setattr(trained_classifier, "load_trained", load_once)
    monkeypatch.setattr(trained_classifier, "uncalibrated_function", convert_once)


def config_of(model: Path | str, data: Path, output: Path, **keys: Any) -> EvaluateConfig:
    """As the command line gives it, with an output and a cache of the test's own."""
    asked = {
        "outputs": str(output.parent),
        "tracking_uri": f"sqlite:///{output.parent}/mlflow.db",
        "log": False,
        **keys,
    }
    return EvaluateConfig(
        model=str(model), dataset=DatasetConfig(name="image_folder", path=str(data)), output=str(output),
        cache=CacheConfig(dir=str(output.parent / "cache")), **{"report": "none", **asked},
    )  # fmt: skip


def evaluated(config: EvaluateConfig) -> dict[str, Any]:
    tool.evaluate(config)
    return json.loads((Path(str(config.output)) / "evaluation.json").read_text(encoding="utf-8"))


KEYS = {
    "run_id", "evaluation_run_id", "model", "weights_sha256", "dataset", "data_sha256", "images", "metrics",
    "accuracy_interval", "without_seen", "seen", "trusted", "verdict", "calibration", "class_names", "missing_classes",
    "unknown_classes", "bad_files", "engine", "parity", "seconds",
}  # fmt: skip


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


@pytest.fixture
def run_folder(finished_runs) -> Path:
    return Path(finished_runs.bottleneck.result()["model"]).parent.parent


@pytest.fixture
def other_data(finished_runs, run_folder: Path, tmp_path: Path) -> Path:
    """Photos of the run under other names: 2 trained on, 1 validated on, 5 tested; a class more and a class less.

    The class that is more comes first, so that all labels are others than the run's.
    """
    manifest = [row for row in rows(run_folder / "manifest.csv") if row["label"] != "sky"]
    by_split = {split: [row for row in manifest if row["split"] == split] for split in ("train", "val", "test")}
    folder = tmp_path / "other photos"
    chosen = [*by_split["train"][:1], *by_split["train"][-1:], *by_split["val"][-1:]]
    tested = [row for name in ("apple", "lime") for row in by_split["test"] if row["label"] == name]
    for i, row in enumerate([*chosen, *tested]):
        (folder / row["label"]).mkdir(parents=True, exist_ok=True)
        shutil.copy(finished_runs.photos / row["path"], folder / row["label"] / f"renamed {i}.jpg")
    (folder / "aardvark").mkdir()
    for i in range(3):
        Image.fromarray(np.full((9, 9, 3), 60 * i, np.uint8)).save(folder / "aardvark" / f"{i}.png")
    return folder


def test_the_images_that_a_run_did_not_see_are_its_test_images_and_get_its_figures(
    finished_runs, run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    config = config_of(run_folder, finished_runs.photos, tmp_path / "out", exclude_seen=True)
    result, of_run = evaluated(config), finished_runs.bottleneck.result()
    assert result["metrics"] == {
        name.removeprefix("test/"): value for name, value in of_run["metrics"].items() if name.startswith("test/")
    }
    counts = {
        split: sum(row["split"] == split for row in rows(run_folder / "manifest.csv")) for split in ("train", "val")
    }
    assert {key: result["seen"][key] for key in ("train", "val", "excluded")} == {**counts, "excluded": True}
    assert (result["run_id"], result["weights_sha256"]) == (of_run["run_id"], of_run["weights_sha256"])
    assert result["trusted"]
    assert set(result) == KEYS, "scripts read them: keys are only ever added"
    assert result["calibration"]["temperature"] == of_run["calibration"]["temperature"]
    assert result["calibration"]["ece"] == of_run["calibration"]["test"]["ece"]
    tables = tmp_path / "out" / "report"
    assert (tables / "predictions.csv").read_bytes() == (run_folder / "report" / "predictions.csv").read_bytes()
    assert len(rows(tables / "seen.csv")) == sum(counts.values())
    out = capsys.readouterr().out
    assert f"accuracy {of_run['metrics']['test/accuracy']:.4f} on all 60 images, of which it has not seen 6" in out
    assert "parity: " in out
    assert "not to be trusted" not in out


def test_classes_are_matched_by_name_and_seen_images_are_found_under_other_names(
    finished_runs, run_folder: Path, other_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    result = evaluated(config_of(run_folder, other_data, tmp_path / "out", report="short"))
    assert result["unknown_classes"] == {"aardvark": 3}
    assert result["missing_classes"] == ["sky"]
    assert (result["images"], result["seen"]["train"], result["seen"]["val"]) == (7, 2, 1)
    seen = rows(tmp_path / "out" / "report" / "seen.csv")
    contents = {path.read_bytes(): path for path in other_data.rglob("*.jpg")}
    assert sorted(row["split"] for row in seen) == ["train", "train", "val"]
    for row in seen:  # the name here, and the one that the run knew
        original = finished_runs.photos / row["image_in_run"]
        assert contents[original.read_bytes()] == other_data / row["image"]
        assert row["run"] == result["run_id"]
    of_run = {
        (finished_runs.photos / row["image"]).read_bytes(): row
        for row in rows(run_folder / "report" / "predictions.csv")
    }
    again = rows(tmp_path / "out" / "report" / "predictions.csv")
    unseen = [row for row in again if row["image"] not in {one["image"] for one in seen}]
    for row in unseen:
        then = of_run[(other_data / row["image"]).read_bytes()]
        assert {**row, "image": ""} == {**then, "image": ""}
    right = sum(row["correct"] == "1" for row in unseen)
    assert result["without_seen"]["images"] == len(unseen) == 4
    assert result["without_seen"]["metrics"]["accuracy"] == right / 4
    assert result["metrics"]["accuracy"] == sum(row["correct"] == "1" for row in again) / 7
    assert result["trusted"] is False
    out = capsys.readouterr().out
    assert "classes that the network does not know: aardvark (3). Their 3 images are left out" in out
    assert "classes of the network without images: sky" in out
    flag = (
        f"not to be trusted: 2 images were trained on, 1 validated on. Without them: accuracy {right / 4:.4f} on the 4"
    )
    assert f"warning: {flag}" in out
    assert flag in (tmp_path / "out" / "report" / "report.html").read_text(encoding="utf-8")
    figures = json.loads((tmp_path / "out" / "report" / "figures.json").read_text(encoding="utf-8"))
    assert [split["images"] for split in figures["splits"]] == [7, 4]
    assert "aardvark (3)" in figures["remarks"][0]
    assert {gallery["key"] for gallery in figures["galleries"]} >= {"typical"}


def copied_store(finished_runs, folder: Path) -> str:
    """Copy the outputs of the finished runs, whose store then has its artifacts in the copy; return the store's URI."""
    outputs = finished_runs.commands.outputs
    shutil.copytree(outputs, folder, ignore=shutil.ignore_patterns("cache"))
    database = sqlite3.connect(folder / "mlflow.db")
    for table, column in (
        ("experiments", "artifact_location"), ("runs", "artifact_uri"), ("logged_models", "artifact_location"),
        ("tags", "value"),
    ):  # fmt: skip
        for old, new in ((outputs.as_uri(), folder.as_uri()), (str(outputs), str(folder))):
            database.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (old, new))
    database.commit()
    database.close()
    return f"sqlite:///{folder}/mlflow.db"


def test_an_evaluation_is_a_run_of_its_own_beside_the_networks_run(finished_runs, other_data: Path, tmp_path: Path):
    outputs = tmp_path / "copied outputs"
    uri, run_id = copied_store(finished_runs, outputs), finished_runs.bottleneck.result()["run_id"]
    keys = {"outputs": str(outputs), "tracking_uri": uri, "log": None}
    result = evaluated(config_of(run_id, other_data, tmp_path / "out", **keys))
    trained, logged = (tracking.find_run(uri, outputs, key) for key in (run_id, result["evaluation_run_id"]))
    assert (logged.name, logged.status) == (f"evaluate-{trained.name}-other photos", "FINISHED")
    assert logged.is_evaluation
    assert logged.tags["thaw.evaluated_run"] == run_id
    assert logged.experiment_id == trained.experiment_id
    assert logged.metrics["eval/accuracy"] == result["metrics"]["accuracy"]
    assert logged.metrics["eval_without_seen/accuracy"] == result["without_seen"]["metrics"]["accuracy"]
    assert (logged.metrics["eval/seen_train"], logged.metrics["eval/seen_val"]) == (2, 1)
    assert "not to be trusted" in logged.tags["mlflow.note.content"]
    assert json.loads(logged.artifact_path("evaluation.json").read_text()) == result
    assert logged.artifact_path("report/predictions.csv").is_file()
    inputs = tracking.open_store(uri, outputs).client.get_run(logged.id).inputs.dataset_inputs
    assert [(each.dataset.name, each.tags[0].value) for each in inputs] == [("other photos", "evaluation")]
    with pytest.raises(UserError, match=r"holds run\.json of run"):
        tool.evaluate(config_of(run_id, other_data, tmp_path / "out", **keys))


def test_without_a_record_of_training_nothing_counts_as_unseen(
    finished_runs, run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    network = shutil.copytree(run_folder / "model", tmp_path / "a copied network")
    config = config_of(network, finished_runs.photos, tmp_path / "out", exclude_seen=True)
    with pytest.raises(UserError, match=r"^exclude_seen=true: what .*model\.keras trained on is not known"):
        tool.evaluate(config)
    config.exclude_seen = False
    result = evaluated(config)
    assert (result["trusted"], result["run_id"], result["images"]) == (False, None, 60)
    assert "warning: what " in capsys.readouterr().out
    config.log = True
    with pytest.raises(UserError, match=r"log=true: which run .* belongs to is not known"):
        tool.evaluate(config)


def test_where_engine_and_kept_network_differ_the_figures_are_the_kept_networks(
    finished_runs, run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    computed = trained_classifier.uncalibrated_function

    def mirrored(classifier, *asked: str) -> ProbabilityFunction:
        function = computed(classifier, *asked)
        return ProbabilityFunction(function.choice, lambda images: np.roll(function(images), 1, axis=1))

    monkeypatch.setattr(trained_classifier, "uncalibrated_function", mirrored)
    result = evaluated(config_of(run_folder, finished_runs.photos, tmp_path / "out", exclude_seen=True))
    assert (result["parity"]["passed"], result["engine"]["engine"]) == (False, "keras")
    assert result["metrics"]["loss"] == pytest.approx(
        finished_runs.bottleneck.result()["metrics"]["test/loss"], abs=1e-4
    )
    assert "parity failed: 6 of 6 images" in capsys.readouterr().out


def test_what_cannot_be_evaluated_is_said_before_tensorflow_is_needed(
    finished_runs, run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trained_classifier, "load_trained", lambda *_: pytest.fail("it went on"))
    strangers = tmp_path / "strangers"
    for name in ("cat", "dog"):
        (strangers / name).mkdir(parents=True)
        shutil.copy(finished_runs.photos / "apple" / "00.jpg", strangers / name / "0.jpg")
    train = tmp_path / "seen"
    for row in rows(run_folder / "manifest.csv"):
        if row["split"] == "train":
            (train / row["label"]).mkdir(parents=True, exist_ok=True)
            shutil.copy(finished_runs.photos / row["path"], train / row["path"])
    for model, data, keys, told in (
        ("", strangers, {}, "model= is missing: the id of a run"),
        (run_folder, strangers, {}, "(?s)no class of strangers is a class of .*: cat, dog\n.*: apple, lime, sky"),
        (run_folder, finished_runs.photos, {"split": "test"}, "split=test: the data set does not say which"),
        (run_folder, tmp_path / "nothing", {}, "does not exist"),
        (run_folder, train, {"exclude_seen": True}, "exclude_seen=true leaves no image: of all 48 images, 48"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=told):
            tool.evaluate(config_of(model, data, tmp_path / "out", **keys))
