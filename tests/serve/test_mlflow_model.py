"""The model in the store, loaded by MLflow alone in a process that does not have thaw."""

import csv
import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT, FinishedRuns
from thaw.frozen import engine
from thaw.results import served_model
from thaw.results.classifier import Classifier, InferenceSettings, ProbabilityFunction

SCRIPT = Path(__file__).with_name("in_a_fresh_process.py")


def model_folder(runs: FinishedRuns, run_id: str) -> Path:
    folders = (runs.commands.outputs / "artifacts" / "models").glob("*/artifacts")
    return next(folder for folder in folders if f"run_id: {run_id}" in (folder / "MLmodel").read_text())


def predicted_rows(runs: FinishedRuns) -> list[dict[str, str]]:
    run = runs.finetuned.result()
    with (Path(run["report"]).parent / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def model_that_computes(monkeypatch: pytest.MonkeyPatch):
    """A model of MLflow's that computes probabilities by a given function."""

    def make(compute, network: Classifier):
        from thaw.serve import mlflow_model

        function = ProbabilityFunction(engine.EngineChoice("tensorflow", "2", "float32", "float32"), compute)
        monkeypatch.setattr(mlflow_model, "probability_function", lambda classifier: function)
        return mlflow_model.PictureModel(network)

    return make


def ask_stranger(model_uri: str, files: list[str], tracking_uri: str, folder: Path) -> dict:
    """What the model answers in another working folder, with nothing of thaw's on the path."""
    environment = {**os.environ, "PYTHONPATH": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
    ran = subprocess.run(
        [sys.executable, SCRIPT, model_uri, json.dumps(files), tracking_uri],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def stranger(finished_runs: FinishedRuns, tmp_path_factory) -> dict:
    files = [str(finished_runs.photos / row["image"]) for row in predicted_rows(finished_runs)]
    folder = tmp_path_factory.mktemp("elsewhere")
    store = f"sqlite:///{finished_runs.commands.outputs}/mlflow.db"
    return ask_stranger(f"runs:/{finished_runs.finetuned.result()['run_id']}/model", files, store, folder)


def table(records: list[dict]) -> dict[tuple[int, str], float]:
    return {(row["image"], row["class"]): row["probability"] for row in records}


def test_thaw_need_not_be_installed_as_the_model_carries_its_code(stranger: dict) -> None:
    assert stranger["thaw"].endswith("/code/thaw/__init__.py")


def test_its_probabilities_are_those_of_the_runs_predictions(stranger: dict, finished_runs: FinishedRuns) -> None:
    said, rows = table(stranger["answers"]["paths"]), predicted_rows(finished_runs)
    assert len(said) == 3 * len(rows)
    for i, row in enumerate(rows):  # the file has 7 decimal places
        assert said[i, row["predicted"]] == pytest.approx(float(row["confidence"]), abs=1e-6)
        assert said[i, row["label"]] == pytest.approx(float(row["probability_of_label"]), abs=1e-6)


def test_every_form_of_a_picture_gets_the_same_answer(stranger: dict) -> None:
    answers = stranger["answers"]
    for name in answers:
        assert table(answers[name]) == pytest.approx(table(answers["paths"]), abs=1e-6), name


def test_ranks_go_from_the_most_probable_class_down(stranger: dict) -> None:
    rows = stranger["one"]
    assert [(row["image"], row["rank"]) for row in rows] == [(0, 1), (0, 2)]
    assert rows[0]["probability"] >= rows[1]["probability"]
    assert stranger["by default"] == 3  # five, of three classes
    assert len(stranger["example"]) == 3


def test_calibrated_is_refused_where_the_run_fitted_no_temperature(stranger: dict) -> None:
    assert stranger["calibrated"][0] == "MlflowException"
    assert stranger["calibrated"][1].startswith("calibrated=true: there is no temperature")


def test_calibrated_probabilities_are_those_after_the_runs_temperature(model_that_computes) -> None:
    from thaw.analysis.calibration import apply_temperature

    row = np.array([[0.7, 0.2, 0.1]], np.float32)
    network = Classifier(None, list("abc"), 8, InferenceSettings(), saved_network=object(), temperature=2.0)
    model = model_that_computes(lambda pixels: row.repeat(len(pixels), 0), network)
    said = model.predict(np.zeros((5, 6, 3), np.uint8), {"calibrated": True})
    assert said["probability"].tolist() == pytest.approx(apply_temperature(row, 2.0)[0].tolist())
    assert said["class"].tolist() == ["a", "b", "c"]


def test_a_table_longer_than_a_group_keeps_its_order(model_that_computes) -> None:
    def brightness(pixels: np.ndarray) -> np.ndarray:
        share = pixels.mean(axis=(1, 2, 3)) / 255
        return np.stack([share, 1 - share], axis=1).astype(np.float32)

    model = model_that_computes(brightness, Classifier(None, ["bright", "dark"], 8, InferenceSettings()))
    said = model.predict([np.full((4, 4, 3), i, np.uint8) for i in range(200)], {"top_k": 0})
    bright = said[said["class"] == "bright"]
    assert bright["image"].tolist() == list(range(200))
    assert bright["probability"].tolist() == pytest.approx([i / 255 for i in range(200)])


def test_few_pictures_are_padded_less(model_that_computes) -> None:
    calls = []

    def noted(pixels: np.ndarray) -> np.ndarray:
        calls.append((len(pixels), engine._small_requests.get()))
        return np.full((len(pixels), 2), 0.5, np.float32)

    model = model_that_computes(noted, Classifier(None, ["a", "b"], 8, InferenceSettings()))
    pictures = np.zeros((5, 8, 8, 3), np.uint8)
    model.predict(pictures)
    assert calls == [(5, False)], "no trial before there are few"
    for count in (4, 1):
        model.predict(pictures[:count])
        assert calls[-1] == (count, True)


def test_a_top_k_of_none_is_the_default(model_that_computes) -> None:
    def even(pixels: np.ndarray) -> np.ndarray:
        return np.full((len(pixels), 8), 0.125, np.float32)

    model = model_that_computes(even, Classifier(None, list("abcdefgh"), 8, InferenceSettings()))
    picture = np.zeros((4, 4, 3), np.uint8)
    assert [len(model.predict(picture, params)) for params in ({"top_k": None}, {}, None, {"top_k": 0})] == [5, 5, 5, 8]


def test_a_bad_picture_is_named_with_its_reason(stranger: dict) -> None:
    kind, message = stranger["refused"]
    assert kind == "MlflowException"
    assert message.splitlines()[0] == "2 of 3 pictures cannot be used:"
    assert message.splitlines()[1].startswith("  picture 1: the image: not")
    assert message.splitlines()[2] == (
        "  picture 2: nowhere.jpg: there is no such file, and it is not base64 of an image file"
    )


@pytest.mark.parametrize("form", ["inputs", "instances", "dataframe_split", "dataframe_records"])
def test_mlflows_server_answers_every_format_as_python_does(stranger: dict, form: str) -> None:
    status, body = stranger["http"][form]
    assert status == 200
    assert table(body["predictions"]) == pytest.approx(table(stranger["answers"]["paths"]), abs=1e-6)


def test_mlflows_server_takes_one_picture_and_nested_pixels(stranger: dict) -> None:
    first = {key: value for key, value in table(stranger["answers"]["paths"]).items() if key[0] == 0}
    for form in ("one input", "pixels"):
        assert table(stranger["http"][form][1]["predictions"]) == pytest.approx(first, abs=1e-6)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("broken", "1 of 2 pictures cannot be used:\n  picture 1: the image: "),
        ("path", "1 of 1 pictures cannot be used:\n  picture 0: the image: it is not base64 of an image file"),
        ("bad top_k", "top_k=-1: give a number of classes, or 0 for all"),
    ],
)
def test_mlflows_server_answers_bad_input_with_400_and_the_reason_alone(
    stranger: dict, form: str, message: str
) -> None:
    status, body = stranger["http"][form]
    assert status == 400
    assert (body["error_code"], body["message"][: len(message)]) == ("INVALID_PARAMETER_VALUE", message)
    assert "stack_trace" not in body


def test_the_requirements_are_what_is_imported_at_the_installed_versions(
    stranger: dict, finished_runs: FinishedRuns
) -> None:
    folder = model_folder(finished_runs, finished_runs.finetuned.result()["run_id"])
    lines = (folder / "requirements.txt").read_text().split()
    assert lines == [f"{name}=={version(name)}" for name, _, _ in (line.partition("==") for line in lines)]
    names = {line.partition("==")[0] for line in lines}
    imported = set(stranger["distributions"]) - {"mlflow-skinny", "mlflow-tracing"}  # parts of mlflow
    assert names == imported


def test_openvino_is_required_of_a_network_that_runs_on_it_only() -> None:
    assert not any("openvino" in line for line in served_model.requirements(InferenceSettings("tensorflow")))
    assert f"openvino=={version('openvino')}" in served_model.requirements(InferenceSettings("openvino"))


def test_the_plain_keras_file_opens_with_keras_alone(finished_runs: FinishedRuns) -> None:
    import keras

    folder = model_folder(finished_runs, finished_runs.finetuned.result()["run_id"])
    network = keras.saving.load_model(folder / "data" / "model.keras")
    assert network(np.zeros((1, 64, 64, 3), np.uint8)).shape == (1, 3)


def test_the_card_says_what_the_network_is_made_of_and_can_do(finished_runs: FinishedRuns) -> None:
    result = finished_runs.finetuned.result()
    card = (model_folder(finished_runs, result["run_id"]) / "README.md").read_text()
    assert card == (Path(result["model"]).parent / "model_card.md").read_text()
    rows = predicted_rows(finished_runs)
    for part in (
        f"`{result['data_sha256']}`", f"{len(rows)} images that were not trained on", "| accuracy | ", "| apple | ",
        "- stage head: 3 epochs · frozen 150/150", "- licence of these weights: Apache-2.0", "## Limits",
        f"thaw predict model={result['run_id']}", "mlflow models serve", "keras.saving.load_model",
    ):  # fmt: skip
        assert part in card, part
    assert str(finished_runs.photos) not in card


def test_the_code_that_travels_is_what_the_loader_imports_and_small() -> None:
    files = served_model.source_files()
    names = {file.relative_to(ROOT / "src" / "thaw").as_posix() for file in files}
    assert {"serve/mlflow_model.py", "data/decode.py", "models/saved_model.py", "models/imagenet_classes.txt"} <= names
    assert not {name for name in names if name.startswith(("tracking", "report", "cli", "tools"))}
    assert sum(file.stat().st_size for file in files) < 600_000


def test_imports_are_found_wherever_they_stand_but_those_for_types() -> None:
    source = (
        "from thaw.a import b\nif TYPE_CHECKING:\n    from thaw.types import T\n\n    import thaw.t\n\n"
        "def f():\n    from thaw.c import (\n        d,\n        e as g,\n    )\n    import thaw.h\n"
    )
    found = set(served_model.imported_modules(source))
    assert {"thaw.a", "thaw.a.b", "thaw.c", "thaw.c.d", "thaw.c.e", "thaw.h"} <= found
    assert not {name for name in found if "types" in name or name == "thaw.t"}
