"""`mlflow models serve` for real, on loopback, and the requirements in an environment of their own: minutes each."""

import csv
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.conftest import FinishedRuns
from thaw import tracking
from thaw.tracking import model_registry
from thaw_lab.serving.load_requests import PROTOCOLS, LoadImage, send_load

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def store(finished_runs: FinishedRuns, tmp_path_factory) -> str:
    """URI of a copy of the store in which the run is registered as flowers."""
    outputs = tmp_path_factory.mktemp("registered")
    shutil.copy(finished_runs.commands.outputs / "mlflow.db", outputs / "mlflow.db")
    uri, run_id = f"sqlite:///{outputs}/mlflow.db", finished_runs.finetuned.result()["run_id"]
    experiment_id = tracking.find_run(uri, outputs, run_id).experiment_id
    candidate = tracking.Candidate("", 1.0, 0.0, 1, "a card")
    model_registry.register(tracking.open_store(uri, outputs), experiment_id, run_id, "flowers", candidate)
    return uri


def expected_images(runs: FinishedRuns) -> list[LoadImage]:
    """The test images with the probabilities of predictions.csv, which has two classes of each at most."""
    with (Path(runs.finetuned.result()["report"]).parent / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        LoadImage(
            row["image"],
            (runs.photos / row["image"]).read_bytes(),
            {row["predicted"]: float(row["confidence"]), row["label"]: float(row["probability_of_label"])},
        )
        for row in rows
    ]


def test_a_registered_model_is_served_and_answers_as_the_runs_predictions(
    store: str, finished_runs: FinishedRuns, tmp_path: Path
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "PYTHONPATH": "", "MLFLOW_TRACKING_URI": store, "MLFLOW_DISABLE_TELEMETRY": "true"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"  # for uvicorn
    command = [
        sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/flowers@champion", "--env-manager", "local",
        "--host", "127.0.0.1", "--port", str(port),
    ]  # fmt: skip
    with (tmp_path / "log.txt").open("w") as log:
        server = subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            wait_for(f"http://127.0.0.1:{port}/ping", server)
            images = [*expected_images(finished_runs), LoadImage("broken", b"no picture", None)]
            for clients in (1, 8):
                result = send_load(f"http://127.0.0.1:{port}", images, 60, clients, PROTOCOLS["mlflow"])
                assert (result.lost, result.wrong) == (0, []), (tmp_path / "log.txt").read_text()
                assert result.answered + result.refused == 60
        finally:
            os.killpg(server.pid, 15)
            server.wait(timeout=60)


def wait_for(address: str, server: subprocess.Popen, seconds: float = 180) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and server.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            time.sleep(0.5)
    pytest.fail(f"the server did not answer at {address}; exit code {server.poll()}")


def test_the_requirements_alone_predict_the_same(store: str, finished_runs: FinishedRuns, tmp_path: Path) -> None:
    """In a fresh environment, with what requirements.txt names from the package registry."""
    environment = {**os.environ, "PYTHONPATH": "", "MLFLOW_TRACKING_URI": store, "TF_CPP_MIN_LOG_LEVEL": "3"}
    folder = next(
        folder
        for folder in (finished_runs.commands.outputs / "artifacts" / "models").glob("*/artifacts")
        if f"run_id: {finished_runs.finetuned.result()['run_id']}" in (folder / "MLmodel").read_text()
    )
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    subprocess.run([python, "-m", "pip", "install", "-q", "-r", folder / "requirements.txt"], check=True, timeout=900)
    images = expected_images(finished_runs)
    code = (
        "import json, sys, mlflow\n"
        "model = mlflow.pyfunc.load_model('models:/flowers@champion')\n"
        "print(json.dumps(model.predict(sys.argv[1:], params={'top_k': 0}).to_dict('records')))"
    )
    files = [str(finished_runs.photos / image.name) for image in images]
    ran = subprocess.run(
        [python, "-c", code, *files], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert ran.returncode == 0, ran.stderr
    said = {(row["image"], row["class"]): row["probability"] for row in json.loads(ran.stdout.splitlines()[-1])}
    for i, image in enumerate(images):
        for name, probability in (image.expected or {}).items():
            assert said[i, name] == pytest.approx(probability, abs=1e-5)
