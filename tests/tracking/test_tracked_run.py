import json
import time

import pytest

from thaw.common.errors import UserError
from thaw.config.schema import TrackingConfig
from thaw.tracking.run_lookup import find_run
from thaw.tracking.tracked_run import start_run


def only_run(client):
    (run,) = client.search_runs([e.experiment_id for e in client.search_experiments()])
    return run


def test_a_run_that_ends_well_is_finished(tracking, outputs, client):
    with start_run(tracking, outputs, name="good", folder=outputs / "runs" / "good", tags={"recipe": "finetune"}):
        assert only_run(client).info.status == "RUNNING"
    run = only_run(client)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "good")
    assert run.data.tags["recipe"] == "finetune"
    assert "thaw.reason" not in run.data.tags
    assert run.info.end_time is not None


def test_a_run_has_a_name_and_a_note_for_mlflows_page(tracking, outputs, client):
    """A resumed run keeps the name that it has, which somebody may have changed."""
    folder = outputs / "runs" / "noted"
    with pytest.raises(KeyboardInterrupt), start_run(tracking, outputs, name="first", folder=folder) as run:  # noqa: PT012
        assert run.name == "first"
        raise KeyboardInterrupt
    client.update_run(run.id, name="renamed")
    with start_run(tracking, outputs, name="first", folder=folder, resume=run.id) as resumed:
        resumed.set_note("poor")
        resumed.set_note("0.93 (0.90 to 0.95)\n\nreport/report.html")
    assert resumed.name == "renamed"
    assert only_run(client).info.run_name == "renamed"
    assert only_run(client).data.tags["mlflow.note.content"] == "0.93 (0.90 to 0.95)\n\nreport/report.html"


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (RuntimeError("out of memory"), "FAILED", "RuntimeError: out of memory"),
        (UserError("finetune.freeze=mixd5 is not a layer"), "FAILED", "finetune.freeze=mixd5 is not a layer"),
        (KeyboardInterrupt(), "KILLED", "KeyboardInterrupt"),
        (SystemExit(143), "KILLED", "SystemExit: 143"),
    ],
)
def test_a_run_that_does_not_end_well_says_why(tracking, outputs, client, error, status, reason):
    with pytest.raises(type(error)), start_run(tracking, outputs, name="bad", folder=outputs / "runs" / "bad"):
        raise error
    run = only_run(client)
    assert run.info.status == status
    assert run.data.tags["thaw.reason"] == reason
    artifacts = [a.path for a in client.list_artifacts(run.info.run_id)]
    assert artifacts == (["traceback.txt"] if isinstance(error, RuntimeError) else [])


def test_a_lost_store_does_not_hide_the_runs_own_error(tracking, outputs, capsys):
    def work():
        (outputs / "mlflow.db").write_text("gone " * 1000)
        raise RuntimeError("the real one")

    with (
        pytest.raises(RuntimeError, match="the real one"),
        start_run(tracking, outputs, name="bad", folder=outputs / "runs" / "bad"),
    ):
        work()
    assert "could not be closed as FAILED" in capsys.readouterr().out


def test_metrics_of_all_stages_lie_on_one_axis(tracking, outputs, client):
    with start_run(tracking, outputs, name="run", folder=outputs / "runs" / "run") as run:
        for epoch in range(1, 6):  # two of stage head, three of stage thaw
            run.log_metrics({"loss": 1 / epoch, "learning_rate": 1e-3 if epoch <= 2 else 1e-4}, step=epoch)
        run.log_metrics({f"test/class/{i}/recall": i for i in range(1001)})
    history = client.get_metric_history(run.id, "loss")
    assert [(m.step, m.value) for m in history] == [(epoch, 1 / epoch) for epoch in range(1, 6)]
    assert len(client.get_run(run.id).data.metrics) == 2 + 1001


def test_params_of_any_number_length_and_name_are_kept(tracking, outputs, client):
    params = {f"key{i}": i for i in range(250)}
    with start_run(tracking, outputs, name="run", folder=outputs / "runs" / "run") as run:
        run.log_params({**params, "long": "x" * 7000, "finetune.stages[0].name": "head", "none": None, "k" * 300: 1})
        run.set_tags({"long": "x" * 9000})
    data = client.get_run(run.id).data
    assert {key: data.params[key] for key in params} == {key: str(value) for key, value in params.items()}
    assert data.params["long"] == "x" * 6000
    assert data.params["finetune.stages_0_.name"] == "head"
    assert data.params["none"] == "None"
    assert data.params["k" * 250] == "1"
    assert data.tags["long"] == "x" * 8000


def test_no_batch_is_larger_than_a_server_takes(tracking, outputs, monkeypatch):
    from mlflow import MlflowClient

    sizes = {"params": [], "tags": [], "metrics": []}

    def log_batch(self, run_id, **entries):
        assert sum(map(len, entries.values())) <= 1000
        for kind, batch in entries.items():
            sizes[kind].append(len(batch))

    monkeypatch.setattr(MlflowClient, "log_batch", log_batch)
    many = {f"key{i}": i for i in range(2001)}
    with start_run(tracking, outputs, name="run", folder=outputs / "runs" / "run") as run:
        run.log_params(many)
        run.set_tags(many)
        run.log_metrics(many)
    assert {kind: (max(batches), sum(batches)) for kind, batches in sizes.items()} == {
        "params": (100, 2001),
        "tags": (100, 2001),
        "metrics": (900, 2001),
    }


def test_metrics_of_fast_epochs_are_sent_together_and_none_is_lost(tracking, outputs, client, monkeypatch):
    from mlflow import MlflowClient

    calls, original = [], MlflowClient.log_batch

    def log_batch(self, run_id, **entries):
        calls.append(entries)
        return original(self, run_id, **entries)

    monkeypatch.setattr(MlflowClient, "log_batch", log_batch)
    with start_run(tracking, outputs, name="run", folder=outputs / "runs" / "run") as run:
        for epoch in range(50):
            run.log_metrics({"loss": 1 / (epoch + 1)}, step=epoch)
        run.set_tags({"last": "there"})
    assert len(calls) < 10
    assert [m.value for m in client.get_metric_history(run.id, "loss")] == [1 / (epoch + 1) for epoch in range(50)]
    assert client.get_run(run.id).data.tags["last"] == "there"


def test_an_epoch_is_in_the_store_after_a_second_however_long_the_next_one_takes(tracking, outputs, client):
    with start_run(tracking, outputs, name="run", folder=outputs / "runs" / "run") as run:
        run.log_metrics({"loss": 2.0}, step=1)
        run.log_metrics({"loss": 1.0}, step=2)
        ends = time.monotonic() + 20
        while len(client.get_metric_history(run.id, "loss")) < 2 and time.monotonic() < ends:
            time.sleep(0.1)
        assert [m.value for m in client.get_metric_history(run.id, "loss")] == [2.0, 1.0]


def test_a_dataset_is_logged_under_our_digest(tracking, outputs, client):
    digest = "0123456789abcdef" * 4
    with start_run(tracking, outputs, name="run", folder=outputs / "runs" / "run") as run:
        run.log_dataset("image_folder", digest, "photos", profile={"images": 120})
    (logged,) = client.get_run(run.id).inputs.dataset_inputs
    assert logged.dataset.name == "image_folder"
    assert logged.dataset.digest == digest[:36]
    assert json.loads(logged.dataset.profile) == {"images": 120, "sha256": digest}
    assert json.loads(logged.dataset.source) == {"uri": "photos"}


def test_artifacts_are_found_again(tracking, outputs, tmp_path):
    folder = tmp_path / "report"
    folder.mkdir()
    (folder / "50 % of it.csv").write_text("a,b")
    with start_run(tracking, outputs, name="run", folder=outputs / "runs" / "run") as run:
        run.log_text("a note", "notes/one.txt")
        run.log_artifact(folder / "50 % of it.csv")
        run.log_artifact(folder, "report")
    stored = find_run(tracking.uri, outputs, run.id)
    assert stored.artifact_path("notes/one.txt").read_text() == "a note"
    assert stored.artifact_path("50 % of it.csv").read_text() == "a,b"
    assert stored.artifact_path("report/50 % of it.csv").read_text() == "a,b"
    with pytest.raises(UserError, match="no artifact"):
        stored.artifact_path("none.txt")


def test_a_run_is_found_by_the_beginning_of_its_id(tracking, outputs):
    with start_run(tracking, outputs, name="wanted", folder=outputs / "runs" / "wanted") as run:
        run.log_params({"seed": 7})
        run.log_metrics({"val/accuracy": 0.5})
    stored = find_run(tracking.uri, outputs, run.id[:6])
    assert (stored.id, stored.name, stored.status) == (run.id, "wanted", "FINISHED")
    assert stored.params == {"seed": "7"}
    assert stored.metrics == {"val/accuracy": 0.5}


@pytest.mark.parametrize("wrong", ["0" * 32, "abc", "' OR 1=1 --", "best"])
def test_an_unknown_run_id_is_answered_with_the_latest_runs(tracking, outputs, wrong):
    with (
        start_run(tracking, outputs, name="first", folder=outputs / "runs" / "first") as first,
        start_run(tracking, outputs, name="second", folder=outputs / "runs" / "second") as second,
    ):
        pass
    with pytest.raises(UserError) as error:
        find_run(tracking.uri, outputs, wrong)
    assert f"no run {wrong}" in str(error.value)
    assert f"{first.id} (first)" in str(error.value)
    assert f"{second.id} (second)" in str(error.value)


def test_looking_for_a_run_creates_no_store(tmp_path):
    with pytest.raises(UserError, match="no store"):
        find_run(f"sqlite:///{tmp_path}/mlflow.db", tmp_path, "0" * 32)
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_a_model_says_so(tracking, outputs):
    with start_run(tracking, outputs, name="run", folder=outputs / "runs" / "run") as run:
        pass
    with pytest.raises(UserError, match="log_model"):
        find_run(tracking.uri, outputs, run.id).model_file()


def test_a_logged_network_gives_the_same_answers_when_loaded(tracking, outputs, client, capfd):
    from thaw.common import tensorflow_setup

    tensorflow_setup.start_tensorflow(
        0, deterministic=True
    )  # TensorFlow's threads stay as the process's first test had them
    import keras
    import mlflow.models
    import numpy as np

    inputs = keras.Input((8, 8, 3), dtype="uint8")
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(inputs))
    network = keras.Model(inputs, keras.layers.Dense(5, activation="softmax")(pooled))
    network.compile("adam", "sparse_categorical_crossentropy")
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
    capfd.readouterr()
    with start_run(tracking, outputs, name="run", folder=outputs / "runs" / "run") as run:
        model_file = run.log_model(network, metadata={"class_names": list("abcde")})
    assert "".join(capfd.readouterr()) == ""

    file = find_run(tracking.uri, outputs, run.id).model_file()
    assert file == model_file
    loaded = keras.saving.load_model(file)
    np.testing.assert_array_equal(loaded(images), network(images))
    assert not loaded.compiled
    mlflow_model = mlflow.models.Model.load(str(file.parent.parent))
    assert mlflow_model.metadata == {"class_names": list("abcde")}
    (image,), (output,) = mlflow_model.signature.inputs.inputs, mlflow_model.signature.outputs.inputs
    assert (image.type, image.shape, output.type, output.shape) == ("uint8", (-1, 8, 8, 3), "float32", (-1, 5))
    requirements = (file.parent.parent / "requirements.txt").read_text()
    assert all(f"\n{package}==" in f"\n{requirements}" for package in ("keras", "tensorflow", "numpy"))
    (logged,) = client.search_logged_models([run.experiment_id])
    assert (logged.name, logged.status) == ("model", "READY")
    assert sorted(p.name for p in outputs.iterdir()) == ["artifacts", "mlflow.db", "runs"]
    assert {p.name for p in (outputs / "runs" / "run").iterdir()} == {"run.lock", "run.json"}


def test_a_store_is_chosen_by_the_config(outputs):
    server = TrackingConfig(uri="http://127.0.0.1:9")
    with pytest.raises(UserError, match="127"), start_run(server, outputs, name="run", folder=outputs / "runs"):
        pytest.fail("the block must not start")
