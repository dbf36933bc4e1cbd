"""Whatever names and values a user has, they fit MLflow's columns, and no two become one."""

import pytest
from mlflow.store.tracking.dbmodels import models
from mlflow.utils import validation

from thaw.common.errors import UserError
from thaw.config.schema import TrackingConfig
from thaw.tracking import mlflow_limits
from thaw.tracking.mlflow_store import MlflowStore
from thaw.tracking.run_lookup import find_run
from thaw.tracking.sweep_runs import close_sweep, open_sweep
from thaw.tracking.tracked_run import start_run


def column(table, name) -> int:
    return table.__table__.columns[name].type.length


def test_the_limits_are_those_of_mlflows_columns_and_checks():
    assert column(models.SqlRun, "name") == mlflow_limits.RUN_NAME_LENGTH
    assert column(models.SqlRun, "user_id") == mlflow_limits.USER_LENGTH
    assert (
        min(column(models.SqlExperiment, "name"), validation.MAX_EXPERIMENT_NAME_LENGTH)
        == mlflow_limits.EXPERIMENT_LENGTH
    )
    assert mlflow_limits.ARTIFACT_URI_LENGTH + len("/" + 32 * "0" + "/artifacts") == column(
        models.SqlRun, "artifact_uri"
    )
    assert all(column(t, "key") == mlflow_limits.KEY_LENGTH for t in (models.SqlTag, models.SqlParam, models.SqlMetric))
    assert min(column(models.SqlTag, "value"), validation.MAX_TAG_VAL_LENGTH) == mlflow_limits.TAG_LENGTH
    assert min(column(models.SqlParam, "value"), validation.MAX_PARAM_VAL_LENGTH) == mlflow_limits.PARAM_LENGTH
    assert column(models.SqlDataset, "name") == mlflow_limits.DATASET_NAME_LENGTH
    assert column(models.SqlDataset, "digest") == mlflow_limits.DATASET_DIGEST_LENGTH


def test_a_sweep_of_many_overrides_has_a_name_that_fits_and_is_its_own(tracking, outputs, client, tmp_path):
    names = [" ".join(["backbone=" + "x" * 300, f"seed={seed}"]) for seed in (1, 2)]
    stored_names = []
    for i, name in enumerate(names):
        sweep = open_sweep(tracking, outputs, name, tmp_path / str(i))
        close_sweep(sweep)
        stored = find_run(tracking.uri, outputs, sweep.id)
        assert len(stored.name) == mlflow_limits.RUN_NAME_LENGTH
        assert stored.tags["thaw.sweep"] == name
        assert stored.artifact_path("overrides.txt").read_text() == name + "\n"
        stored_names.append(stored.name)
    assert stored_names[0] != stored_names[1]


def test_metrics_of_classes_with_long_or_odd_names_are_kept_apart(tracking, outputs, client):
    odd = ["c++", "c##", "x" * 300, "a//b", "a/b", "../up", ".", "/root", "trailing/", "with space", "Bücher"]
    metrics = {f"val/class/{name}/{kind}": float(i) for i, name in enumerate(odd) for kind in ("f1", "recall")}
    with start_run(tracking, outputs, name="run", folder=outputs / "runs" / "run") as run:
        run.log_metrics(metrics)
        run.log_params(metrics)
        run.set_tags(metrics)
    data = client.get_run(run.id).data
    assert sorted(data.metrics.values()) == sorted(metrics.values())
    assert sorted(map(float, data.params.values())) == sorted(metrics.values())
    assert data.metrics["val/class/with space/f1"] == 9.0
    assert data.metrics["val/class/Bücher/f1"] == 10.0
    assert data.metrics["val/class/a/b/f1"] == 4.0
    assert all(len(key) <= mlflow_limits.KEY_LENGTH for key in data.metrics)


def test_a_value_with_bytes_that_no_database_takes_is_escaped(tracking, outputs, client):
    with start_run(tracking, outputs, name="caf\udce9", folder=outputs / "runs" / "run") as run:
        run.log_params({"dataset.path": "caf\udce9", "nul": "a\0b"})
        run.set_tags({"thaw.overrides": "dataset.path=caf\udce9"})
        run.log_dataset("image_folder", "d" * 64, "caf\udce9", profile={"class_names": ["c" * 50] * 5000, "images": 7})
    stored = client.get_run(run.id)
    assert stored.data.params == {"dataset.path": "caf\\udce9", "nul": "a\\x00b"}
    assert stored.data.tags["thaw.overrides"] == "dataset.path=caf\\udce9"
    assert len(stored.inputs.dataset_inputs[0].dataset.profile) < mlflow_limits.DATASET_PROFILE_LENGTH


def test_an_experiments_name_that_is_too_long_is_refused_before_any_work(tracking, outputs):
    long = TrackingConfig(uri=tracking.uri, experiment="e" * 257)
    with pytest.raises(UserError, match="is 257 characters long; stores take 256"):
        start_run(long, outputs, name="run", folder=outputs / "run").__enter__()


def test_an_artifact_folder_that_a_database_cannot_hold_is_refused(tmp_path):
    class Empty:
        def get_experiment_by_name(self, name):
            return None

        def create_experiment(self, name, artifacts):
            raise AssertionError

    deep = tmp_path / ("d" * 200)
    with pytest.raises(UserError, match="is too long a path for postgresql://host/db"):
        MlflowStore("postgresql://host/db", deep, deep / "artifacts", Empty()).experiment_id("thaw")
    assert not deep.exists()
