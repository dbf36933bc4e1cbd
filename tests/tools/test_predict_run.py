"""The command predict on a finished run: its keys together, features and calibrated probabilities."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from thaw.analysis.calibration import apply_temperature
from thaw.config.tool_schemas import PredictConfig
from thaw.data.decode import decode
from thaw.tools import predict


@pytest.fixture
def network_folder(finished_runs, tmp_path: Path) -> Path:
    """A copy of the fine-tuned run's network."""
    return shutil.copytree(Path(finished_runs.finetuned.result()["model"]).parent, tmp_path / "model")


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


@pytest.mark.slow
def test_a_listing_stays_data_beside_charts_and_explanations(finished_runs, tmp_path: Path) -> None:
    run_id = finished_runs.finetuned.result()["run_id"]
    ran = finished_runs.commands.run(
        "scripts/predict.py", f"model={run_id}", f"images={finished_runs.photos}/*/0[01].jpg", "format=csv", "top=1",
        f"chart={tmp_path}/chart.png", "explain=true", f"explain_output={tmp_path}/seen",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    listed = list(csv.DictReader(ran.out.splitlines()))
    names = [f"{label}-{number}" for label in ("apple", "lime", "sky") for number in ("00", "01")]
    assert [row["image"] for row in listed] == [
        f"{finished_runs.photos}/{name.replace('-', '/')}.jpg" for name in names
    ]
    assert {file.name for file in tmp_path.glob("chart*")} == {f"chart-{name}.png" for name in names}
    explained = rows_of(tmp_path / "seen" / "explain.csv")
    assert [(row["file"], row["class"], row["probability"]) for row in explained] == [
        (f"{name}.png", row["class"], row["probability"]) for name, row in zip(names, listed, strict=True)
    ]
    assert Image.open(tmp_path / "seen" / "sky-01.png").size[0] == 480
    assert "wrote 6 charts, " in ran.err
    assert "wrote 6 explained images and explain.csv into " in ran.err


def test_calibrated_probabilities_are_the_plain_ones_after_the_temperature(
    finished_runs, network_folder: Path, tmp_path: Path
) -> None:
    def probabilities(calibrated: bool) -> tuple[list[str], np.ndarray]:
        file = tmp_path / f"{calibrated}.csv"
        keys = {"images": str(finished_runs.photos / "lime"), "model": str(network_folder), "top": 3}
        predict.predict(PredictConfig(**keys, format="csv", output=str(file), calibrated=calibrated))
        rows = rows_of(file)
        return [row["class"] for row in rows], np.array([float(row["probability"]) for row in rows]).reshape(-1, 3)

    (network_folder / "calibration.json").write_text(json.dumps({"temperature": 4.0, "images": 6}))
    (plain_names, plain), (names, calibrated) = probabilities(calibrated=False), probabilities(calibrated=True)
    assert names == plain_names, "the order of the classes stays"
    np.testing.assert_allclose(calibrated, apply_temperature(plain.astype(np.float32), 4.0), rtol=1e-5)
    assert np.abs(calibrated - plain).max() > 0.01


def test_features_of_a_run_are_those_of_its_network(finished_runs, tmp_path: Path) -> None:
    import keras

    outputs = str(finished_runs.commands.outputs)
    keys = {
        "images": str(finished_runs.photos), "model": finished_runs.finetuned.result()["run_id"], "outputs": outputs,
        "tracking_uri": f"sqlite:///{outputs}/mlflow.db",
    }  # fmt: skip
    predict.predict(PredictConfig(**keys, features="head_hidden", output=str(tmp_path / "f.npy")))
    rows, files = np.load(tmp_path / "f.npy"), [row["image"] for row in rows_of(tmp_path / "f.csv")]
    assert rows.shape == (60, 32)
    assert files == sorted(str(file) for file in finished_runs.photos.glob("*/*.jpg"))
    model = keras.models.load_model(finished_runs.finetuned.result()["model"])
    images = np.stack([decode(file, size=(64, 64)).resized(64) for file in files]).astype(np.float32)
    hidden = keras.Model(model.inputs, model.get_layer("head_hidden").output)(images, training=False)
    assert np.abs(hidden).max() > 0.1
    np.testing.assert_allclose(rows, hidden, atol=2e-2 * float(np.abs(hidden).max()))
