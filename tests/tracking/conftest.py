import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import thaw
from thaw.config.schema import TrackingConfig
from thaw.tracking.mlflow_store import open_store


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """A database after MLflow's migrations, which take 2 seconds: made once, copied for every test."""
    folder = tmp_path_factory.mktemp("store")
    open_store(f"sqlite:///{folder}/mlflow.db", folder)
    return folder / "mlflow.db"


@pytest.fixture
def outputs(tmp_path, empty_store):
    folder = tmp_path / "outputs of a run #1"
    folder.mkdir()
    shutil.copy(empty_store, folder / "mlflow.db")
    return folder


@pytest.fixture
def tracking(outputs):
    return TrackingConfig(uri=f"sqlite:///{outputs}/mlflow.db", experiment="thaw", log_model=True)


@pytest.fixture
def client(tracking):
    from mlflow import MlflowClient

    return MlflowClient(tracking.uri)


# thaw is run from the checkout, not installed.
ENV = {**os.environ, "PYTHONPATH": str(Path(thaw.__file__).parents[1])}

# Logs two epochs, says its id, and waits for its end.
PROCESS_CODE = """
import sys, time
from pathlib import Path
from thaw.config.schema import TrackingConfig
from thaw.tracking import open_sweep, start_run
outputs, folder = map(Path, sys.argv[1:3])
tracking = TrackingConfig(uri=f"sqlite:///{outputs}/mlflow.db")
if "sweep" in sys.argv:
    sweep = open_sweep(tracking, outputs, "sweep", folder)
    print(sweep.id, flush=True)
    time.sleep(60)
    sys.exit()
with start_run(tracking, outputs, name="run", folder=folder) as run:
    run.log_metrics({"epoch/loss": 0.5}, step=1)
    run.log_metrics({"epoch/loss": 0.25}, step=2)
    run.flush()
    print(run.id, flush=True)
    time.sleep(60)
"""


class RunProcess:
    """A run, or a sweep's parent, in another process, until `kill -9`."""

    def __init__(self, *arguments: object) -> None:
        command = [sys.executable, "-c", PROCESS_CODE, *map(str, arguments)]
        self.process = subprocess.Popen(command, env=ENV, stdout=subprocess.PIPE, text=True)
        self.id = self.process.stdout.readline().strip()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def start_process():
    """Starts runs in other processes: `start_process(outputs, folder)`; none of them outlives the test."""
    started = []

    def start(*arguments: object) -> RunProcess:
        started.append(RunProcess(*arguments))
        return started[-1]

    yield start
    for each in started:
        each.kill()
