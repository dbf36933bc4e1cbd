import shutil

import pytest

from thaw.config.schema import TrackingConfig
from thaw.tracking.store import open_store


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
