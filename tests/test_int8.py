"""Runs in int8: judged by what predicts, predicted as judged; a sweep's best draft is trained in full precision."""

import csv
import importlib.util
import json
import shutil
from pathlib import Path

import pytest

from thaw.common.errors import UserError
from thaw.config.job import Job
from thaw.config.schema import (
    BackboneConfig,
    BottleneckConfig,
    CacheConfig,
    Config,
    DatasetConfig,
    HeadConfig,
    TrackingConfig,
)
from thaw.config.tool_schemas import PredictConfig

# Found, not imported: the import would bring telemetry into the process, which quantization.py keeps out.
pytestmark = pytest.mark.skipif(importlib.util.find_spec("nncf") is None, reason="needs nncf, thaw's extra int8")

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def int8_run(photos, tmp_path_factory) -> tuple[Path, dict]:
    from thaw.run import run

    outputs = tmp_path_factory.mktemp("int8")
    config = Config(
        recipe="bottleneck",
        frozen_precision="int8",
        outputs=str(outputs),
        backbone=BackboneConfig(name="efficientnet_lite0", image_size=64),
        dataset=DatasetConfig(name="image_folder", path=str(photos)),
        head=HeadConfig(name="linear"),
        bottleneck=BottleneckConfig(epochs=3),
        cache=CacheConfig(dir=str(outputs / "cache")),
        tracking=TrackingConfig(uri=f"sqlite:///{outputs}/mlflow.db", log_model=False),
    )
    run(config, Job(ROOT, outputs / "run"))
    return outputs, json.loads((outputs / "run" / "result.json").read_text())


def predicted(outputs: Path, model: str, images: list[str], target: Path, **keys: str) -> dict[tuple[str, str], float]:
    from thaw.tools import predict

    asked = PredictConfig(
        images=images, model=model, format="csv", output=str(target), outputs=str(outputs),
        tracking_uri=f"sqlite:///{outputs}/mlflow.db", **keys,
    )  # fmt: skip
    predict.predict(asked)
    with target.open(newline="") as lines:
        return {(row["image"], row["class"]): float(row["probability"]) for row in csv.DictReader(lines)}


def test_a_run_in_int8_says_so_and_compares_itself_with_float32(int8_run) -> None:
    outputs, result = int8_run
    assert (result["engine"]["frozen"], result["engine"]["draft"]) == ("int8", False)
    assert result["parity"]["passed"]
    quantization = result["quantization"]
    assert 0 < quantization["calibration_images"] <= 60
    accuracy = quantization["accuracy"]
    assert accuracy["quantized"] == result["metrics"]["test/accuracy"]
    assert accuracy["difference_interval"][0] <= accuracy["difference"] <= accuracy["difference_interval"][1]
    assert (outputs / "run" / "model" / quantization["file"]).is_file()


@pytest.mark.parametrize("by", [pytest.param("folder", marks=pytest.mark.slow), "id"])
def test_a_run_in_int8_is_predicted_as_it_was_judged(int8_run, photos, tmp_path, by: str) -> None:
    outputs, result = int8_run
    with (outputs / "run" / "report" / "predictions.csv").open(newline="") as lines:
        judged = {str(photos / row["image"]): row for row in csv.DictReader(lines)}
    model = str(outputs / "run") if by == "folder" else result["run_id"]
    again = predicted(outputs, model, list(judged), tmp_path / "again.csv")
    for image, row in judged.items():
        assert again[image, row["predicted"]] == pytest.approx(float(row["confidence"]), abs=1e-6)
    full = predicted(outputs, model, list(judged), tmp_path / "full.csv", precision="float32")
    assert set(full) == set(again)
    assert full != again


@pytest.mark.parametrize("fault", [pytest.param("missing", marks=pytest.mark.slow), "changed"])
def test_a_quantised_part_that_is_not_the_runs_is_refused(int8_run, photos, tmp_path, fault: str) -> None:
    outputs, _ = int8_run
    copy = tmp_path / "run"
    shutil.copytree(outputs / "run", copy)
    weights = copy / "model" / "frozen_int8.bin"
    if fault == "missing":
        weights.unlink()
    else:
        content = bytearray(weights.read_bytes())
        content[100] ^= 1
        weights.write_bytes(content)
    expected = {"missing": r"frozen_int8.bin is missing", "changed": r"is not the one of the run"}[fault]
    image = str(next(photos.glob("*/*.jpg")))
    with pytest.raises(UserError, match=rf"{expected}.*predict with precision=float32"):
        predicted(outputs, str(copy / "model"), [image], tmp_path / "again.csv")
    assert predicted(outputs, str(copy / "model"), [image], tmp_path / "full.csv", precision="float32")


@pytest.mark.slow
def test_a_sweeps_best_draft_is_trained_again_in_full_precision(commands, photos) -> None:
    ran = commands.run(
        "-m", "precision=draft", "recipe=bottleneck", "bottleneck.epochs=2", "optimizer.learning_rate=1e-3,1e-6",
        "backbone.image_size=64", "dataset=image_folder", f"dataset.path='{photos}'", "head=linear",
        "hydra.sweep.dir=drafts",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    results = [json.loads((commands.folder / "drafts" / str(i) / "result.json").read_text()) for i in range(3)]
    assert [result["engine"]["draft"] for result in results] == [True, True, False]
    assert [bool(result["model"]) for result in results] == [False, False, True]
    assert "Training it again in full precision" in ran.out
    sweep_id = (commands.folder / "drafts" / "parent_run_id").read_text()
    sweep = commands.client().get_run(sweep_id)
    assert sweep.data.tags["thaw.best_run"] == results[2]["run_id"]
    assert sweep.data.metrics["objective"] == results[2]["objective"]["value"]
    again = commands.client().get_run(results[2]["run_id"])
    assert again.data.tags["thaw.repeats_draft"] in {result["run_id"] for result in results[:2]}
    assert "precision=auto" in again.data.tags["thaw.overrides"]


def test_int8_that_contradicts_itself_is_refused_before_any_data_is_read(commands) -> None:
    ran = commands.run("frozen_precision=int8", "engine=tensorflow", "dataset=image_folder", "dataset.path=nowhere")
    assert ran.code == 1
    assert "frozen_precision=int8 is computed by OpenVINO: set engine=openvino" in ran.err
    ran = commands.run("frozen_precision=int8", "precision=draft", "dataset=image_folder", "dataset.path=nowhere")
    assert ran.code == 1
    assert "precision=draft chooses the precision of frozen layers" in ran.err
