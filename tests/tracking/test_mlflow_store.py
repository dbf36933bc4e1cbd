import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import thaw
from thaw.common.errors import UserError
from thaw.config.schema import TrackingConfig
from thaw.tracking.mlflow_store import open_store
from thaw.tracking.tracked_run import start_run

# thaw is run from the checkout, not installed.
ENV = {**os.environ, "PYTHONPATH": str(Path(thaw.__file__).parents[1])}

# Eight processes with two runs each, of 10 epochs that each reach the store on their own. Forked, where that can be
# done: MLflow's import takes 3 seconds.
JOBS = """
import multiprocessing
import os
import sys
from pathlib import Path

from thaw.config.schema import TrackingConfig
from thaw.tracking.tracked_run import start_run
from thaw.tracking.mlflow_store import quiet_mlflow

quiet_mlflow()
import mlflow.store.tracking.sqlalchemy_store

outputs = Path(sys.argv[1])


def work(job, barrier):
    barrier.wait()
    tracking = TrackingConfig(uri=f"sqlite:///{outputs}/mlflow.db")
    for name in (f"{job}-{run}" for run in range(2)):
        with start_run(tracking, outputs, name=name, folder=outputs / name) as run:
            run.log_params({"job": job})
            for epoch in range(10):
                run.log_metrics({"loss": epoch, "accuracy": 1 - epoch}, step=epoch)
                run.flush()


if __name__ == "__main__":
    context = multiprocessing.get_context("fork" if hasattr(os, "fork") else "spawn")
    barrier = context.Barrier(8)
    jobs = [context.Process(target=work, args=(job, barrier)) for job in range(8)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    sys.exit(any(job.exitcode for job in jobs))
"""


def test_eight_processes_that_start_together_on_an_empty_store_lose_nothing(tmp_path):
    (tmp_path / "jobs.py").write_text(JOBS)
    command = [sys.executable, str(tmp_path / "jobs.py"), str(tmp_path)]
    done = subprocess.run(command, env=ENV, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    store = open_store(f"sqlite:///{tmp_path}/mlflow.db", tmp_path)
    runs = store.client.search_runs([store.experiment_id("thaw")])
    assert sorted(run.info.run_name for run in runs) == sorted(f"{job}-{run}" for job in range(8) for run in range(2))
    assert {run.info.status for run in runs} == {"FINISHED"}
    for run in runs:
        assert run.data.params == {"job": run.info.run_name[0]}
        for key in ("loss", "accuracy"):
            assert [m.step for m in store.client.get_metric_history(run.info.run_id, key)] == list(range(10))


def test_a_run_stays_in_its_store_whatever_the_working_directory(outputs, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(outputs.parent)
    relative = TrackingConfig(uri=f"sqlite:///{outputs.name}/mlflow.db")
    with start_run(relative, Path(outputs.name), name="moving", folder=Path(outputs.name) / "run") as run:
        monkeypatch.chdir(elsewhere)
        run.log_metrics({"loss": 1.0})
        run.log_text("hello", "note.txt")
    assert (outputs / "artifacts" / run.id / "artifacts" / "note.txt").read_text() == "hello"
    monkeypatch.chdir(outputs.parent)
    store = open_store(relative.uri, Path(outputs.name))
    assert store.uri == f"sqlite:///{outputs}/mlflow.db"
    assert store.client.get_run(run.id).data.metrics == {"loss": 1.0}
    assert list(elsewhere.iterdir()) == []


def test_an_interrupted_creation_of_the_database_does_not_spoil_the_next(tmp_path):
    (tmp_path / "mlflow.db.new").write_text("half a database")
    store = open_store(f"sqlite:///{tmp_path}/mlflow.db", tmp_path)
    assert store.experiment_id("thaw") == store.experiment_id("thaw")


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("http://127.0.0.1:9", "Is it running"),
        ("mlruns", "no such kind of store. Expected sqlite:///FILE"),
        ("htp://server", "no such kind of store. Expected sqlite:///FILE"),
        ("sqlite:///{folder}/a_folder", "directory"),
        ("sqlite:///{folder}/no.db", "not a database"),
        ("sqlite:///{folder}/no.db/mlflow.db", "exists|directory"),
        ("sqlite:///{folder}/100%/mlflow.db", "SQLAlchemy"),
    ],
)
def test_an_unusable_store_is_named_at_once(tmp_path, uri, reason):
    (tmp_path / "a_folder").mkdir()
    (tmp_path / "no.db").write_text("no database " * 100)
    uri = uri.format(folder=tmp_path)
    began = time.monotonic()
    with pytest.raises(UserError, match=reason) as error:
        open_store(uri, tmp_path)
    assert uri in str(error.value)
    assert time.monotonic() - began < 10


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is read-only to root")
def test_a_store_that_cannot_be_written_is_refused(tracking, outputs):
    (outputs / "mlflow.db").chmod(0o444)
    with pytest.raises(UserError, match="denied"):
        open_store(tracking.uri, outputs)


def test_a_deleted_experiment_is_not_written_to(tracking, outputs):
    store = open_store(tracking.uri, outputs)
    store.client.delete_experiment(store.experiment_id("thaw"))
    with pytest.raises(UserError, match="restore"):
        store.experiment_id("thaw")


def test_a_moved_outputs_folder_is_noticed(tracking, outputs):
    open_store(tracking.uri, outputs).experiment_id("thaw")
    moved = outputs.with_name("moved")
    outputs.rename(moved)
    with pytest.raises(UserError, match="moved"):
        open_store(f"sqlite:///{moved}/mlflow.db", moved).experiment_id("thaw")


def test_importing_tracking_imports_no_mlflow():
    code = "import sys, thaw.tracking, thaw.results.result; print('mlflow' in sys.modules, 'tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], env=ENV, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.parametrize("uri", ["mysql://localhost/x", "mssql://localhost/x"])
def test_a_database_without_its_driver_is_told_what_to_install(uri, tmp_path):
    with pytest.raises(UserError, match=r"driver is not installed \(Python package (MySQLdb|pyodbc)\). Install it"):
        open_store(uri, tmp_path)


def test_mlflows_page_opens_an_experiment_at_its_runs(tracking, outputs, client):
    """Without a kind it opens at traces of language models."""
    with start_run(tracking, outputs, name="run", folder=outputs / "run"):
        pass
    tags = client.get_experiment_by_name("thaw").tags
    assert tags["mlflow.experimentKind"] == "custom_model_development"
    view = json.loads(tags["mlflow.sharedViewState.thaw"])
    assert view["name"] == "final figures"
    assert json.loads(view["state"])["selectedColumns"][0] == "metrics.`test/accuracy`"


def test_a_view_that_the_user_removed_stays_away(tracking, outputs, client):
    with start_run(tracking, outputs, name="run", folder=outputs / "run") as run:
        pass
    client.delete_experiment_tag(run.experiment_id, "mlflow.sharedViewState.thaw")
    with start_run(tracking, outputs, name="again", folder=outputs / "again"):
        pass
    assert set(client.get_experiment(run.experiment_id).tags) == {"mlflow.experimentKind"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, "custom_model_development"),
        ("no_inferred_type", "custom_model_development"),
        ("genai_development_inferred", "custom_model_development"),
        ("genai_development", "genai_development"),
        ("classification", "classification"),
    ],
)
def test_an_earlier_experiment_gets_a_kind_unless_somebody_chose_one(tracking, outputs, client, before, after):
    client.create_experiment(
        "thaw", (outputs / "artifacts").as_uri(), tags={"mlflow.experimentKind": before} if before else None
    )
    (outputs / "artifacts").mkdir()
    experiment = open_store(tracking.uri, outputs).experiment_id("thaw")
    assert client.get_experiment(experiment).tags["mlflow.experimentKind"] == after


def test_who_may_not_change_an_experiment_can_still_use_it(tracking, outputs, client, monkeypatch):
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import PERMISSION_DENIED

    (outputs / "artifacts").mkdir()
    experiment = client.create_experiment("thaw", (outputs / "artifacts").as_uri())

    def refuse(*_: object) -> None:
        raise MlflowException("you may not", PERMISSION_DENIED)

    monkeypatch.setattr(MlflowClient, "set_experiment_tag", refuse)
    assert open_store(tracking.uri, outputs).experiment_id("thaw") == experiment
