"""Whatever reads a run reads it by its registered name and alias too."""

import shutil
from pathlib import Path

import pytest

from tests.conftest import FinishedRuns
from thaw import tracking
from thaw.compare import run_choice
from thaw.config.schema import BackboneConfig
from thaw.config.tool_schemas import EvaluateConfig
from thaw.models.backbone_table import check_backbone
from thaw.reproduce import original_run
from thaw.results.trained_classifier import find_saved_network
from thaw.tools import evaluate
from thaw.tracking import model_registry
from thaw.tracking.run_lookup import resolve_run_weights


@pytest.fixture(scope="module")
def registered(finished_runs: FinishedRuns, tmp_path_factory) -> tuple[str, Path, str]:
    """URI and outputs of a copy of the store in which the run is registered as flowers, and the run's id."""
    outputs = tmp_path_factory.mktemp("registered")
    shutil.copy(finished_runs.commands.outputs / "mlflow.db", outputs / "mlflow.db")
    uri, run_id = f"sqlite:///{outputs}/mlflow.db", finished_runs.finetuned.result()["run_id"]
    store = tracking.open_store(uri, outputs)
    experiment_id = tracking.find_run(uri, outputs, run_id).experiment_id
    model_registry.register(store, experiment_id, run_id, "flowers", tracking.Candidate("", 1.0, 0.0, 1, "a card"))
    return uri, outputs, run_id


@pytest.mark.parametrize(
    "name", ["models:/flowers", "models:/flowers/1", "models:/flowers@champion", "flowers@champion"]
)
def test_a_registered_name_is_read_wherever_a_run_is(registered: tuple[str, Path, str], name: str) -> None:
    uri, outputs, run_id = registered
    by_id, settings = find_saved_network(run_id, outputs, uri)
    assert find_saved_network(name, outputs, uri) == (by_id, settings)  # predict, explain, serve, export
    check_backbone(BackboneConfig(weights=name))
    assert resolve_run_weights(BackboneConfig(weights=name), uri, outputs).weights == str(by_id.weights_file)
    assert [run.id for run in tracking.weights_lineage(name, uri, outputs).runs] == [run_id]
    assert run_choice._find(name, uri, outputs).id == run_id
    assert original_run._find(name, uri, outputs)[0].id == run_id
    asked = EvaluateConfig(model=name, outputs=str(outputs), tracking_uri=uri)
    found, _ = evaluate._stored_run(asked, by_id, in_folder=False)
    assert found is not None
    assert found.id == run_id
